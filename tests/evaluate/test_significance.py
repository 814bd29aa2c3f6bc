"""Tests of paired scores: published p-values, exactness, and that they raise false alarms as seldom as they say."""

from __future__ import annotations

import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.errors import BadInputError
from locum.evaluate import significance
from locum.evaluate.significance import Test, corrected, holm, mcnemar, permutation_test, test_difference


def pairs(won: int, lost: int, equal: int) -> tuple[list[float], list[float]]:
    """Scores of 0 and 1 with so many samples won, lost and equal."""
    return [1.0] * won + [0.0] * lost + [1.0] * equal, [0.0] * won + [1.0] * lost + [1.0] * equal


@pytest.mark.parametrize(
    ("won", "lost", "equal", "published"),
    [
        (1, 7, 13, 0.0703),  # Bentur et al. 2009, in Fagerland, Lydersen & Laake 2013, table 2
        (6, 16, 139, 0.0525),  # Cavo et al. 2012, in Fagerland, Lydersen & Laake 2014
        (0, 5, 0, 0.0625),
    ],
)
def test_mcnemars_test_is_exact(won: int, lost: int, equal: int, published: float) -> None:
    assert mcnemar(*pairs(won, lost, equal)) == pytest.approx(published, abs=0.00005)


def test_the_one_sided_test_asks_for_losses_only() -> None:
    assert mcnemar(*pairs(0, 5, 3), side="worse") == pytest.approx(1 / 32)
    assert mcnemar(*pairs(5, 0, 3), side="worse") == 1.0


def test_models_that_never_differ_are_not_told_apart() -> None:
    assert mcnemar(*pairs(0, 0, 9)) == 1.0
    assert permutation_test([0.3, 0.7], [0.3, 0.7]) == 1.0


@pytest.mark.parametrize("test", [mcnemar, permutation_test])
@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [1.0, 0.0])])
def test_what_does_not_pair_up_is_refused(test: object, ours: list[float], theirs: list[float]) -> None:
    assert callable(test)
    with pytest.raises(BadInputError, match="as many scores of each"):
        test(ours, theirs)


# Darwin's cross- and self-fertilised maize, in eighths of an inch; Fisher, "The Design of Experiments", section 21:
# of 32,768 assignments of signs, 1,726 give a difference as large as the one found.
DARWIN = (49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48)


def test_it_gives_what_fisher_counted_for_darwins_maize(monkeypatch: pytest.MonkeyPatch) -> None:
    heights, nothing = [float(height) for height in DARWIN], [0.0] * len(DARWIN)
    assert permutation_test(heights, nothing) == 1726 / 32768
    monkeypatch.setattr(significance, "ENUMERATED", 0)
    assert permutation_test(heights, nothing) == pytest.approx(1726 / 32768, abs=0.005)  # by 10,000 draws


def test_over_few_groups_every_swap_is_counted() -> None:
    sums = [float(height) for height in DARWIN[:12]]
    by_hand = sum(
        abs(sum(sign * value for sign, value in zip(signs, sums, strict=True))) >= abs(sum(sums))
        for signs in product((1, -1), repeat=12)
    )
    assert permutation_test(sums, [0.0] * 12) == by_hand / 2**12


def test_on_scores_of_0_and_1_it_agrees_with_mcnemar() -> None:
    ours, theirs = pairs(2, 9, 20)
    for side in ("two-sided", "worse"):
        assert permutation_test(ours, theirs, side=side) == pytest.approx(mcnemar(ours, theirs, side=side))


def test_a_p_value_is_never_zero() -> None:
    assert permutation_test([1.0] * 60, [0.0] * 60) == pytest.approx(1 / 10_001)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_swapping_the_models_changes_no_two_sided_p_value(found: list[tuple[float, float]]) -> None:
    ours, theirs = zip(*found, strict=True)
    assert permutation_test(ours, theirs) == pytest.approx(permutation_test(theirs, ours))


def test_the_test_is_chosen_by_the_scores() -> None:
    ours, theirs = pairs(1, 7, 13)
    groups = [str(index // 2) for index in range(21)]
    assert test_difference(ours, theirs) == Test(name="mcnemar", p=mcnemar(ours, theirs))
    assert test_difference(ours, theirs, groups=[str(index) for index in range(21)]).name == "mcnemar"
    assert test_difference(ours, theirs, groups=groups).name == "permutation"
    assert test_difference([0.5, 1.0], [0.0, 1.0]).name == "permutation"


def test_copies_of_a_sample_are_one_piece_of_evidence() -> None:
    ours, theirs = pairs(1, 4, 0)
    copied = [[score for score in scores for _ in range(20)] for scores in (ours, theirs)]
    groups = [str(index // 20) for index in range(100)]
    assert test_difference(*copied, groups=groups).p == pytest.approx(mcnemar(ours, theirs))
    assert test_difference(*copied).p < 1e-6


def test_false_alarms_are_as_rare_as_the_level_says_and_groups_that_are_ignored_multiply_them() -> None:
    """300 comparisons of equally good models over 20 groups of 4 copies, at a level of 5 %."""
    chance = random.Random(2)
    groups = [str(index // 4) for index in range(80)]
    alarms = ignored = 0
    for _ in range(300):
        signs = [chance.choice((-1.0, 0.0, 0.0, 1.0)) for _ in range(20)]
        differences = [sign for sign in signs for _ in range(4)]
        ours, theirs = [max(0.0, each) for each in differences], [max(0.0, -each) for each in differences]
        alarms += permutation_test(ours, theirs, groups=groups) <= 0.05
        ignored += mcnemar(ours, theirs) <= 0.05
    assert alarms / 300 <= 0.08  # 5 % and 2.4 standard errors
    assert ignored / 300 >= 0.2


def test_holm_multiplies_the_smallest_by_all_and_the_others_by_those_left() -> None:
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    # 4 × 0.005; 3 × 0.01; 2 × 0.03; and 0.04 does not fall below the one before it
    assert found == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(found) == ["a", "b", "c", "d"]


def test_holm_gives_what_other_implementations_publish() -> None:
    found = holm(dict(zip("abcd", (0.001, 0.01, 0.03, 0.5), strict=True)))  # MultipleTesting.jl's documentation
    assert list(found.values()) == pytest.approx([0.004, 0.03, 0.06, 0.5])


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8))
def test_an_adjusted_p_value_is_never_smaller_and_never_above_bonferronis(p_values: dict[str, float]) -> None:
    found = holm(p_values)
    for name, p in p_values.items():
        assert p <= found[name] <= min(1.0, len(p_values) * p) + 1e-12


def test_a_family_of_tests_is_corrected_together() -> None:
    found = corrected({"exact_match": Test(name="mcnemar", p=0.02), "rouge_l": Test(name="permutation", p=0.3)})
    assert [each.p_adjusted for each in found.values()] == pytest.approx([0.04, 0.3])
    assert found["exact_match"].p == 0.02
