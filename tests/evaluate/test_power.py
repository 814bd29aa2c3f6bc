"""How many samples: published numbers, inverses, and what simulation finds."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.errors import BadInputError
from locum.evaluate.power import (
    Spread,
    design_effect,
    observed_spread,
    power_for_margin,
    samples_for_margin,
    samples_needed,
    smallest_difference,
    smallest_margin,
)


def test_for_scores_of_0_and_1_it_is_connors_number() -> None:
    """Connor 1987, p. 209, as powerandsamplesize.com computes it: 45 % against 5 % discordant, power 80 %: 23 pairs."""
    spread = Spread.of_discordance(0.5)
    assert samples_needed(0.4, spread) == 23
    assert samples_needed(-0.4, spread) == 23


def test_for_other_scores_it_is_the_one_sample_number_of_textbooks() -> None:
    """((1.96 + 0.84) × 1 / 0.5)² = 31.4: half a standard deviation takes 32 pairs."""
    assert samples_needed(0.5, Spread(1.0)) == 32


def test_a_margin_takes_the_number_of_a_one_sided_test() -> None:
    """((1.645 + 0.842) × 0.4472 / 0.05)² = 494.6."""
    assert samples_for_margin(0.05, Spread.of_discordance(0.2)) == 495


def test_a_version_that_is_better_needs_fewer_samples_and_one_beyond_the_margin_never_has_enough() -> None:
    spread = Spread.of_discordance(0.2)
    assert samples_for_margin(0.05, spread, difference=0.03) < samples_for_margin(0.05, spread) / 2
    with pytest.raises(BadInputError, match=r"worse by 0.05 is not within a margin of 0.05"):
        samples_for_margin(0.05, spread, difference=-0.05)


@given(st.integers(2, 5_000), st.floats(0.02, 0.9), st.booleans(), st.floats(1, 5))
def test_the_smallest_difference_is_the_one_that_needs_as_many_samples(
    samples: int, sd: float, binary: bool, effect: float
) -> None:
    spread = Spread(sd, binary=binary, design_effect=effect)
    found = smallest_difference(samples, spread)
    if found is None:
        assert samples_needed(sd**2, spread) > samples
    else:
        assert samples_needed(found * 1.0001 if not binary else found, spread) <= samples
        assert samples_needed(found * 0.98, spread) >= samples


@given(st.integers(2, 5_000), st.floats(0.02, 0.9))
def test_the_smallest_margin_is_the_one_that_is_kept_with_the_power_asked_for(samples: int, sd: float) -> None:
    spread = Spread(sd)
    assert power_for_margin(samples, smallest_margin(samples, spread), spread) == pytest.approx(0.8)


def test_samples_too_few_for_any_difference_show_none() -> None:
    assert smallest_difference(10, Spread.of_discordance(0.25)) is None
    assert smallest_difference(1000, Spread.of_discordance(0.0)) is None


@pytest.mark.parametrize("difference", [0.0, 0.3])
def test_a_difference_that_cannot_be_is_refused(difference: float) -> None:
    with pytest.raises(BadInputError, match=r"at most 0.250, the share of samples on which the two differ"):
        samples_needed(difference, Spread.of_discordance(0.25))


def test_groups_multiply_the_samples_by_their_design_effect() -> None:
    assert design_effect([5] * 20, 0.25) == 2.0
    assert design_effect([1] * 20, 1.0) == 1.0
    assert design_effect([2, 6], 0.5) == 1 + (40 / 8 - 1) * 0.5
    alone = samples_for_margin(0.05, Spread(0.4))
    assert samples_for_margin(0.05, Spread(0.4, design_effect=2.0)) == pytest.approx(2 * alone, abs=2)
    with pytest.raises(BadInputError, match="sizes of the groups"):
        design_effect([], 0.1)


def test_an_earlier_evaluation_tells_spread_and_design_effect() -> None:
    chance = random.Random(8)
    differences = [chance.choice((-1.0, 0.0, 0.0, 0.0, 1.0)) for _ in range(200)]
    ours, theirs = [max(0.0, each) for each in differences], [max(0.0, -each) for each in differences]
    alone = observed_spread(ours, theirs)
    assert alone.binary
    assert alone.sd**2 == pytest.approx(sum(map(abs, differences)) / 200)
    assert alone.design_effect == 1.0
    groups = [str(index // 4) for index in range(800)]
    copied = [[score for score in scores for _ in range(4)] for scores in (ours, theirs)]
    together = observed_spread(*copied, groups=groups)
    assert together.design_effect == pytest.approx(4, rel=0.01)
    assert together.error(800) == pytest.approx(alone.error(200), rel=0.01)


def test_spread_needs_more_than_one_group_and_pairs() -> None:
    with pytest.raises(BadInputError, match="found 1"):
        observed_spread([1.0, 0.0], [0.0, 0.0], groups=["a", "a"])
    with pytest.raises(BadInputError, match="2 and 1"):
        observed_spread([1.0, 0.0], [0.0])


def test_identical_models_have_no_spread() -> None:
    assert observed_spread([0.5, 0.7], [0.5, 0.7]) == Spread(0.0)
    assert power_for_margin(100, 0.05, Spread(0.0)) == 1.0


def test_connors_number_has_the_power_that_it_promises() -> None:
    """2,000 suites of 194 samples, 25 % discordant, true gain 0.1: McNemar's statistic beyond 1.96 in 80 %."""
    chance = random.Random(9)
    samples = samples_needed(0.1, Spread.of_discordance(0.25))
    found = 0
    for _ in range(2_000):
        differing = sum(chance.random() < 0.25 for _ in range(samples))
        won = sum(chance.random() < 0.7 for _ in range(differing))
        found += abs(2 * won - differing) / math.sqrt(differing) > 1.96
    assert found / 2_000 == pytest.approx(0.8, abs=0.03)
