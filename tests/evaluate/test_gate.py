"""The gate: each question alone, at its edge, and its sentence."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.suites import Thresholds
from locum.evaluate.gate import Check, Evidence, Slice, Verdict, decide, judge_slices
from locum.evaluate.noninferiority import Change, change_from
from locum.evaluate.significance import Test
from locum.evaluate.statistics import Estimate

THRESHOLDS = Thresholds(min_samples=100, min_score=0.5, min_gain=0.1, margin=0.05)


def change(mean: float, low: float, high: float, *, samples: int = 120, groups: int = 120) -> Change:
    return Change("medical@1 in production", samples, groups, mean, low, high, (mean - low) / 1.645)


def part(mean: float, low: float, *, p: float, samples: int = 30) -> Slice:
    return Slice(change(mean, low, 2 * mean - low, samples=samples), Test(name="mcnemar", p=p))


GOOD: dict[str, Any] = {
    "samples": 120,
    "score": Estimate(0.7, 0.6, 0.8),
    "gain": Estimate(0.3, 0.2, 0.4),
    "change": change(-0.01, -0.045, 0.025),
}


def judge(thresholds: Thresholds = THRESHOLDS, **changed: Any) -> Verdict:
    return decide(thresholds, Evidence(**(GOOD | changed)))


def only(verdict: Verdict, kind: str) -> Check:
    [found] = [check for check in verdict.checks if check.kind == kind]
    return found


def test_a_version_that_meets_every_threshold_passes_with_every_reason_told() -> None:
    verdict = judge()
    assert verdict.passed
    assert verdict.reasons == [
        "120 samples are enough: the suite asks for at least 100.",
        "The score 0.700 reaches the minimum of 0.500.",
        "The gain over the base model is +0.300, 95 % confidence interval [+0.200, +0.400]: "
        "its lower end exceeds +0.100.",
        "The difference to medical@1 in production is -0.010, and with 95 % confidence no lower than -0.045: "
        "worse by more than 0.050 is ruled out.",
    ]


@pytest.mark.parametrize(
    ("changed", "kind", "status", "reason"),
    [
        ({"samples": 99}, "samples", "unclear", "99 samples are too few: the suite asks for at least 100."),
        (
            {"score": Estimate(0.49, 0.4, 0.6)},
            "score",
            "missed",
            "The score 0.490 falls short of the minimum of 0.500.",
        ),
        (
            {"score": Estimate(0.4996, 0.4, 0.6)},
            "score",
            "missed",
            "The score 0.4996 falls short of the minimum of 0.5000.",
        ),
        (
            {"gain": Estimate(0.05, 0.0, 0.1)},
            "gain",
            "missed",
            "The gain over the base model is +0.050, 95 % confidence interval [+0.000, +0.100]: "
            "not even its upper end exceeds +0.100.",
        ),
        (
            {"gain": Estimate(0.2, 0.1, 0.3)},
            "gain",
            "unclear",
            "The gain over the base model is +0.200, 95 % confidence interval [+0.100, +0.300]: its lower end does "
            "not exceed +0.100. To show such a gain four times in five takes about 250 samples; there are 120.",
        ),
        (
            {"gain": Estimate(0.1, 0.0, 0.2)},
            "gain",
            "unclear",
            "The gain over the base model is +0.100, 95 % confidence interval [+0.000, +0.200]: its lower end does "
            "not exceed +0.100. More samples will show it only if the true gain is larger than the one found.",
        ),
        (
            {"gain": None},
            "gain",
            "unclear",
            "The gain over the base model is unknown: the base model answered nothing to compare with.",
        ),
        (
            {"change": change(-0.1, -0.16, -0.051)},
            "non-inferiority",
            "missed",
            "The difference to medical@1 in production is -0.100, and with 95 % confidence no higher than -0.051: "
            "a loss of more than 0.050.",
        ),
        (
            {"change": change(-0.01, -0.08, 0.06)},
            "non-inferiority",
            "unclear",
            "The difference to medical@1 in production is -0.010, and with 95 % confidence no lower than -0.080: worse "
            "by more than 0.050 is not ruled out. To show this four times in five of a version as good as medical@1 in "
            "production takes about 540 samples; there are 120.",
        ),
        (
            {"change": change(-0.04, -0.06, -0.02)},
            "non-inferiority",
            "unclear",
            "The difference to medical@1 in production is -0.040, and with 95 % confidence no lower than -0.060: there "
            "is a loss, and worse by more than 0.050 is not ruled out. A version as good as medical@1 in production is "
            "shown to be so by about 44 samples four times in five.",
        ),
        (
            {"change": change(-0.5, float("-inf"), float("inf"), groups=1)},
            "non-inferiority",
            "unclear",
            "The difference to medical@1 in production is -0.500, and how much that may vary is unknown: "
            "all samples belong to one group.",
        ),
    ],
)
def test_one_unmet_threshold_stops_the_release_and_says_so(
    changed: dict[str, Any], kind: str, status: str, reason: str
) -> None:
    verdict = judge(**changed)
    assert verdict.status == {"missed": "failed", "unclear": "not enough evidence"}[status]
    [found] = [check for check in verdict.checks if not check.met]
    assert (found.kind, found.status, found.reason) == (kind, status, reason)


@pytest.mark.parametrize(
    "changed",
    [
        {"samples": 100},
        {"score": Estimate(0.5, 0, 1)},
        {"gain": Estimate(0.2, 0.1001, 0.3)},
        {"change": change(-0.02, -0.0499, 0.01)},
    ],
)
def test_thresholds_that_are_just_met_are_met(changed: dict[str, Any]) -> None:
    assert judge(**changed).passed


@pytest.mark.parametrize(("low", "high"), [(-0.05, 0.1), (-0.2, -0.05)])
def test_a_bound_on_the_margin_itself_shows_neither(low: float, high: float) -> None:
    assert only(judge(change=change(-0.05, low, high)), "non-inferiority").status == "unclear"


def test_a_clear_loss_within_the_margin_passes_and_is_told() -> None:
    verdict = judge(change=change(-0.03, -0.045, -0.015))
    assert verdict.passed
    assert verdict.reasons[-1].endswith("worse by more than 0.050 is ruled out. There is a loss, but a smaller one.")


def test_without_another_version_in_production_there_is_nothing_to_lose_to() -> None:
    verdict = judge(change=None)
    assert verdict.passed
    assert len(verdict.reasons) == 3


def test_a_suite_that_asks_for_no_gain_does_not_look_at_it() -> None:
    verdict = judge(THRESHOLDS.model_copy(update={"min_gain": None}), gain=Estimate(-0.5, -0.6, -0.4))
    assert verdict.passed
    assert "gain" not in [check.kind for check in verdict.checks]


def test_a_margin_of_nothing_gives_no_number_of_samples_because_none_is_enough() -> None:
    verdict = judge(THRESHOLDS.model_copy(update={"margin": 0.0}), change=change(0.0, -0.02, 0.02))
    assert verdict.reasons[-1].endswith("no lower than -0.020: worse by more than 0.000 is not ruled out.")


def test_a_suite_of_elsewhere_asks_for_no_harm() -> None:
    verdict = judge(guard=True, change=change(-0.2, -0.3, -0.1))
    assert only(verdict, "harm").status == "missed"
    assert "non-inferiority" not in [check.kind for check in verdict.checks]


@pytest.mark.parametrize(
    ("score", "wanted", "status", "reason"),
    [
        (9.5, 10.0, "met", "The score 9.500 stays within the maximum of 10.000."),
        (10.5, 10.0, "missed", "The score 10.500 exceeds the maximum of 10.000."),
    ],
)
def test_a_metric_that_should_be_low_has_a_maximum(score: float, wanted: float, status: str, reason: str) -> None:
    thresholds = THRESHOLDS.model_copy(update={"min_score": wanted})
    found = only(judge(thresholds, score=Estimate(score, score, score), higher_is_better=False), "score")
    assert (found.status, found.reason) == (status, reason)


def test_a_metric_that_should_be_low_has_no_maximum_unless_one_is_given() -> None:
    thresholds = THRESHOLDS.model_copy(update={"min_score": 0.0})
    assert [check.kind for check in judge(thresholds, higher_is_better=False).checks if check.kind == "score"] == []


# Failed samples


def test_a_few_failed_samples_are_told_and_many_leave_the_verdict_open() -> None:
    few, many = (only(judge(samples=990, failed=failed), "answered") for failed in (10, 11))
    assert few.reason == (
        "10 of 1000 samples are without an answer or a score (1 %) and in no comparison: no more than the 1 % that "
        "may be missing."
    )
    assert few.met
    assert many.status == "unclear"
    assert many.reason == (
        "11 of 1001 samples are without an answer or a score (1.099 %) and in no comparison: more than 1 % could "
        "hide a loss. The same command asks them again."
    )


def test_nothing_is_said_of_failures_where_there_are_none() -> None:
    assert "answered" not in [check.kind for check in judge().checks]


# Slices


def test_a_slice_that_has_lost_fails_the_gate_with_its_name_and_numbers() -> None:
    slices = {
        "topic Injuries": part(-0.4, -0.55, p=0.001),
        "topic Neoplasms": part(0.0, -0.1, p=0.6),
        "topic Eyes": part(-0.3, -0.6, p=0.1, samples=12),
    }
    verdict = judge(slices=slices)
    assert verdict.status == "failed"
    assert only(verdict, "slice").reason == (
        "On topic Injuries (30 samples) the difference to medical@1 in production is -0.400 (p = 0.002 after "
        "correction for 2 slices): a significant loss, and by the best estimate one of more than 0.150."
    )


def test_where_no_slice_has_lost_one_sentence_says_what_was_shown() -> None:
    slices = {
        "language en": part(0.02, -0.05, p=0.7, samples=80),
        "language zh": part(-0.1, -0.25, p=0.2),
        **{f"topic {name}": part(0.0, -0.4, p=1.0, samples=5) for name in "abcdefg"},
    }
    assert only(judge(slices=slices), "slice").reason == (
        "None of 2 slices has a significant loss against medical@1 in production that is larger than 0.150. With 95 % "
        "confidence for each by itself, so large a loss is ruled out on 1. The lowest is language zh with -0.100. Too "
        "small to judge, with fewer than 20 samples: topic a, topic b, topic c, topic d, topic e and 2 more."
    )


def test_slices_that_are_all_too_small_are_told_and_not_judged() -> None:
    verdict = judge(slices={"topic a": part(-1.0, -1.0, p=0.0001, samples=19)})
    assert verdict.passed
    assert only(verdict, "slice").reason == (
        "No slice is large enough to be judged against medical@1 in production. Too small to judge, with fewer than 20 "
        "samples: topic a. Unclear, though by the best estimate a loss of more than 0.150: topic a (-1.000, 19 "
        "samples). Look at their answers, or add samples."
    )


def test_slices_that_may_have_lost_much_are_named_with_their_figures_the_worst_first() -> None:
    slices = {
        "topic a": part(-0.3, -0.6, p=0.1),
        "topic b": part(-0.7, -0.9, p=0.01, samples=10),
        "topic c": part(0.0, -0.1, p=0.6),
    }
    assert only(judge(slices=slices), "slice").reason.endswith(
        "Unclear, though by the best estimate a loss of more than 0.150: topic b (-0.700, 10 samples), topic a "
        "(-0.300, 30 samples). Look at their answers, or add samples."
    )


@pytest.mark.parametrize(
    ("mean", "low", "p", "status"),
    [
        (-0.3, -0.5, 0.05, "missed"),  # significant, and more than the margin
        (-0.3, -0.5, 0.051, "unclear"),  # more than the margin, but it may be chance
        (-0.15, -0.25, 0.0001, "unclear"),  # a loss, but not of more than the margin
        (-0.05, -0.149, 0.0001, "met"),  # a loss, and one of more than the margin is ruled out
        (0.0, -0.149, 0.5, "met"),
        (0.0, -0.15, 0.5, "unclear"),
    ],
)
def test_a_slice_is_lost_when_the_loss_is_significant_and_matters(
    mean: float, low: float, p: float, status: str
) -> None:
    [found] = judge_slices(THRESHOLDS, {"topic a": part(mean, low, p=p)})
    assert found.status == status


def test_slices_are_corrected_for_their_number_and_small_ones_do_not_count() -> None:
    slices = {f"topic {n}": part(-0.3, -0.5, p=0.02) for n in range(2)}
    small = {f"topic small {n}": part(-0.3, -0.5, p=0.02, samples=19) for n in range(50)}
    found = judge_slices(THRESHOLDS, slices | small)
    assert [each.p_adjusted for each in found[:3]] == [0.04, 0.04, None]
    assert [each.status for each in found[:3]] == ["missed", "missed", "too small"]


# Hard requirements


@pytest.mark.parametrize(
    ("lowest", "scores", "status", "reason"),
    [
        (1.0, {"a": 1.0, "b": 1.0}, "met", "All 2 samples meet notice."),
        (1.0, {"a": 1.0, "b": 0.0}, "missed", "1 of 2 samples breaks notice (b): every sample must meet it."),
        (
            1.0,
            dict.fromkeys("abcdefg", 0.5),
            "missed",
            "7 of 7 samples break notice (a, b, c, d, e and 2 more): every sample must meet it.",
        ),
        (
            0.5,
            {"a": 0.0, "b": 1.0},
            "met",
            "1 of 2 samples breaks notice (a): its mean of 0.500 reaches the required 0.500.",
        ),
        (
            0.9,
            {"a": 0.0, "b": 1.0},
            "missed",
            "1 of 2 samples breaks notice (a): its mean of 0.500 falls short of 0.900.",
        ),
        (1.0, {}, "unclear", "notice is required, but no sample of the suite tells anything about it."),
    ],
)
def test_a_hard_requirement_names_the_samples_that_break_it(
    lowest: float, scores: dict[str, float], status: str, reason: str
) -> None:
    found = only(judge(THRESHOLDS.model_copy(update={"hard": {"notice": lowest}}), hard={"notice": scores}), "hard")
    assert (found.status, found.reason) == (status, reason)


def test_a_hard_requirement_that_nobody_measured_is_not_met() -> None:
    verdict = judge(THRESHOLDS.model_copy(update={"hard": {"notice": 1.0}}))
    assert verdict.status == "not enough evidence"


# The verdict


def test_a_failure_outweighs_missing_evidence() -> None:
    assert judge(samples=10, score=Estimate(0.1, 0.0, 0.2)).status == "failed"


@given(st.floats(-1, 1), st.floats(0, 0.5))
def test_a_better_gain_never_turns_a_pass_into_a_failure(low: float, more: float) -> None:
    worse, better = (judge(gain=Estimate(end, end, 1.0)) for end in (low, low + more))
    assert better.passed >= worse.passed


@given(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_better_change_never_makes_the_verdict_worse(low: float, wide: float, more: float) -> None:
    order = {"met": 2, "unclear": 1, "missed": 0}
    worse, better = (
        only(judge(change=change(start + wide / 2, start, start + wide)), "non-inferiority").status
        for start in (low, low + more)
    )
    assert order[better] >= order[worse]


def test_a_gain_over_few_groups_is_not_shown_whatever_the_interval_says() -> None:
    verdict = judge(groups=5)
    assert only(verdict, "gain").status == "unclear"
    assert only(verdict, "gain").reason == (
        "The gain over the base model is +0.300, and how much that may vary is unknown: "
        "the samples belong to only 5 groups."
    )


def test_a_gain_without_ends_is_unclear_and_no_number_of_samples_is_made_up() -> None:
    endless = Estimate(0.3, float("-inf"), float("inf"))
    check = only(judge(groups=1, gain=endless), "gain")
    assert (check.status, "all samples belong to one group" in check.reason) == ("unclear", True)


def test_where_scores_have_no_bound_an_endless_spread_is_unclear_and_raises_nothing() -> None:
    """A perplexity of 1e304, whose square is too large for a float."""
    found = change_from("m@1", [1e304, *[2.0] * 119], [3.0] * 120, confidence=0.95, higher_is_better=False)
    endless = Estimate(0.2, -math.inf, math.inf)
    verdict = judge(change=found, gain=endless)
    assert [only(verdict, kind).status for kind in ("gain", "non-inferiority")] == ["unclear", "unclear"]
