"""Which evidence a release lacks: decided without a database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.evidence import evidence_for, missing_evidence, what_to_do
from locum.adapters.manifest import EvaluationRecord, Manifest, Part
from tests.records import evaluation_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MANIFEST = Manifest(
    domain="legal",
    number=3,
    digest="version-now",
    base="tiny",
    base_fingerprint="base-now",
    rank=8,
    alpha=16,
    target_modules=["q_proj"],
    parameters=10,
    size=10,
    code_version="1",
    created_at=NOW,
    created_by="tester",
)
REQUIRED = {"held-out": "suite-now", "spelling": "spelling-now"}


def evaluation(**changes: Any) -> EvaluationRecord:
    return evaluation_of(MANIFEST, **{"suite_digest": "suite-now", **changes})


SPELLING = evaluation(suite="spelling", suite_digest="spelling-now")


def test_nothing_is_missing_when_every_required_suite_passed() -> None:
    assert missing_evidence(MANIFEST, REQUIRED, [evaluation(), SPELLING]) == []


def test_each_suite_without_evaluation_is_named() -> None:
    assert [lack.sentence for lack in missing_evidence(MANIFEST, REQUIRED, [])] == [
        "suite held-out: there is no evaluation of legal@3",
        "suite spelling: there is no evaluation of legal@3",
    ]
    [lack] = missing_evidence(MANIFEST, REQUIRED, [SPELLING])
    assert lack.sentence == "suite held-out: there is no evaluation of legal@3"
    assert what_to_do(MANIFEST, [lack]).startswith("`locum eval legal --model legal@3` evaluates it; `--force")


def test_a_domain_without_known_suites_lacks_evidence() -> None:
    [lack] = missing_evidence(MANIFEST, {}, [evaluation()])
    assert "no suite is known for legal" in lack.sentence


def test_what_differs_is_said() -> None:
    def complaint(**changes: Any) -> str:
        [found] = missing_evidence(MANIFEST, {"held-out": "suite-now"}, [evaluation(**changes)])
        return found.sentence

    assert "evaluated was digest old, this is version-now" in complaint(version_digest="old")
    assert "evaluated was on base old, this needs base-now" in complaint(base_fingerprint="old")
    assert "the suite, or what it is scored by, changed since the evaluation" in complaint(suite_digest="old")
    assert "is of suite digest old, the suite is now suite-now" in complaint(suite_digest="old")


def test_an_evaluation_beside_another_production_is_no_evidence_against_the_one_of_now() -> None:
    now = MANIFEST.model_copy(update={"number": 2})
    beside_two, beside_one = evaluation(production="legal@2", passed=False), evaluation(production="legal@1")
    required = {"held-out": "suite-now"}
    for found, said in (
        ([beside_one], "evaluated was beside legal@1, and legal@2 is in production now"),
        ([evaluation()], "evaluated was beside no version in production, and legal@2 is in production now"),
        ([beside_one, beside_two], "the gate failed"),
    ):
        [lack] = missing_evidence(MANIFEST, required, found, production=now)
        assert said in lack.sentence
    passed = evaluation(production="legal@2")
    assert missing_evidence(MANIFEST, required, [beside_one, passed, beside_two], production=now) == []
    [evidence] = evidence_for(MANIFEST, required, [(3, beside_one), (2, passed)], production=now)
    assert evidence.evaluation == 2
    elsewhere = now.model_copy(update={"base_fingerprint": "another base"})
    for nobody in (None, MANIFEST, elsewhere):
        assert missing_evidence(MANIFEST, required, [beside_one], production=nobody) == []


def test_what_was_met_is_no_reason_for_a_refusal() -> None:
    failed = evaluation(
        passed=False,
        status="failed",
        reasons=["Enough.", "Too low.", "May be worse."],
        missed=["Too low."],
        unclear=["May be worse."],
    )
    [lack] = missing_evidence(MANIFEST, {"held-out": "suite-now"}, [failed])
    assert lack.sentence == "suite held-out: the gate failed:\n  missed: Too low.\n  unclear: May be worse."
    assert "what was missed takes another version" in what_to_do(MANIFEST, [lack])
    assert "more samples" not in what_to_do(MANIFEST, [lack])


def test_what_is_unclear_takes_more_samples_and_no_other_version() -> None:
    unclear = evaluation(
        passed=False, status="not enough evidence", reasons=["Good.", "Too few."], missed=[], unclear=["Too few."]
    )
    [lack] = missing_evidence(MANIFEST, {"held-out": "suite-now"}, [unclear])
    assert lack.sentence == "suite held-out: not enough evidence:\n  unclear: Too few."
    assert "`locum suite power legal` says how many" in what_to_do(MANIFEST, [lack])
    assert "locum train" not in what_to_do(MANIFEST, [lack])


def test_an_evaluation_recorded_before_reasons_were_told_apart_is_told_with_all_of_them() -> None:
    before = evaluation(passed=False, reasons=["Enough.", "Too low."]).model_dump(mode="json")
    for field in ("suite_parts", "missed", "unclear"):
        del before[field]
    [lack] = missing_evidence(MANIFEST, {"held-out": "suite-now"}, [EvaluationRecord.model_validate(before)])
    assert lack.sentence == "suite held-out: the gate failed:\n  Enough.\n  Too low."


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"samples": "new"}, "what is asked (its samples or the system prompt) changed"),
        ({"judge": "new"}, "the judge or its rubric changed"),
        ({"compliance": "new"}, "the compliance rules changed"),
        ({"card": "new", "compliance": "new"}, "its suite.yaml and the compliance rules changed"),
        (
            {"samples": "new", "card": "new", "judge": "new"},
            "what is asked (its samples or the system prompt), its suite.yaml and the judge or its rubric changed",
        ),
    ],
)
def test_a_refusal_says_what_of_a_suite_has_changed(changes: dict[Part, str], said: str) -> None:
    parts: dict[Part, str] = {"samples": "s", "card": "c", "judge": "j"}
    old = evaluation(suite_digest="old", suite_parts=parts)
    [lack] = missing_evidence(MANIFEST, {"held-out": "suite-now"}, [old], parts={"held-out": {**parts, **changes}})
    assert lack.sentence.startswith(f"suite held-out: {said} since the evaluation")


exactness = st.sampled_from([{}, {"version_digest": "old"}, {"base_fingerprint": "old"}, {"suite_digest": "old"}])
evaluations = st.lists(
    st.builds(lambda differs, passed: evaluation(**differs, passed=passed), exactness, st.booleans()), max_size=6
)


@given(evaluations)
def test_the_newest_exact_evaluation_decides_and_no_other(newest_first: Sequence[EvaluationRecord]) -> None:
    required = {"held-out": "suite-now"}
    exact = [
        (number, each)
        for number, each in enumerate(newest_first)
        if (each.version_digest, each.base_fingerprint, each.suite_digest) == ("version-now", "base-now", "suite-now")
    ]
    released = not missing_evidence(MANIFEST, required, newest_first)
    assert released == (bool(exact) and exact[0][1].passed)
    named = [item.evaluation for item in evidence_for(MANIFEST, required, list(enumerate(newest_first)))]
    assert named == [number for number, _ in exact[:1]]


def test_an_evaluation_of_a_suite_that_is_no_longer_required_is_no_evidence() -> None:
    old = evaluation(suite="retired", suite_digest="retired")
    assert evidence_for(MANIFEST, REQUIRED, [(7, old)]) == []
