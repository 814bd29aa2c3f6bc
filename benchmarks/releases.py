"""Releases that are made up, so that it is known which of them the gate should let through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from locum.adapters.suites import Thresholds
from locum.evaluate.gate import Evidence, Finding, Slice, SliceFinding, Status, decide, judge_slices
from locum.evaluate.noninferiority import Change, change_from
from locum.evaluate.power import Spread, design_effect, power_for_margin
from locum.evaluate.significance import test_difference
from locum.evaluate.statistics import Estimate, difference_estimate

ACCURACY = 0.7  # of the version in production
GRADED_SD = 0.3  # of the differences of scores that are not 0 or 1


@dataclass(frozen=True)
class World:
    """What is true of a candidate and a suite, and what the suite asks.

    `difference` is the candidate's true mean minus production's. `discordance` is the share of samples that exactly one
    of the two gets right. Samples come in groups of `group_size`, two of which correlate by `correlation`. `graded`
    scores are not 0 or 1: their differences are skewed, with many small gains and few large losses.
    """

    samples: int
    difference: float = 0.0
    discordance: float = 0.2
    margin: float = 0.05
    confidence: float = 0.95
    group_size: int = 1
    correlation: float = 0.0
    graded: bool = False

    @property
    def thresholds(self) -> Thresholds:
        return Thresholds(min_samples=2, min_gain=None, margin=self.margin, confidence=self.confidence)

    @property
    def spread(self) -> Spread:
        effect = design_effect([self.group_size] * (self.samples // self.group_size), self.correlation)
        if self.graded:
            return Spread(GRADED_SD, design_effect=effect)
        return Spread.of_discordance(self.discordance, design_effect=effect)

    @property
    def power(self) -> float:
        """How often `locum suite power` says that the candidate is let through."""
        return power_for_margin(
            self.samples, self.margin, self.spread, difference=self.difference, confidence=self.confidence
        )


@dataclass(frozen=True)
class Release:
    """One draw: the candidate's scores, production's on the same samples, and the groups of these."""

    ours: list[float]
    theirs: list[float]
    groups: list[str]


def releases(world: World, count: int, seed: int = 0) -> Iterator[Release]:
    """So many evaluations of candidates of which the same is true."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield _release(world, random)


def finding(world: World, release: Release, *, groups: bool = True) -> Finding:
    """What the gate finds about non-inferiority, with groups or as if each sample stood alone."""
    change = _change(world, release, release.groups if groups else None)
    nothing = Estimate(0.0, 0.0, 0.0)
    verdict = decide(world.thresholds, Evidence(samples=world.samples, score=nothing, change=change))
    [check] = [check for check in verdict.checks if check.kind == "non-inferiority"]
    return check.status


def shares(world: World, count: int, *, groups: bool = True, seed: int = 0) -> dict[Finding, float]:
    """How often the gate finds what."""
    found = [finding(world, release, groups=groups) for release in releases(world, count, seed)]
    return {status: found.count(status) / count for status in ("met", "unclear", "missed")}


def sliced(world: World, slices: int, *, lost: int, loss: float, count: int, seed: int = 0) -> list[list[SliceFinding]]:
    """What the gate finds of so many slices, each of the world's size, of which `lost` have truly lost `loss`."""
    random = np.random.default_rng(seed)
    worse = replace(world, difference=-loss, discordance=max(world.discordance, loss))
    worlds = [worse if index < lost else world for index in range(slices)]
    found = []
    for _ in range(count):
        drawn = {f"slice {index}": _release(each, random) for index, each in enumerate(worlds)}
        found.append(judge_slices(world.thresholds, {name: _slice(world, release) for name, release in drawn.items()}))
    return found


def whole(world: World, suites: int, slices: int, *, worse_on: int = 0, count: int, seed: int = 0) -> list[Status]:
    """What the gate says of candidates over so many suites, each of the world's size and in slices of equal size.

    The candidate is as good as production, but worse by the margin on `worse_on` of the suites.
    """
    random = np.random.default_rng(seed)
    worlds = [replace(world, difference=-world.margin if index < worse_on else 0.0) for index in range(suites)]
    found: list[Status] = []
    for _ in range(count):
        said = {decide(each.thresholds, _evidence(each, _release(each, random), slices)).status for each in worlds}
        found.append(max(said, key=("passed", "not enough evidence", "failed").index))
    return found


def gains(world: World, count: int, *, seed: int = 0) -> float:
    """How often a true gain of `world.difference` over the base model is found to be one."""
    found = 0
    for release in releases(world, count, seed):
        gain = difference_estimate(release.ours, release.theirs, groups=release.groups, confidence=world.confidence)
        found += gain.low > 0
    return found / count


def _evidence(world: World, release: Release, slices: int) -> Evidence:
    """All that the gate looks at, the samples dealt out to slices in turn."""
    parts = [
        Release(release.ours[part::slices], release.theirs[part::slices], release.groups[part::slices])
        for part in range(slices)
    ]
    return Evidence(
        samples=world.samples,
        score=Estimate(0.0, 0.0, 0.0),
        change=_change(world, release, release.groups),
        slices={f"slice {number}": _slice(world, part) for number, part in enumerate(parts)},
    )


def _slice(world: World, release: Release) -> Slice:
    return Slice(
        _change(world, release, release.groups),
        test_difference(release.ours, release.theirs, groups=release.groups, side="worse"),
    )


def _change(world: World, release: Release, groups: list[str] | None) -> Change:
    return change_from("production", release.ours, release.theirs, groups=groups, confidence=world.confidence)


def _release(world: World, random: Generator) -> Release:
    """A sample does as its group's first with chance √correlation, so that two of a group correlate as they should."""
    groups = np.arange(world.samples) // world.group_size
    follows = random.random(world.samples) < world.correlation**0.5
    kinds = np.where(follows, _draw(world, random, groups[-1] + 1)[groups], _draw(world, random, world.samples))
    if world.graded:
        ours, theirs = 0.5 + kinds, np.full(world.samples, 0.5)
    else:
        ours, theirs = (kinds >= 2).astype(float), (kinds % 2).astype(float)
    return Release(ours.tolist(), theirs.tolist(), [str(group) for group in groups])


def _draw(world: World, random: Generator, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Independent samples: which of the two is right (0 none, 1 production, 2 candidate, 3 both), or the difference."""
    if world.graded:
        return world.difference + GRADED_SD * (1 - random.exponential(size=count))
    won, lost = ((world.discordance + sign * world.difference) / 2 for sign in (1, -1))
    chances = [1 - ACCURACY - won, lost, won, ACCURACY - lost]
    return random.choice(4, size=count, p=chances).astype(np.float64)
