"""What a suite of its size can show: which gain over the base model, which margin to production, and what more takes.

How much two versions' scores differ from sample to sample is taken from the last recorded evaluation of the suite where
there is one, else assumed.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.manifest import EvaluationRecord
from locum.errors import BadInputError
from locum.evaluate.answers import SAMPLES_FILE, read_answers
from locum.evaluate.metrics.registry import Metric
from locum.evaluate.power import (
    POWER,
    Spread,
    design_effect,
    observed_spread,
    power_for_margin,
    samples_for_margin,
    samples_needed,
    smallest_difference,
    smallest_margin,
)
from locum.evaluate.result import RESULT_FILE
from locum.evaluate.samples import Sample
from locum.evaluate.scoring import load_metrics
from locum.evaluate.suite import Suite

if TYPE_CHECKING:
    from locum.adapters.registry import Registry

DISCORDANCE = 0.3  # share of samples that exactly one of two models gets right, where nobody has measured it
CORRELATION = 0.5  # of two samples of one group, likewise
FEWEST = 20  # pairs; fewer say too little about how much two models differ
CURVE = (0.25, 0.5, 1, 2, 4, 8)  # sizes of the curve, as multiples of the suite's own


class Reach(BaseModel):
    """What the samples of a suite or of one of its slices can show, as often as the power says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="`all`, or the slice: topic Neoplasms")
    samples: int
    groups: int
    gain: float | None = Field(
        description="the smallest true gain beyond min_gain that shows; none: not even the largest"
    )
    margin: float = Field(description="the smallest margin that a version as good as production is shown to keep")
    asked_margin: float
    kept: float = Field(description="how often a version as good as production is shown to keep the asked margin")
    needed: int | None = Field(description="samples by which it is shown as often as the power says; none: never")
    judged: bool = Field(description="whether the gate looks at it by itself")


class Wished(BaseModel):
    """How many samples it takes to show a difference that somebody wishes to see."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    difference: float
    gain: int | None = Field(
        description="samples for a gain over the base model; none: two models never differ so much"
    )
    margin: int = Field(description="samples for a margin to production")


class SuitePower(BaseModel):
    """What one suite can show."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: str
    suite: str
    metric: str
    min_gain: float | None = Field(description="what the gain must exceed; none where the suite does not ask")
    confidence: float
    power: float
    gain_from: str = Field(description="where it is known from how much version and base model differ")
    margin_from: str = Field(description="the same of two versions")
    known: bool = Field(description="false where it is assumed of a metric without an upper end: then it is a guess")
    reaches: list[Reach] = Field(description="the first is the whole suite, the others its slices")
    curve: dict[int, float] = Field(description="how often the asked margin is shown to be kept, by number of samples")
    wished: Wished | None = None

    @property
    def whole(self) -> Reach:
        return self.reaches[0]


@dataclass(frozen=True)
class _Known:
    """How much two models differ, as a sentence and in figures; `spread` is none where it is assumed."""

    told: str
    spread: Spread | None


@dataclass(frozen=True)
class Observed:
    """The scores of the last evaluation by a suite's primary metric: of the version, and of those beside it."""

    version: str
    samples_file: Path
    scores: Mapping[str, Mapping[str, float]]  # model -> sample -> score
    base: str
    production: str | None


def power_of(
    suite: Suite, observed: Observed | None, *, power: float = POWER, difference: float | None = None
) -> SuitePower:
    """What the suite can show, overall and for each slice that its card names.

    Args:
        observed: the last evaluation, from `last_evaluation`; none to assume.
        power: how often something that is there is to be seen.
        difference: one that somebody wishes to see.

    Raises:
        BadInputError: the power or the difference is not between 0 and 1 (of the metric's whole range).
        NotFoundError: a metric of the suite does not exist.
    """
    metric = next(metric for metric in load_metrics(suite) if metric.name == suite.primary)
    span = _span(metric)
    if not 0 < power < 1:
        raise BadInputError(f"--power {power:g}: expected a number between 0 and 1, such as 0.8")
    if difference is not None and not 0 < difference < span:
        raise BadInputError(f"--difference {difference:g}: expected a number between 0 and {span:g}")
    asked = suite.thresholds
    confidence = asked.confidence
    gain, margin = _known(suite, metric, observed, "base"), _known(suite, metric, observed, "production")
    slices = [
        (f"{field} {value}", samples) for field in suite.card.slices for value, samples in _values(suite, field).items()
    ]

    def reach(name: str, samples: Sequence[Sample], asked_margin: float, *, judged: bool) -> Reach:
        ours = margin.spread or _assumed(metric, samples)
        return Reach(
            name=name,
            samples=len(samples),
            groups=len({sample.group for sample in samples}),
            gain=smallest_difference(
                len(samples), gain.spread or _assumed(metric, samples), confidence=confidence, power=power
            ),
            margin=smallest_margin(len(samples), ours, confidence=confidence, power=power),
            asked_margin=asked_margin,
            kept=power_for_margin(len(samples), asked_margin, ours, confidence=confidence),
            needed=_needed_for_margin(asked_margin, ours, confidence, power),
            judged=judged,
        )

    spread = margin.spread or _assumed(metric, suite.samples)
    sizes = sorted({max(2, round(len(suite.samples) * times)) for times in CURVE})
    return SuitePower(
        domain=suite.domain,
        suite=suite.name,
        metric=suite.primary,
        min_gain=asked.min_gain,
        confidence=confidence,
        power=power,
        gain_from=gain.told,
        margin_from=margin.told,
        known=margin.spread is not None or math.isfinite(metric.high),
        reaches=[
            reach("all", suite.samples, asked.margin, judged=True),
            *(
                reach(name, samples, asked.slice_margin, judged=len(samples) >= asked.slice_min_samples)
                for name, samples in slices
            ),
        ],
        curve={size: power_for_margin(size, asked.margin, spread, confidence=confidence) for size in sizes},
        wished=None
        if difference is None
        else Wished(
            difference=difference,
            gain=_needed_for_gain(difference, gain.spread or _assumed(metric, suite.samples), confidence, power),
            margin=samples_for_margin(difference, spread, confidence=confidence, power=power),
        ),
    )


