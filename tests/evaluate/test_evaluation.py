"""The main path against the real server: from a suite to a record that a release accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from locum.adapters.registry import Registry
from locum.errors import BadInputError, CheckFailedError, ConflictError, GateError, NotFoundError, UnavailableError
from locum.evaluate.client import Patience
from locum.evaluate.evaluation import default_ref, evaluate_version
from locum.evaluate.report import read_result
from locum.settings import Settings

if TYPE_CHECKING:
    from tests.evaluate.conftest import Laboratory


def test_a_version_that_answers_as_expected_passes_and_may_be_released_on_that_evidence(
    laboratory: Laboratory,
) -> None:
    laboratory.expect("legal", "legal@2")
    registry = Registry.open(laboratory.settings)
    with pytest.raises(GateError):
        registry.release("legal@2", by="ada")

    [result] = evaluate_version(laboratory.settings, "legal@candidate")

    assert result.passed, result.reasons
    assert result.version == "legal@2"
    assert [model.role for model in result.models] == ["version", "base", "production"]
    assert result.production == "legal@1"
    assert result.score.mean > 0.9
    assert result.base_score.mean < 0.1
    assert result.gain.low > 0
    assert result.reused == 0
    assert laboratory.asked() == {"legal@2": 12, laboratory.server.base.name: 12, "legal@1": 12}
    assert read_result(result.folder / "result.json") == result
    for name in ("samples.jsonl", "report.md", "report.html"):
        assert (result.folder / name).stat().st_size > 0

    [record] = registry.evaluations("legal@2")
    assert record == result.record()
    assert registry.required_suites("legal") == {"held-out": result.suite_digest}
    registry.release("legal@2", by="ada")
    assert registry.resolve("legal").name == "legal@2"


def test_the_same_command_again_asks_nothing_again(laboratory: Laboratory) -> None:
    laboratory.expect("legal", "legal@2")
    [first] = evaluate_version(laboratory.settings, "legal@2")
    laboratory.proxy.forget()
    [second] = evaluate_version(laboratory.settings, "legal@2")
    assert laboratory.proxy.requests == []
    assert second.folder == first.folder
    assert second.reused == 36
    assert (second.score, second.gain, second.checks) == (first.score, first.gain, first.checks)


def test_a_changed_threshold_makes_another_suite_and_asks_nothing_again(laboratory: Laboratory) -> None:
    laboratory.expect("legal", "legal@2")
    [first] = evaluate_version(laboratory.settings, "legal@2")
    laboratory.expect("legal", "legal@2", min_score=0.2)
    laboratory.proxy.forget()
    [second] = evaluate_version(laboratory.settings, "legal@2")
    assert second.suite_digest != first.suite_digest
    assert second.folder != first.folder
    assert (second.reused, laboratory.proxy.requests) == (36, [])


def test_a_version_that_is_worse_than_production_fails_and_the_release_is_refused(laboratory: Laboratory) -> None:
    laboratory.expect("legal", "legal@1")
    [result] = evaluate_version(laboratory.settings, "legal@2", against="legal@1")
    assert not result.passed
    assert result.against == "legal@1"
    assert result.headline.worse > 9
    [lost] = [check for check in result.checks if check.kind == "non-inferiority"]
    assert (lost.status, result.status) == ("missed", "failed")
    registry = Registry.open(laboratory.settings)
    assert not registry.evaluations("legal@2")[0].passed
    with pytest.raises(GateError):
        registry.release("legal@2", by="ada")


def test_the_version_in_production_is_not_compared_with_itself(laboratory: Laboratory) -> None:
    laboratory.expect("medical", "medical@1")
    [result] = evaluate_version(laboratory.settings, "medical")
    assert [model.role for model in result.models] == ["version", "base"]
    with pytest.raises(BadInputError, match="compared with itself"):
        evaluate_version(laboratory.settings, "medical", against="medical@1")


def test_a_quick_look_asks_few_and_records_nothing(laboratory: Laboratory) -> None:
    laboratory.expect("legal")
    [result] = evaluate_version(laboratory.settings, "legal@2", limit=3)
    assert result.samples == 3
    assert not result.recorded
    assert not result.passed
    registry = Registry.open(laboratory.settings)
    assert registry.evaluations("legal@2") == []
    assert registry.required_suites("legal") == {}


def test_a_server_that_fails_leaves_no_result_and_no_record(laboratory: Laboratory) -> None:
    laboratory.expect("medical")
    laboratory.proxy.fault = lambda request: "drop" if len(laboratory.proxy.requests) > 4 else None
    with pytest.raises(UnavailableError, match="of 24 questions failed"):
        evaluate_version(laboratory.settings, "medical@1", patience=Patience(attempts=1))
    assert Registry.open(laboratory.settings).evaluations("medical@1") == []
    assert not list(laboratory.settings.evaluations.rglob("result.json"))
    laboratory.proxy.forget()
    [result] = evaluate_version(laboratory.settings, "medical@1")
    assert 0 < result.reused < 24


def test_an_answer_that_the_server_refuses_is_counted_and_never_scored_and_the_gate_does_not_pass(
    laboratory: Laboratory,
) -> None:
    laboratory.expect("medical", "medical@1")
    laboratory.proxy.faults_in_turn(400)
    [result] = evaluate_version(laboratory.settings, "medical@1", concurrency=1)
    assert [model.failed for model in result.models] == [1, 0]
    assert result.score.mean > 0.9
    assert result.status == "not enough evidence"
    assert any("1 of 12 samples is without an answer" in reason for reason in result.reasons)
    [again] = evaluate_version(laboratory.settings, "medical@1")
    assert again.passed


def test_other_weights_under_the_same_name_are_noticed_before_anything_is_asked(laboratory: Laboratory) -> None:
    laboratory.expect("medical")
    served = Registry.open(laboratory.settings).resolve("medical@1").digest
    laboratory.change_registry("UPDATE versions SET manifest = json_set(manifest, '$.digest', 'feedface')")
    with pytest.raises(CheckFailedError, match=f"digest of medical@1 differs.*{served}.*feedface"):
        evaluate_version(laboratory.settings, "medical@1")
    assert laboratory.proxy.requests == []


def test_another_base_model_is_noticed(laboratory: Laboratory) -> None:
    laboratory.expect("medical")
    laboratory.change_registry("UPDATE versions SET manifest = json_set(manifest, '$.base_fingerprint', 'feedface')")
    with pytest.raises(CheckFailedError, match=r"base model of medical@1 differs.*feedface"):
        evaluate_version(laboratory.settings, "medical@1")


def test_a_version_that_the_server_has_never_heard_of_is_the_environments_fault(laboratory: Laboratory) -> None:
    laboratory.expect("medical")
    laboratory.change_registry(
        "UPDATE versions SET number = 9, manifest = json_set(manifest, '$.number', 9) WHERE domain = 'medical'"
    )
    with pytest.raises(UnavailableError, match=r"does not serve medical@9 \(versions there: .*medical@1"):
        evaluate_version(laboratory.settings, "medical@9")


def test_one_evaluation_at_a_time_writes_to_a_folder(laboratory: Laboratory) -> None:
    laboratory.expect("medical")
    [result] = evaluate_version(laboratory.settings, "medical@1")
    with FileLock(result.folder / ".lock"), pytest.raises(ConflictError, match="running already"):
        evaluate_version(laboratory.settings, "medical@1")


def test_an_unknown_suite_version_or_domain_is_told(laboratory: Laboratory) -> None:
    laboratory.expect("medical")
    with pytest.raises(NotFoundError, match="held-out"):
        evaluate_version(laboratory.settings, "medical@1", suite="nope")
    with pytest.raises(NotFoundError, match="medical@1"):
        evaluate_version(laboratory.settings, "medical@7")
    with pytest.raises(NotFoundError, match="legal"):
        evaluate_version(laboratory.settings, "legal@1")


def test_without_a_server_it_is_the_environments_fault(laboratory: Laboratory) -> None:
    laboratory.expect("medical")
    nowhere = laboratory.settings.model_copy(update={"endpoint": "http://127.0.0.1:1/v1"})
    with pytest.raises(UnavailableError, match="no server answers"):
        evaluate_version(nowhere, "medical@1")


def test_the_candidate_is_evaluated_by_default_then_production(laboratory: Laboratory, settings: Settings) -> None:
    assert default_ref(laboratory.settings, "legal") == "legal@candidate"
    assert default_ref(laboratory.settings, "medical") == "medical"
    with pytest.raises(NotFoundError, match="neither a candidate nor a version in production"):
        default_ref(settings, "legal")
