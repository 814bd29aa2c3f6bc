"""The bootstrap: what it must always hold, and that its intervals cover what they say."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from locum.errors import BadInputError
from locum.evaluate.statistics import Estimate, difference_estimate, mean_estimate

_SCORE = st.floats(0, 1)
_PAIRS = st.lists(st.tuples(_SCORE, _SCORE), min_size=6, max_size=30)
_few = settings(max_examples=30, deadline=None)  # each example draws 10,000 resamples


@_few
@given(_PAIRS)
def test_swapping_the_models_negates_the_difference(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = zip(*pairs, strict=True)
    there = difference_estimate(ours, theirs, confidence=0.95)
    back = difference_estimate(theirs, ours, confidence=0.95)
    assert [-back.mean, -back.high, -back.low] == pytest.approx([there.mean, there.low, there.high], abs=1e-9)


@_few
@given(st.lists(_SCORE, min_size=6, max_size=30))
def test_a_model_against_itself_differs_by_nothing(scores: list[float]) -> None:
    assert difference_estimate(scores, scores, confidence=0.95) == Estimate(0.0, 0.0, 0.0)


@_few
@given(_PAIRS)
def test_the_interval_lies_among_the_values(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = zip(*pairs, strict=True)
    differences = [our - their for our, their in pairs]
    found = difference_estimate(ours, theirs, confidence=0.95)
    assert min(differences) - 1e-9 <= found.low <= found.high <= max(differences) + 1e-9


@_few
@given(st.lists(_SCORE, min_size=2, max_size=30))
def test_more_confidence_never_narrows_the_interval(scores: list[float]) -> None:
    narrow, wide = (mean_estimate(scores, confidence=confidence) for confidence in (0.8, 0.99))
    assert wide.low <= narrow.low <= narrow.high <= wide.high


def test_the_same_scores_give_the_same_interval() -> None:
    scores = [0.0, 1.0, 0.5, 0.25] * 10
    assert mean_estimate(scores, confidence=0.95) == mean_estimate(scores, confidence=0.95)


def test_it_agrees_with_the_normal_approximation_where_that_holds() -> None:
    scores = [1.0] * 300 + [0.0] * 700
    found = mean_estimate(scores, confidence=0.95)
    half = 1.96 * (0.3 * 0.7 / 1000) ** 0.5
    assert found.mean == pytest.approx(0.3)
    assert [found.low, found.high] == pytest.approx([0.3 - half, 0.3 + half], abs=0.002)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_one_sample_says_nothing_about_spread_and_none_is_refused(values: list[float]) -> None:
    if values:
        assert mean_estimate(values, confidence=0.95) == Estimate(0.5, 0.0, 1.0)
        assert difference_estimate(values, [0.0], confidence=0.95) == Estimate(0.5, -1.0, 1.0)
    else:
        with pytest.raises(BadInputError, match="no scores"):
            mean_estimate(values, confidence=0.95)


def test_equal_scores_have_an_interval_without_width() -> None:
    assert mean_estimate([0.25] * 6, confidence=0.95) == Estimate(0.25, 0.25, 0.25)


@pytest.mark.parametrize(("confidence", "fewest"), [(0.9, 5), (0.95, 6), (0.99, 8)])
def test_groups_that_chance_may_put_on_one_side_say_nothing_about_spread(confidence: float, fewest: int) -> None:
    """All of five groups better: of equally good models that happens in 6 % of the cases, in either direction."""
    for groups in range(1, fewest + 1):
        scores = [0.5 + group / 100 for group in range(groups) for _ in range(20)]
        labels = [str(group) for group in range(groups) for _ in range(20)]
        found = difference_estimate(scores, [0.0] * len(scores), groups=labels, confidence=confidence)
        assert (found.low > 0) == (groups == fewest)
        assert groups == fewest or (found.low, found.high) == (-1.0, 1.0)


def test_a_gain_is_seldom_found_in_six_groups_where_there_is_none() -> None:
    """2.5 % nominal; a percentile interval that is not expanded finds one in about 7 %."""
    chance, found = np.random.default_rng(5), 0
    for _ in range(400):
        scores, labels = np.repeat(chance.normal(size=6), 4).tolist(), [str(index // 4) for index in range(24)]
        found += difference_estimate(scores, [0.0] * 24, groups=labels, confidence=0.95).low > 0
    assert found <= binom.isf(0.01, 400, 0.025)


def test_unpaired_scores_are_refused() -> None:
    with pytest.raises(BadInputError, match="2 and 1"):
        difference_estimate([0.0, 1.0], [0.0], confidence=0.95)


def test_one_group_is_one_piece_of_evidence() -> None:
    assert mean_estimate([0.0, 1.0], groups=["a", "a"], confidence=0.95) == Estimate(0.5, 0.0, 1.0)


def test_samples_that_only_repeat_others_do_not_narrow_the_interval() -> None:
    chance = random.Random(3)
    scores = [float(chance.random() < 0.4) for _ in range(60)]
    alone = mean_estimate(scores, confidence=0.95)
    repeated = [score for score in scores for _ in range(5)]
    groups = [str(index // 5) for index in range(300)]
    together = mean_estimate(repeated, groups=groups, confidence=0.95)
    naive = mean_estimate(repeated, confidence=0.95)
    assert together.high - together.low == pytest.approx(alone.high - alone.low, abs=0.02)
    assert naive.high - naive.low < 0.6 * (together.high - together.low)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """True gain 0.3: base right on 20 %, version on 50 %, independent. 95 % nominal; the standard error is 1.5 %."""
    chance = random.Random(11)
    covered = 0
    for _ in range(200):
        ours = [float(chance.random() < 0.5) for _ in range(80)]
        theirs = [float(chance.random() < 0.2) for _ in range(80)]
        found = difference_estimate(ours, theirs, confidence=0.95)
        covered += found.low <= 0.3 <= found.high
    assert 0.90 <= covered / 200 <= 0.99
