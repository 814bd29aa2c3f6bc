"""One-sided bounds: published intervals, symmetry, and that they hold as often as they say."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from locum.errors import BadInputError
from locum.evaluate.noninferiority import change_from

_few = settings(max_examples=40, deadline=None)


def pairs(won: int, lost: int, equal: int) -> tuple[list[float], list[float]]:
    return [1.0] * won + [0.0] * lost + [1.0] * equal, [0.0] * won + [1.0] * lost + [1.0] * equal


@pytest.mark.parametrize(
    ("won", "lost", "equal", "low", "high"),
    [
        (6, 16, 139, -0.1240, -0.0054),  # Cavo et al. 2012: Tango's interval in Fagerland, Lydersen & Laake 2014
        (1, 7, 13, -0.517, -0.026),  # Bentur et al. 2009, the same
    ],
)
def test_the_bounds_are_those_that_fagerland_published(
    won: int, lost: int, equal: int, low: float, high: float
) -> None:
    found = change_from("m@1", *pairs(won, lost, equal), confidence=0.975)  # both ends of a 95 % interval
    assert [found.low, found.high] == pytest.approx([low, high], abs=0.0005)
    assert (found.name, found.samples, found.groups) == ("m@1", won + lost + equal, won + lost + equal)
    assert found.mean == pytest.approx((won - lost) / (won + lost + equal))


def test_no_differing_sample_is_not_taken_for_certainty() -> None:
    """1 - 0.05^(1/20), near the rule of three, which says 3 / n. So it is for graded scores."""
    for score in (1.0, 0.5):
        found = change_from("m@1", [score] * 20, [score] * 20, confidence=0.95)
        assert [found.mean, found.low, found.high] == pytest.approx([0, -0.1391, 0.1391], abs=0.0001)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.975])
@pytest.mark.parametrize(("samples", "margin"), [(32, 0.05), (52, 0.05), (25, 0.1), (87, 0.02)])
def test_where_differences_are_rare_a_version_worse_by_the_margin_seldom_passes(
    samples: int, margin: float, confidence: float
) -> None:
    """It only loses, and on a share of the samples that is the margin: all outcomes, with their chances."""
    passed = sum(
        binom.pmf(lost, samples, margin)
        for lost in range(samples)
        if change_from("m@1", *pairs(0, lost, samples - lost), confidence=confidence).low > -margin
    )
    assert passed <= 1 - confidence + 1e-9


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize(("samples", "margin"), [(30, 0.05), (100, 0.02), (200, 0.02)])
def test_rare_total_losses_of_a_graded_score_seldom_pass(samples: int, margin: float, confidence: float) -> None:
    passed = 0.0
    for lost in range(samples):
        theirs = [1.0] * (samples - 1) + [0.5]  # one score between 0 and 1 makes it graded
        ours = [0.0] * lost + theirs[lost:]
        passed += binom.pmf(lost, samples, margin) * (
            change_from("m@1", ours, theirs, confidence=confidence).low > -margin
        )
    assert passed <= 1 - confidence + 1e-9


@pytest.mark.parametrize("sizes", [[10] * 5 + [1] * 50, [10] * 10 + [1] * 100], ids=["5 large", "10 large"])
def test_large_groups_among_single_samples_do_not_let_through_what_is_worse_by_the_margin(sizes: list[int]) -> None:
    """A group loses as a whole or not at all; single samples do not show that."""
    chance, margin, passed = random.Random(1), 0.1, 0
    groups = [str(group) for group, size in enumerate(sizes) for _ in range(size)]
    for _ in range(400):
        lost = [score for size in sizes for score in [float(chance.random() >= margin)] * size]
        passed += change_from("m@1", lost, [1.0] * len(lost), groups=groups, confidence=0.95).low > -margin
    assert passed / 400 <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


@pytest.mark.parametrize(("won", "lost"), [(20, 0), (0, 20)])
def test_bounds_stay_within_what_is_possible(won: int, lost: int) -> None:
    found = change_from("m@1", *pairs(won, lost, 0), confidence=0.95)
    assert -1 <= found.low < found.mean + 1e-9
    assert found.mean - 1e-9 < found.high <= 1


def test_other_scores_have_students_interval_over_the_mean_difference() -> None:
    """Differences 0.1, 0.2 and 0.3: mean 0.2, standard error 0.1 / √3, t = 2.920 with 2 degrees of freedom."""
    found = change_from("m@1", [0.6, 0.7, 0.8], [0.5, 0.5, 0.5], confidence=0.95)
    half = 2.919986 * 0.1 / math.sqrt(3)
    assert [found.mean, found.low, found.high] == pytest.approx([0.2, 0.2 - half, 0.2 + half])
    assert found.error == pytest.approx(0.1 / math.sqrt(3))


def test_copies_of_a_sample_are_one_piece_of_evidence() -> None:
    chance = random.Random(4)
    ours, theirs = ([chance.random() for _ in range(40)] for _ in range(2))
    copied = [[score for score in scores for _ in range(5)] for scores in (ours, theirs)]
    groups = [str(index // 5) for index in range(200)]
    alone = change_from("m@1", ours, theirs, confidence=0.95)
    together = change_from("m@1", *copied, groups=groups, confidence=0.95)
    assert [together.mean, together.low, together.high] == pytest.approx([alone.mean, alone.low, alone.high])
    assert (together.samples, together.groups) == (200, 40)


@_few
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40), st.integers(1, 4))
def test_swapping_the_models_negates_the_change(found: list[tuple[bool, bool]], size: int) -> None:
    ours, theirs = ([float(right) for right in each] for each in zip(*found, strict=True))
    groups = [str(index // size) for index in range(len(found))]
    there = change_from("m@1", ours, theirs, groups=groups, confidence=0.9)
    back = change_from("m@1", theirs, ours, groups=groups, confidence=0.9)
    assert [-back.mean, -back.high, -back.low] == pytest.approx([there.mean, there.low, there.high], abs=1e-6)


def test_a_lower_perplexity_is_a_gain() -> None:
    found = change_from("m@1", [8.0, 9.0, 10.0], [10.0, 11.5, 12.0], confidence=0.95, higher_is_better=False)
    assert found.mean == pytest.approx(6.5 / 3)
    assert found.low > 0


def test_one_group_says_nothing_about_spread() -> None:
    found = change_from("m@1", [1.0, 0.0], [0.0, 0.0], groups=["a", "a"], confidence=0.95)
    assert (found.mean, found.low, found.high, found.groups) == (0.5, -math.inf, math.inf, 1)


def test_what_does_not_pair_up_is_refused() -> None:
    with pytest.raises(BadInputError, match="found 0 and 0"):
        change_from("m@1", [], [], confidence=0.95)
