"""The runner against the real server, through a proxy that does to it what networks do."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from locum.adapters.registry import Registry
from locum.adapters.suites import Generation, SuiteCard, Thresholds
from locum.errors import CheckFailedError, UnauthorizedError, UnavailableError, UnservableError
from locum.evaluate.answers import Contender
from locum.evaluate.cache import CACHE_FILE, AnswerCache
from locum.evaluate.client import Patience
from locum.evaluate.endpoint import read_endpoint
from locum.evaluate.runner import Asked, Asking, ask_all, forecast
from locum.evaluate.samples import Sample, SampleRow
from locum.evaluate.suite import Suite, assemble, load_suites

if TYPE_CHECKING:
    from tests.evaluate.conftest import Laboratory

IMPATIENT = Patience(attempts=4, backoff_s=0.01, backoff_cap_s=0.05)


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
def ask(laboratory: Laboratory, suite: Suite, contenders: list[Contender], tmp_path: Path) -> Callable[..., Asked]:
    """Puts a suite to the contenders through the proxy; the answers of a test are kept in one file."""
    cache = AnswerCache(tmp_path / CACHE_FILE)

    def run(
        asked: Suite = suite,
        *,
        patience: Patience = IMPATIENT,
        concurrency: int = 4,
        cached: bool = True,
        **options: Any,
    ) -> Asked:
        asking = Asking(laboratory.proxy.url, "key", concurrency, patience)
        kept = cache if cached else AnswerCache(tmp_path / f"{time.monotonic()}.db")
        fingerprint = laboratory.server.base.fingerprint
        return ask_all(asked, contenders, asking, kept, base_fingerprint=fingerprint, **options)

    return run


def test_every_sample_is_answered_by_every_contender_with_all_that_is_known(
    laboratory: Laboratory, suite: Suite, contenders: list[Contender], ask: Callable[..., Asked]
) -> None:
    asked = ask()
    assert [answer.key for answer in asked.answers] == [(s.id, c.name) for s in suite.samples for c in contenders]
    assert asked.reused == 0
    for answer in asked.answers:
        assert answer.answered_by == answer.adapter == answer.model
        assert answer.messages[0].role == "system"
        assert answer.reference == "Nobody says so"
        assert answer.prompt_tokens and answer.completion_tokens
        assert answer.latency_s and answer.first_token_s is not None and answer.first_token_s <= answer.latency_s
        assert answer.finish_reason in {"stop", "length"}
        assert answer.attempts == 1
    assert laboratory.proxy.authorizations == {"Bearer key"}


def test_what_was_answered_once_is_not_asked_again_whatever_else_has_changed(
    laboratory: Laboratory, suite: Suite, ask: Callable[..., Asked]
) -> None:
    first = ask()
    laboratory.proxy.forget()
    card = suite.card.model_copy(update={"metrics": ["rouge_l"], "primary": "rouge_l", "thresholds": Thresholds()})
    second = ask(assemble("medical", card, list(suite.samples)))
    assert laboratory.proxy.requests == []
    assert (second.answers, second.reused) == (first.answers, 24)


def test_other_settings_of_generation_ask_anew(laboratory: Laboratory, suite: Suite, ask: Callable[..., Asked]) -> None:
    ask()
    laboratory.proxy.forget()
    generation = suite.generation.model_copy(update={"max_tokens": 3})
    card = suite.card.model_copy(update={"generation": generation})
    assert ask(assemble("medical", card, list(suite.samples))).reused == 0
    assert len(laboratory.proxy.requests) == 24


def test_repeats_ask_each_sample_with_seeds_of_their_own(
    laboratory: Laboratory, suite: Suite, ask: Callable[..., Asked]
) -> None:
    generation = Generation(max_tokens=8, temperature=1.5, repeats=3, seed=7)
    card = suite.card.model_copy(update={"generation": generation})
    sampled = assemble("medical", card, list(suite.samples)[:2])
    first = ask(sampled)
    assert [answer.repeat for answer in first.answers] == [0, 1, 2] * 4
    assert {request["seed"] for request in laboratory.proxy.requests} == {7, 8, 9}
    assert len({answer.answer for answer in first.answers[:3]}) > 1
    again = ask(sampled, cached=False)
    assert [answer.answer for answer in again.answers] == [answer.answer for answer in first.answers]


def test_contenders_take_turns_and_no_more_requests_run_than_allowed(
    laboratory: Laboratory, suite: Suite, contenders: list[Contender], ask: Callable[..., Asked]
) -> None:
    ask(concurrency=3)
    assert 1 < laboratory.proxy.most_in_flight <= 3
    laboratory.proxy.forget()
    ask(concurrency=1, cached=False)
    turns = [request["model"] for request in laboratory.proxy.requests]
    assert turns == [contender.name for contender in contenders] * len(suite.samples)


def test_answers_arrive_through_a_busy_server_a_lost_connection_half_an_answer_and_a_timeout(
    laboratory: Laboratory, ask: Callable[..., Asked]
) -> None:
    laboratory.proxy.faults_in_turn(503, 429, "drop", "half", "abort", "hang", 500)
    answers = ask(patience=replace(IMPATIENT, timeout_s=3)).answers
    again = sum(answer.attempts - 1 for answer in answers)
    assert again >= 7  # on a busy machine, other answers may have come too late as well
    assert all(answer.answer is not None and answer.error is None for answer in answers)
    assert {answer.finish_reason for answer in answers} <= {"stop", "length"}
    assert len(laboratory.proxy.requests) == len(answers) + again


def test_one_question_in_two_samples_is_asked_once_and_both_have_its_answer(
    laboratory: Laboratory, suite: Suite, ask: Callable[..., Asked]
) -> None:
    first = suite.samples[0]
    other = replace(first, id="other", reference="Something else")
    answers = ask(assemble("medical", suite.card, [first, other])).answers
    assert laboratory.asked() == {"medical@1": 1, laboratory.server.base.name: 1}
    assert [answer.reference for answer in answers] == [first.reference] * 2 + ["Something else"] * 2
    assert [answer.answer for answer in answers[:2]] == [answer.answer for answer in answers[2:]]


def test_questions_that_the_server_does_not_answer_end_the_run_and_the_next_asks_only_them(
    laboratory: Laboratory, suite: Suite, ask: Callable[..., Asked]
) -> None:
    cursed = {suite.samples[2].question, suite.samples[7].question}
    laboratory.proxy.fault = lambda request: 503 if request["messages"][-1]["content"] in cursed else None
    with pytest.raises(UnavailableError, match=r"^4 of 24 questions failed; the last: 503: fault 503") as caught:
        ask()
    assert caught.value.hint and "type the same command again" in caught.value.hint

    laboratory.proxy.forget()
    assert ask().reused == 20
    assert {request["messages"][-1]["content"] for request in laboratory.proxy.requests} == cursed
    assert len(laboratory.proxy.requests) == 4


def test_a_question_that_the_server_refuses_is_not_asked_again_and_its_answer_says_why(
    laboratory: Laboratory, ask: Callable[..., Asked]
) -> None:
    laboratory.proxy.faults_in_turn(400)
    answers = ask().answers
    assert len(laboratory.proxy.requests) == 24
    [refused] = [answer for answer in answers if answer.error]
    assert (refused.error, refused.answer, refused.scores) == ("400: fault 400", None, {})


def test_a_version_that_the_server_cannot_hold_ends_the_run_at_once(
    laboratory: Laboratory, ask: Callable[..., Asked]
) -> None:
    laboratory.proxy.fault = lambda request: "unservable"
    with pytest.raises(UnservableError, match=r"cannot be served: its rank is 32"):
        ask()
    assert len(laboratory.proxy.requests) <= 4  # one for each worker, none of them again


def test_what_will_be_asked_is_known_before_and_the_bar_counts_only_that(
    laboratory: Laboratory, suite: Suite, contenders: list[Contender], ask: Callable[..., Asked], tmp_path: Path
) -> None:
    asking = Asking(laboratory.proxy.url, "key", 4, IMPATIENT)
    cache, fingerprint = AnswerCache(tmp_path / CACHE_FILE), laboratory.server.base.fingerprint
    before = forecast(suite, contenders, asking, cache, base_fingerprint=fingerprint)
    assert (before.requests, before.known, before.pace) == (24, 0, None)
    cursed = {suite.samples[2].question}
    laboratory.proxy.fault = lambda request: 503 if request["messages"][-1]["content"] in cursed else None
    said = io.StringIO()
    with pytest.raises(UnavailableError):
        ask(console=Console(file=said, width=120))
    assert "about" in said.getvalue()  # by the first answers, as nothing was known
    laboratory.proxy.forget()
    after = forecast(suite, contenders, asking, cache, base_fingerprint=fingerprint)
    assert (after.requests, after.left) == (24, 2)
    assert after.pace is not None
    assert after.pace.seconds > 0
    said = io.StringIO()
    ask(console=Console(file=said, width=120))
    assert "2/2" in said.getvalue()
    assert "24/24" not in said.getvalue()


def test_a_server_that_is_gone_is_not_asked_to_the_end(laboratory: Laboratory, ask: Callable[..., Asked]) -> None:
    laboratory.proxy.fault = lambda request: "drop"
    with pytest.raises(UnavailableError, match="were not asked any more"):
        ask(patience=Patience(attempts=1))
    assert len(laboratory.proxy.requests) < 24


def test_a_refused_key_ends_the_run_at_once(laboratory: Laboratory, ask: Callable[..., Asked]) -> None:
    laboratory.proxy.fault = lambda request: 401
    with pytest.raises(UnauthorizedError, match="fault 401"):
        ask()
    assert len(laboratory.proxy.requests) <= 4


def test_an_answer_of_another_version_stops_the_run_and_is_not_kept(
    laboratory: Laboratory, ask: Callable[..., Asked]
) -> None:
    laboratory.proxy.fault = lambda request: "impostor" if len(laboratory.proxy.requests) == 5 else None
    with pytest.raises(CheckFailedError, match="says 'medical@99'"):
        ask()
    laboratory.proxy.forget()
    asked = ask()
    assert len(laboratory.proxy.requests) >= 24 - asked.reused > 0  # one of the stopped run may arrive late
    assert {answer.answered_by for answer in asked.answers} == {"medical@1", laboratory.server.base.name}


def test_likelihoods_are_those_that_peft_computes(
    laboratory: Laboratory, contenders: list[Contender], ask: Callable[..., Asked]
) -> None:
    row = {"messages": [{"role": "user", "content": "Which chapter?"}], "choices": ["infections", "an injury", "伤"]}
    choice = SampleRow.model_validate({"kind": "choice", "correct": 1, **row}).sample()
    suite = assemble("medical", SuiteCard(name="choices", metrics=["exact_match"]), [choice])
    ours, base = ask(suite).answers
    assert (ours.answer, [each.text for each in ours.likelihoods]) == (None, row["choices"])
    folder = Registry.open(laboratory.settings).artifact_path(Registry.open(laboratory.settings).resolve("medical@1"))
    for answer, adapter in ((ours, folder), (base, None)):
        expected = likelihoods(laboratory.server.base.path, adapter, choice)
        assert [each.tokens for each in answer.likelihoods] == [tokens for tokens, _ in expected]
        assert [each.logprob for each in answer.likelihoods] == pytest.approx(
            [logprob for _, logprob in expected], abs=2e-3
        )
    assert ours.likelihoods[0].logprob != pytest.approx(base.likelihoods[0].logprob, abs=0.05)


def likelihoods(base: Path, adapter: Path | None, sample: Sample) -> list[tuple[int, float]]:
    """Tokens and log-likelihood of each choice as transformers and PEFT compute them."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    messages = [message.model_dump() for message in sample.messages]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    before = tokenizer(prompt, add_special_tokens=False).input_ids
    found = []
    for choice in sample.choices or ():
        ids = tokenizer(prompt + choice, add_special_tokens=False).input_ids
        with torch.no_grad():
            scores = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        rest = range(len(before), len(ids))
        found.append((len(rest), sum(float(scores[position - 1, ids[position]]) for position in rest)))
    return found


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


