"""The runner against the real server, through a proxy that does to it what networks do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from locum.adapters.registry import Registry
from locum.errors import CheckFailedError, UnauthorizedError, UnavailableError
from locum.evaluate.answers import Answer, AnswerLog, Contender
from locum.evaluate.client import Patience
from locum.evaluate.endpoint import read_endpoint
from locum.evaluate.runner import Asking, ask_all
from locum.evaluate.suite import Suite, load_suites

if TYPE_CHECKING:
    from tests.evaluate.conftest import Laboratory

IMPATIENT = Patience(timeout_s=5.0, attempts=4, backoff_s=0.01, backoff_cap_s=0.05)


@pytest.fixture
def suite(laboratory: Laboratory) -> Suite:
    [loaded] = load_suites(laboratory.expect("medical"), Path())
    return loaded


@pytest.fixture
def contenders(laboratory: Laboratory) -> list[Contender]:
    manifest = Registry.open(laboratory.settings).resolve("medical@1")
    base = laboratory.server.base
    return [Contender("medical@1", "version", manifest.digest), Contender(base.name, "base", base.fingerprint)]


@pytest.fixture
def log(tmp_path: Path) -> AnswerLog:
    return AnswerLog(tmp_path / "samples.jsonl")


def asking(laboratory: Laboratory, *, patience: Patience = IMPATIENT, concurrency: int = 4) -> Asking:
    return Asking(laboratory.proxy.url, "key", concurrency, patience)


def test_every_sample_is_answered_by_every_contender_and_kept_with_all_that_is_known(
    laboratory: Laboratory, suite: Suite, contenders: list[Contender], log: AnswerLog
) -> None:
    answers = ask_all(suite, contenders, log, asking(laboratory))
    assert [answer.key for answer in answers] == [(s.id, c.name) for s in suite.samples for c in contenders]
    assert log.read(contenders) == {answer.key: answer for answer in answers}
    for answer in answers:
        assert answer.answered_by == answer.adapter == answer.model
        assert set(answer.scores) == {"exact_match", "token_f1", "rouge_l"}
        assert answer.messages[0].role == "system"
        assert answer.reference == "Nobody says so"
        assert answer.latency_s and answer.prompt_tokens and answer.completion_tokens
        assert answer.finish_reason in {"stop", "length"}
        assert answer.attempts == 1
    assert laboratory.proxy.authorizations == {"Bearer key"}


def test_contenders_take_turns_and_no_more_requests_run_than_allowed(
    laboratory: Laboratory, suite: Suite, contenders: list[Contender], log: AnswerLog
) -> None:
    ask_all(suite, contenders, log, asking(laboratory, concurrency=3))
    assert 1 < laboratory.proxy.most_in_flight <= 3
    laboratory.proxy.forget()
    log.clear()
    ask_all(suite, contenders, log, asking(laboratory, concurrency=1))
    turns = [request["model"] for request in laboratory.proxy.requests]
    assert turns == [contender.name for contender in contenders] * len(suite.samples)


def test_answers_arrive_through_a_busy_server_a_lost_connection_half_an_answer_and_a_timeout(
    laboratory: Laboratory, suite: Suite, contenders: list[Contender], log: AnswerLog
) -> None:
    laboratory.proxy.faults_in_turn(503, 429, "drop", "half", "hang", 500)
    answers = ask_all(suite, contenders, log, asking(laboratory))
    assert sum(answer.attempts - 1 for answer in answers) == 6
    assert all(answer.answer is not None and answer.error is None for answer in answers)
    assert len(laboratory.proxy.requests) == len(answers) + 6


def test_a_sample_that_fails_for_good_is_never_scored_and_the_next_run_asks_only_it(
    laboratory: Laboratory, suite: Suite, contenders: list[Contender], log: AnswerLog
) -> None:
    cursed = {suite.samples[2].question, suite.samples[7].question}
    laboratory.proxy.fault = lambda request: 503 if request["messages"][-1]["content"] in cursed else None
    with pytest.raises(UnavailableError, match=r"^4 of 24 questions failed; the last: 503: fault 503") as caught:
        ask_all(suite, contenders, log, asking(laboratory))
    assert caught.value.hint and "type the same command again" in caught.value.hint
    failed = [
        answer for line in log.path.read_text().splitlines() if (answer := Answer.model_validate_json(line)).error
    ]
    assert len(failed) == 4
    assert all(answer.scores == {} and answer.answer is None and answer.attempts == 4 for answer in failed)

    laboratory.proxy.forget()
    assert len(ask_all(suite, contenders, log, asking(laboratory))) == 24
    assert {request["messages"][-1]["content"] for request in laboratory.proxy.requests} == cursed
    assert len(laboratory.proxy.requests) == 4


def test_a_question_that_the_server_refuses_is_not_asked_again(
    laboratory: Laboratory, suite: Suite, contenders: list[Contender], log: AnswerLog
) -> None:
    laboratory.proxy.faults_in_turn(400)
    with pytest.raises(UnavailableError, match=r"^1 of 24 questions failed; the last: 400: fault 400"):
        ask_all(suite, contenders, log, asking(laboratory))
    assert len(laboratory.proxy.requests) == 24


def test_a_server_that_is_gone_is_not_asked_to_the_end(
    laboratory: Laboratory, suite: Suite, contenders: list[Contender], log: AnswerLog
) -> None:
    laboratory.proxy.fault = lambda request: "drop"
    with pytest.raises(UnavailableError, match="were not asked any more"):
        ask_all(suite, contenders, log, asking(laboratory, patience=Patience(attempts=1)))
    assert len(laboratory.proxy.requests) < 24


def test_a_refused_key_ends_the_run_at_once(
    laboratory: Laboratory, suite: Suite, contenders: list[Contender], log: AnswerLog
) -> None:
    laboratory.proxy.fault = lambda request: 401
    with pytest.raises(UnauthorizedError, match="fault 401"):
        ask_all(suite, contenders, log, asking(laboratory))
    assert len(laboratory.proxy.requests) <= 4


def test_an_answer_of_another_version_stops_the_run_and_is_not_kept(
    laboratory: Laboratory, suite: Suite, contenders: list[Contender], log: AnswerLog
) -> None:
    laboratory.proxy.fault = lambda request: "impostor" if len(laboratory.proxy.requests) == 5 else None
    with pytest.raises(CheckFailedError, match="says 'medical@99'"):
        ask_all(suite, contenders, log, asking(laboratory))
    kept = log.read(contenders)
    assert "medical@99" not in log.path.read_text()
    laboratory.proxy.forget()
    ask_all(suite, contenders, log, asking(laboratory))
    assert len(laboratory.proxy.requests) == 24 - len(kept)


def test_the_endpoint_describes_itself(laboratory: Laboratory) -> None:
    found = read_endpoint(laboratory.proxy.url)
    base = laboratory.server.base
    assert (found.base, found.fingerprint) == (base.name, base.fingerprint)
    assert found.aliases["medical"] == "medical@1"
    assert found.versions["medical@1"].base_fingerprint == base.fingerprint
    found.check(Registry.open(laboratory.settings).resolve("medical@1"))


def test_an_endpoint_that_is_not_there_says_how_to_start_one() -> None:
    with pytest.raises(UnavailableError, match=r"no server answers at http://127\.0\.0\.1:1/v1") as caught:
        read_endpoint("http://127.0.0.1:1/v1")
    assert caught.value.exit_code == 3
    assert caught.value.hint and "locum serve" in caught.value.hint


def test_a_url_without_v1_is_told_apart_from_a_server_that_is_down(laboratory: Laboratory) -> None:
    with pytest.raises(UnavailableError, match="does not exist") as caught:
        read_endpoint(laboratory.server.url)
    assert caught.value.hint and "/v1" in caught.value.hint


def test_a_key_is_not_shown_in_logs() -> None:
    assert "secret" not in repr(Asking("http://x/v1", "secret"))