def last_evaluation(registry: Registry, suite: Suite) -> Observed | None:
    """The scores of the newest recorded evaluation of the suite whose files can still be read, of those that passed if
    any did; none if there is none.

    The suite may have changed since: samples that it has no more are left out.
    """
    records = [
        record
        for manifest in registry.versions(suite.domain)
        for record in registry.evaluations(manifest.name)
        if record.suite == suite.name and record.metric == suite.primary
    ]
    # one that passed first: a version that is broken says nothing of how much two good ones differ
    for record in sorted(records, key=lambda record: (record.passed, record.created_at), reverse=True):
        try:
            return _read(record, suite)
        except (OSError, ValueError, KeyError):  # gone, on another machine, cut off, or of another release
            continue
    return None


def _read(record: EvaluationRecord, suite: Suite) -> Observed:
    folder = Path(record.result_path)
    models = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))["models"]
    there = {sample.id for sample in suite.samples}
    scores: dict[str, dict[str, list[float]]] = {}
    for answer in read_answers(folder / SAMPLES_FILE):
        if answer.sample in there and suite.primary in answer.scores:
            scores.setdefault(answer.model, {}).setdefault(answer.sample, []).append(answer.scores[suite.primary])
    return Observed(
        version=f"{record.domain}@{record.number}",
        samples_file=folder / SAMPLES_FILE,
        scores={
            model: {sample: sum(given) / len(given) for sample, given in each.items()} for model, each in scores.items()
        },
        base=next(model["name"] for model in models if model["role"] == "base"),
        production=record.production,
    )


def _known(suite: Suite, metric: Metric, observed: Observed | None, role: str) -> _Known:
    pair = "version and base model" if role == "base" else "two versions"
    spread = _assumed(metric, [])
    far = f"on {100 * DISCORDANCE:.0f} % of" if metric.binary else f"by {spread.sd:.2f} (standard deviation) on"
    grouped = len({sample.group for sample in suite.samples}) < len(suite.samples)
    alike = f", and samples of one group are alike by {CORRELATION:g}" if grouped else ""
    assumed = _Known(f"assumed: {pair} differ {far} the samples{alike}", None)
    other = None if observed is None else observed.base if role == "base" else observed.production
    if observed is None or other is None:
        return assumed
    ours, theirs = observed.scores.get(observed.version, {}), observed.scores.get(other, {})
    both = [sample for sample in suite.samples if sample.id in ours and sample.id in theirs]
    groups = [sample.group for sample in both]
    if len(both) < FEWEST or len(set(groups)) < 2:
        return assumed
    found = observed_spread([ours[sample.id] for sample in both], [theirs[sample.id] for sample in both], groups=groups)
    if not found.sd:
        return assumed  # two models that differ nowhere show nothing of how much two others may
    far = f"on {100 * found.sd**2:.0f} % of" if found.binary else f"by {found.sd:.2f} (standard deviation) on"
    return _Known(f"measured: {observed.version} and {other} differ {far} {len(both)} samples", found)


def _assumed(metric: Metric, samples: Sequence[Sample]) -> Spread:
    sizes = list(Counter(sample.group for sample in samples).values()) or [1]
    spread = Spread.of_discordance(DISCORDANCE, design_effect=design_effect(sizes, CORRELATION))
    # Scores between 0 and 1 differ less than those that are one or the other: so this is on the safe side.
    return spread if metric.binary else Spread(spread.sd * _span(metric), design_effect=spread.design_effect)


def _span(metric: Metric) -> float:
    """How far two scores can be apart; 1 of a metric without an upper end."""
    return metric.high - metric.low if math.isfinite(metric.high) else 1.0


def _values(suite: Suite, field: str) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in suite.samples:
        if field in sample.slices:
            found.setdefault(sample.slices[field], []).append(sample)
    return dict(sorted(found.items()))


def _needed_for_gain(difference: float, spread: Spread, confidence: float, power: float) -> int | None:
    if spread.binary and difference > spread.sd**2:
        return None
    return samples_needed(difference, spread, confidence=confidence, power=power)


def _needed_for_margin(margin: float, spread: Spread, confidence: float, power: float) -> int | None:
    return samples_for_margin(margin, spread, confidence=confidence, power=power) if margin > 0 else None
