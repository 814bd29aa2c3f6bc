"""How often the gate errs, on made-up releases of which the truth is known; `benchmarks/gate.py` shows more of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scipy.stats import binom

from benchmarks.releases import World, gains, shares, sliced

RELEASES = 300
ALONE = World(200, discordance=0.1, margin=0.05)
GROUPED = World(240, discordance=0.2, margin=0.1, group_size=4, correlation=0.5)
GRADED = World(200, graded=True, margin=0.05)


def at_most(rate: float, releases: int = RELEASES) -> float:
    """The share that a true rate exceeds in one of a thousand simulations."""
    return float(binom.isf(0.001, releases, rate)) / releases


@pytest.mark.parametrize("world", [ALONE, GRADED], ids=["0 or 1", "graded"])
def test_a_candidate_as_good_as_production_passes_as_often_as_power_says(world: World) -> None:
    found = shares(world, RELEASES)
    assert found["met"] == pytest.approx(world.power, abs=0.08)
    assert found["missed"] <= at_most(0.002)


@pytest.mark.parametrize("world", [ALONE, GRADED, GROUPED], ids=["0 or 1", "graded", "in groups"])
def test_a_candidate_worse_by_the_margin_seldom_passes(world: World) -> None:
    found = shares(replace(world, difference=-world.margin), RELEASES)
    assert found["met"] <= at_most(1 - world.confidence)


@pytest.mark.parametrize("world", [ALONE, GRADED, GROUPED], ids=["0 or 1", "graded", "in groups"])
def test_a_candidate_worse_by_twice_the_margin_never_passes_and_mostly_fails(world: World) -> None:
    found = shares(replace(world, difference=-2 * world.margin), 100)
    assert found["met"] <= at_most(0.002, 100)
    assert found["missed"] > 0.5


def test_a_better_candidate_passes_more_often_than_one_that_is_as_good() -> None:
    better, same = (shares(replace(ALONE, difference=difference), RELEASES)["met"] for difference in (0.025, 0.0))
    assert better >= 0.9 > same


def test_ignoring_groups_would_let_through_what_should_not_pass() -> None:
    world = replace(GROUPED, difference=-GROUPED.margin)
    assert shares(world, RELEASES, groups=False)["met"] > 2 * (1 - world.confidence)


def test_twenty_slices_raise_no_more_false_alarms_than_one() -> None:
    found = sliced(World(40, discordance=0.3), 20, lost=0, loss=0.0, count=60)
    assert sum(any(each.status == "missed" for each in release) for release in found) / 60 <= at_most(0.05, 60)
    uncorrected = sum(any(each.p <= 0.05 and each.change.mean < -0.15 for each in release) for release in found)
    assert uncorrected / 60 > 0.2


def test_the_slice_that_has_lost_is_found_among_twenty() -> None:
    found = sliced(World(40, discordance=0.2), 20, lost=1, loss=0.45, count=30)
    assert sum(release[0].status == "missed" for release in found) / 30 > 0.8


def test_asking_every_slice_to_show_non_inferiority_would_stop_good_candidates() -> None:
    found = sliced(World(40, discordance=0.2), 20, lost=0, loss=0.0, count=30)
    assert sum(all(each.status == "met" for each in release) for release in found) / 30 < 0.2
    assert sum(any(each.status == "missed" for each in release) for release in found) / 30 <= at_most(0.05, 30)


def test_a_gain_is_seldom_found_where_there_is_none_and_found_where_there_is_one() -> None:
    world = World(100, discordance=0.3)
    assert gains(world, 60) <= at_most(0.025, 60)
    assert gains(replace(world, difference=0.25), 20) > 0.8
