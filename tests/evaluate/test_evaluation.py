"""The main path against the real server: from a suite to a record that a release accepts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from locum.adapters.registry import Registry
from locum.adapters.votes import ArenaQuestion, Vote, open_arena, record_vote
from locum.errors import BadInputError, CheckFailedError, ConflictError, GateError, NotFoundError, UnavailableError
from locum.evaluate.answers import SAMPLES_FILE, Answer, read_answers
from locum.evaluate.client import Patience
from locum.evaluate.evaluation import default_ref, evaluate_version
from locum.evaluate.report import read_result
from locum.settings import Settings
from tests.judge import MODEL, judging
from tests.records import arena_of

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
    [result] = evaluate_version(laboratory.settings, "legal@2")
    assert not result.passed
    assert result.against == "legal@1", "what is worse than production is told first"
    assert "--against legal@1" in result.command
    assert result.headline.worse > 9
    [lost] = [check for check in result.checks if check.kind == "non-inferiority"]
    assert (lost.status, result.status) == ("missed", "failed")
    registry = Registry.open(laboratory.settings)
    assert not registry.evaluations("legal@2")[0].passed
    with pytest.raises(GateError):
        registry.release("legal@2", by="ada")


def test_the_base_models_comparison_is_told_first_where_that_is_asked_for(laboratory: Laboratory) -> None:
    laboratory.expect("legal", "legal@1")
    [result] = evaluate_version(laboratory.settings, "legal@2", against="base")
    assert (result.against, result.production) == (laboratory.server.base.name, "legal@1")


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


def test_samples_are_asked_word_for_word_and_another_prompt_that_users_get_is_told(laboratory: Laboratory) -> None:
    laboratory.expect("legal")
    given = "'$.system_prompt', 'Answer in verse.', '$.system', 'default'"
    laboratory.change_registry(f"UPDATE versions SET manifest = json_set(manifest, {given}) WHERE domain = 'legal'")
    [result] = evaluate_version(laboratory.settings, "legal@2", limit=2)
    assert laboratory.proxy.switches == {"never"}
    [note] = result.notes
    assert note.startswith("legal@2 was asked with the card's system prompt, but a server gives its users the one")


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
    laboratory.expect("insurance")
    with pytest.raises(NotFoundError, match="neither a candidate nor a version in production"):
        default_ref(laboratory.settings, "insurance")
    with pytest.raises(NotFoundError, match="there is no domain 'legal'"):
        default_ref(settings, "legal")


def test_a_judge_rates_the_answers_and_is_held_against_people_who_voted_on_the_same_pairs(
    laboratory: Laboratory,
) -> None:
    with judging() as judge:
        metrics = ["exact_match", "judge_accuracy", "judge_preference"]
        card = {"model": MODEL, "endpoint": judge.url, "dimensions": ["accuracy"], "pairwise": True}
        laboratory.expect("legal", "legal@2", suite_card={"metrics": metrics, "judge": card})
        [first] = evaluate_version(laboratory.settings, "legal@2")
        assert first.models[0].scores["judge_accuracy"].mean == 1
        assert first.comparisons[0].differences["judge_preference"].mean > 0
        assert first.judge is not None and first.judge.people is None
        assert [(pair.other, pair.pairs) for pair in first.judge.pairs] == [
            (laboratory.server.base.name, 12),
            ("legal@1", 12),
        ]

        registry = Registry.open(laboratory.settings)
        vote_for(registry, "legal@2", against="legal@1", samples=list(read_answers(first.folder / SAMPLES_FILE))[:9:3])
        asked = len(judge.requests)
        [second] = evaluate_version(laboratory.settings, "legal@2")
        assert len(judge.requests) == asked
    assert second.judge is not None and second.judge.people is not None
    assert (second.judge.people.pairs, second.judge.people.agreement.mean) == (3, 1.0)
    assert "people have compared too (3 votes)" in (second.folder / "report.html").read_text()


def vote_for(registry: Registry, version: str, *, against: str, samples: list[Answer]) -> None:
    """One reviewer prefers the version on these samples."""
    now = datetime.now(UTC)
    arena = arena_of(domain="legal", model=version, against=against)
    asked = [
        ArenaQuestion(number=number, sample=each.sample, messages=each.messages, model_answer="a", against_answer="b")
        for number, each in enumerate(samples)
    ]
    arena_id, _ = open_arena(registry, "digest", arena, asked)
    for question in asked:
        vote = Vote(number=question.number, reviewer="ada", preferred="model", left="against", at=now)
        record_vote(registry, arena_id, vote)


def test_a_hard_requirement_of_the_card_stops_a_version_whatever_its_score_is(laboratory: Laboratory) -> None:
    laboratory.expect(
        "legal",
        "legal@2",
        card={"notices": {"texts": ["not legal advice"]}},
        suite_card={
            "metrics": ["exact_match", "notice"],
            "thresholds": {"min_samples": 12, "hard": {"notice": 1.0}},
        },
    )
    [result] = evaluate_version(laboratory.settings, "legal@2")
    assert result.score.mean > 0.9
    assert result.status == "failed"
    [missed] = [check for check in result.checks if check.status == "missed"]
    assert (missed.kind, missed.reason.split(" (")[0]) == ("hard", "12 of 12 samples break notice")


def test_a_version_is_asked_elsewhere_too_and_may_do_no_harm_there(laboratory: Laboratory) -> None:
    laboratory.expect("tax", laboratory.server.base.name)
    elsewhere = {"suites": ["tax/held-out", "general"], "margin": 0.2, "limit": 6}
    laboratory.expect("medical", "medical@1", card={"elsewhere": elsewhere})
    own, tax, general = evaluate_version(laboratory.settings, "medical@1")
    assert [own.suite, tax.suite, general.suite] == ["held-out", "elsewhere-tax-held-out", "elsewhere-general"]
    assert own.passed
    assert tax.guard and (tax.samples, tax.status) == (6, "failed")
    [harm] = [check for check in tax.checks if check.status == "missed"]
    assert harm.kind == "harm"
    assert harm.reason.startswith(f"The difference to the base model {laboratory.server.base.name} is -1.000")
    assert {check.kind for check in general.checks} >= {"samples", "harm"}
    assert set(Registry.open(laboratory.settings).required_suites("medical")) == {own.suite, tax.suite, general.suite}
