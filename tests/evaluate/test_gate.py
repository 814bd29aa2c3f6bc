"""The gate: each threshold alone, at its edge, and its sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.card import GateCard
from locum.evaluate.gate import Verdict, decide
from locum.evaluate.statistics import Estimate

GATE = GateCard(min_samples=100, min_score=0.5, min_gain=0.1)
GOOD: dict[str, Any] = {
    "samples": 120,
    "score": Estimate(0.7, 0.6, 0.8),
    "gain": Estimate(0.3, 0.2, 0.4),
    "production": "medical@1",
    "change": Estimate(-0.01, -0.05, 0.03),
}


def judge(gate: GateCard = GATE, **changed: Any) -> Verdict:
    return decide(gate, **(GOOD | changed))


def test_a_version_that_meets_every_threshold_passes_with_every_reason_told() -> None:
    verdict = judge()
    assert verdict.passed
    assert verdict.reasons == [
        "120 samples are enough: the card asks for at least 100.",
        "The score 0.700 reaches the minimum of 0.500.",
        "The gain over the base model is +0.300, 95 % confidence interval [+0.200, +0.400]: "
        "its lower end exceeds +0.100.",
        "The difference to medical@1 in production is -0.010, 95 % confidence interval [-0.050, +0.030]: "
        "no significant loss.",
    ]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"samples": 99}, "99 samples are too few: the card asks for at least 100."),
        ({"score": Estimate(0.49, 0.4, 0.6)}, "The score 0.490 falls short of the minimum of 0.500."),
        ({"score": Estimate(0.4996, 0.4, 0.6)}, "The score 0.4996 falls short of the minimum of 0.5000."),
        ({"gain": Estimate(0.3, 0.1, 0.4)}, "its lower end does not exceed +0.100."),
        ({"change": Estimate(-0.1, -0.2, -0.001)}, "a significant loss."),
    ],
)
def test_one_unmet_threshold_fails_the_gate_and_says_so(changed: dict[str, Any], reason: str) -> None:
    verdict = judge(**changed)
    assert not verdict.passed
    [failed] = [check for check in verdict.checks if not check.met]
    assert failed.reason.endswith(reason)


@pytest.mark.parametrize(
    "changed", [{"samples": 100}, {"score": Estimate(0.5, 0, 1)}, {"change": Estimate(-0.1, -0.2, 0.0)}]
)
def test_thresholds_that_are_just_met_are_met(changed: dict[str, Any]) -> None:
    assert judge(**changed).passed


def test_without_another_version_in_production_there_is_nothing_to_lose_to() -> None:
    verdict = judge(production=None, change=None)
    assert verdict.passed
    assert len(verdict.reasons) == 3


def test_a_card_may_allow_a_loss_to_production_and_the_reason_says_so() -> None:
    gate = GATE.model_copy(update={"allow_loss_to_production": True})
    verdict = judge(gate, change=Estimate(-0.1, -0.2, -0.05))
    assert verdict.passed
    assert verdict.reasons[-1].endswith("a significant loss, which the card allows.")


@given(st.floats(-1, 1), st.floats(0, 0.5))
def test_a_better_gain_never_turns_a_pass_into_a_failure(low: float, more: float) -> None:
    worse, better = (judge(gain=Estimate(end, end, 1.0)) for end in (low, low + more))
    assert better.passed >= worse.passed
