"""What the gate is shown of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from locum.adapters.conversations import Message
from locum.adapters.suites import SuiteCard, Thresholds
from locum.evaluate.answers import Answer, Contender, Role
from locum.evaluate.comparison import Scored, by_model
from locum.evaluate.evidence import evidence_of
from locum.evaluate.gate import Evidence, decide
from locum.evaluate.metrics.registry import Metric
from locum.evaluate.samples import Sample
from locum.evaluate.suite import Suite, assemble

CARD = SuiteCard(
    name="codes",
    metrics=["exact_match", "notice"],
    slices=["topic"],
    thresholds=Thresholds(min_samples=2, hard={"notice": 1.0}),
)
SAMPLES = [
    Sample(f"s{n}", (Message(role="user", content="?"),), "!", group=f"g{n // 2}", slices={"topic": "ab"[n % 2]})
    for n in range(8)
]
SUITE = assemble("medical", CARD, SAMPLES)


class Scale:
    low, high, unit, binary, needs = 0.0, 1.0, "", True, frozenset({"text"})

    def __init__(self, higher_is_better: bool) -> None:
        self.higher_is_better = higher_is_better


def model(name: str, role: Role, scores: Sequence[float | None], notice: Mapping[str, float] | None = None) -> Scored:
    """A model with one score a sample; None where its answer failed."""
    answers = [
        Answer(
            sample=sample.id, model=name, digest=name, messages=[], reference="", error="503" if score is None else None
        )
        for sample, score in zip(SAMPLES, scores, strict=True)
    ]
    exact = {sample.id: score for sample, score in zip(SAMPLES, scores, strict=True) if score is not None}
    return Scored(Contender(name, role, name), answers, {"exact_match": exact, "notice": notice or {}})


def evidence(*models: Scored, suite: Suite = SUITE, higher_is_better: bool = True) -> Evidence:
    metrics = [Metric(name, Scale(higher_is_better)) for name in suite.metrics]
    return evidence_of(suite, metrics, models)


OURS = model("medical@2", "version", [1, 1, 1, 1, 0, 1, 0, 0], {"s0": 1.0, "s3": 0.0})
BASE = model("base", "base", [0, 0, 0, 0, 0, 0, 0, 1])
PRODUCTION = model("medical@1", "production", [1, 1, 1, 1, 1, 1, 0, 1])


def test_the_version_is_held_against_base_and_production() -> None:
    found = evidence(OURS, BASE, PRODUCTION)
    assert (found.samples, found.failed, found.guard) == (8, 0, False)
    assert found.score.mean == pytest.approx(5 / 8)
    assert found.gain is not None
    assert found.gain.mean == pytest.approx(4 / 8)
    assert found.change is not None
    assert (found.change.name, found.change.mean) == ("medical@1 in production", pytest.approx(-2 / 8))
    assert (found.change.samples, found.change.groups) == (8, 4)


def test_slices_are_held_against_production_too() -> None:
    found = evidence(OURS, BASE, PRODUCTION).slices
    assert {name: (each.change.samples, each.change.mean) for name, each in found.items()} == {
        "topic a": (4, pytest.approx(-1 / 4)),
        "topic b": (4, pytest.approx(-1 / 4)),
    }
    assert found["topic a"].worse.p == pytest.approx(1 / 2)


def test_hard_metrics_are_shown_sample_by_sample() -> None:
    assert evidence(OURS, BASE).hard == {"notice": {"s0": 1.0, "s3": 0.0}}


def test_without_another_version_in_production_there_is_no_change() -> None:
    assert evidence(OURS, BASE).change is None


def test_without_another_version_in_production_slices_are_held_against_the_base() -> None:
    found = evidence(OURS, BASE).slices
    assert {name: (each.change.name, each.change.mean) for name, each in found.items()} == {
        "topic a": ("the base model base", pytest.approx(2 / 4)),
        "topic b": ("the base model base", pytest.approx(2 / 4)),
    }


@pytest.mark.parametrize(("least", "status"), [(10, "failed"), (20, "passed")])
def test_a_first_release_that_collapsed_on_a_topic_does_not_pass_without_a_word(least: int, status: str) -> None:
    """From 0.900 to 0.200 on ten samples, and from 0.100 to 0.900 on all others."""
    samples = [
        Sample(f"s{n}", (Message(role="user", content="?"),), "!", group=f"g{n}", slices={"topic": "ab"[n >= 10]})
        for n in range(50)
    ]
    thresholds = Thresholds(min_samples=2, min_gain=0.0, slice_min_samples=least)
    suite = assemble("medical", CARD.model_copy(update={"thresholds": thresholds}), samples)

    def scored(name: str, role: Role, lost: int, other: int) -> Scored:
        scores = [float(n < lost) for n in range(10)] + [float(n < other) for n in range(40)]
        exact = {sample.id: score for sample, score in zip(samples, scores, strict=True)}
        return Scored(Contender(name, role, name), [], {"exact_match": exact, "notice": {}})

    shown = evidence(scored("medical@1", "version", 2, 36), scored("base", "base", 9, 4), suite=suite)
    verdict = decide(thresholds, shown)
    assert verdict.status == status
    [reason] = [check.reason for check in verdict.checks if check.kind == "slice"]
    expected = {
        10: "On topic a (10 samples) the difference to the base model base is -0.700 (p = 0.016 after correction for 2 "
        "slices): a significant loss, and by the best estimate one of more than 0.150.",
        20: "Too small to judge, with fewer than 20 samples: topic a. Unclear, though by the best estimate a loss of "
        "more than 0.150: topic a (-0.700, 10 samples). Look at their answers, or add samples.",
    }
    assert reason.endswith(expected[least])


def test_a_suite_of_elsewhere_is_held_against_the_base_until_something_is_in_production() -> None:
    guard = replace(SUITE, guard=True)
    alone, beside = evidence(OURS, BASE, suite=guard), evidence(OURS, BASE, PRODUCTION, suite=guard)
    assert alone.guard
    assert alone.change is not None
    assert alone.change.name == "the base model base"
    assert beside.change is not None
    assert beside.change.name == "medical@1 in production"


def test_a_sample_that_any_model_left_unanswered_is_counted_and_compared_with_none() -> None:
    found = evidence(OURS, BASE, model("medical@1", "production", [None, 1, 1, 1, 1, 1, 0, None]))
    assert (found.samples, found.failed) == (6, 2)
    assert found.change is not None
    assert found.change.samples == 6


def test_a_model_that_answered_nothing_leaves_no_difference() -> None:
    silent = model("base", "base", [None] * 8)
    found = evidence(OURS, silent, model("medical@1", "production", [None] * 8))
    assert (found.samples, found.failed) == (0, 8)
    assert found.gain is None
    assert found.change is None


def test_differences_of_a_metric_that_should_be_low_are_turned_round() -> None:
    found = evidence(OURS, BASE, PRODUCTION, higher_is_better=False)
    assert found.gain is not None
    assert found.gain.mean == pytest.approx(-4 / 8)
    assert found.change is not None
    assert found.change.mean == pytest.approx(2 / 8)
    assert found.slices["topic a"].change.mean == pytest.approx(1 / 4)
    assert not found.higher_is_better
    assert math.isfinite(found.change.low)


def test_a_sample_that_the_metric_speaks_of_for_one_model_only_is_counted_as_missing() -> None:
    silent = replace(PRODUCTION, scores={"exact_match": dict(list(PRODUCTION.scores["exact_match"].items())[3:])})
    found = evidence(OURS, BASE, silent)
    assert (found.samples, found.failed) == (5, 3)
    assert found.change is not None
    assert found.change.samples == 5


def test_a_sample_with_one_repeat_that_failed_is_in_no_comparison() -> None:
    failed = Answer(sample="s0", model="medical@1", digest="d", messages=[], reference="", error="503", repeat=1)
    first = failed.model_copy(update={"error": None, "repeat": 0, "scores": {"exact_match": 1.0}})
    whole = first.model_copy(update={"sample": "s1"})
    [found] = by_model([PRODUCTION.contender], [Metric("exact_match", Scale(True))], [first, failed, whole])
    assert found.scores["exact_match"] == {"s1": 1.0}
