"""Which evidence a release lacks: decided without a database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.evidence import evidence_for, missing_evidence
from locum.adapters.manifest import EvaluationRecord, Manifest

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
    exact: dict[str, Any] = {
        "domain": "legal",
        "number": 3,
        "version_digest": "version-now",
        "base_fingerprint": "base-now",
        "suite": "held-out",
        "suite_digest": "suite-now",
        "passed": True,
        "reasons": ["0.9 is at least 0.5."],
        "samples": 100,
        "metric": "exact_match",
        "score": 0.9,
        "endpoint": "http://127.0.0.1:8000/v1",
        "result_path": "somewhere",
        "created_at": NOW,
        "created_by": "tester",
    }
    return EvaluationRecord.model_validate(exact | changes)


SPELLING = evaluation(suite="spelling", suite_digest="spelling-now")


def test_nothing_is_missing_when_every_required_suite_passed() -> None:
    assert missing_evidence(MANIFEST, REQUIRED, [evaluation(), SPELLING]) == []


def test_each_suite_without_evaluation_is_named() -> None:
    assert missing_evidence(MANIFEST, REQUIRED, []) == [
        "suite held-out: there is no evaluation of legal@3",
        "suite spelling: there is no evaluation of legal@3",
    ]
    assert missing_evidence(MANIFEST, REQUIRED, [SPELLING]) == ["suite held-out: there is no evaluation of legal@3"]


def test_a_domain_without_known_suites_lacks_evidence() -> None:
    [complaint] = missing_evidence(MANIFEST, {}, [evaluation()])
    assert "no suite is known for legal" in complaint


def test_what_differs_is_said() -> None:
    def complaint(**changes: Any) -> str:
        [found] = missing_evidence(MANIFEST, {"held-out": "suite-now"}, [evaluation(**changes)])
        return found

    assert "evaluated was digest old, this is version-now" in complaint(version_digest="old")
    assert "evaluated was on base old, this needs base-now" in complaint(base_fingerprint="old")
    assert "the evaluation is of suite digest old, the suite is now suite-now" in complaint(suite_digest="old")
    assert "the gate failed: Too low. Too few." in complaint(passed=False, reasons=["Too low.", "Too few."])


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