def test_some_answers_are_streamed_for_their_times_and_all_where_the_suite_measures_those(
    laboratory: Laboratory, ask: Callable[..., Asked]
) -> None:
    [suite] = load_suites(laboratory.expect("medical", samples=40), Path())
    found = ask(suite).answers
    timed = [answer.sample for answer in found if answer.first_token_s is not None]
    assert timed == [sample.id for sample in suite.samples[12:28] for _ in range(2)]
    assert all(answer.latency_s and answer.finish_reason and answer.completion_tokens for answer in found)

    measured = ask(replace(suite, card=suite.card.model_copy(update={"metrics": ["exact_match", "first_token"]})))
    assert measured.reused == 0
    assert all(answer.first_token_s is not None for answer in measured.answers)
    # Streamed or not, the answer is the same.
    assert [answer.answer for answer in measured.answers] == [answer.answer for answer in found]


def test_times_that_were_measured_beside_others_are_not_taken_over(
    laboratory: Laboratory, suite: Suite, contenders: list[Contender], ask: Callable[..., Asked]
) -> None:
    timed = replace(suite, card=suite.card.model_copy(update={"metrics": ["exact_match", "per_token"]}))
    assert ask(timed).reused == 0
    assert ask(timed).reused == 24
    assert ask(timed, concurrency=1).reused == 0
    contenders.pop(0)
    assert ask(timed).reused == 0
