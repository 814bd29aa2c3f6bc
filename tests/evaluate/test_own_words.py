"""An evaluation measures the model, not what the server appends to its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.evaluate.answers import SAMPLES_FILE, read_answers
from locum.evaluate.client import NoReplyError, Patience, ask, session
from locum.evaluate.evaluation import evaluate_version
from locum.evaluate.own_words import Mark, in_own_words, own_words
from tests.chat import FakeModel
from tests.evaluate.test_harness import write_suite
from tests.records import register_plainly

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.conftest import LiveServer
    from tests.evaluate.conftest import Laboratory

NOTICES = [["Not legal advice."], ["不构成法律意见。"]]


@given(st.text(), st.text())
def test_what_was_appended_is_taken_off_exactly_and_nothing_else_is(text: str, notice: str) -> None:
    assert own_words(text + notice, Mark(notice_appended=notice)) == text
    assert own_words(text, None) == text
    marked = {"locum": {"notice_appended": notice}}
    chat = in_own_words({"id": "1", "choices": [{"message": {"content": text + notice}, **marked}]})
    assert chat["choices"][0]["message"] == {"content": text}
    assert in_own_words({"choices": [{"text": text + notice, **marked}]})["choices"][0]["text"] == text
    unmarked = {"choices": [{"text": text + notice}, {"message": {"content": None}}]}
    assert in_own_words(unmarked) == unmarked


def test_a_mark_that_does_not_fit_its_answer_is_an_error() -> None:
    with pytest.raises(ValueError, match="is said to end with an appended notice"):
        own_words("Take rest.", Mark(notice_appended="\n\nNot legal advice."))


class _Wrong(FakeModel):
    """Marks a notice that is not there."""

    def says(self, body: dict[str, Any]) -> int | str:
        return "Take rest."

    def _answer(self, body: dict[str, Any], authorization: str | None) -> tuple[int, dict[str, Any]]:
        status, answer = super()._answer(body, authorization)
        answer["choices"][0]["locum"] = {"notice_appended": "\n\nNot legal advice."}
        return status, answer


async def test_such_an_answer_is_asked_for_again_and_then_given_up() -> None:
    with _Wrong("wrong").answering() as model:
        patience = Patience(attempts=2, backoff_s=0.01)
        async with session(model.url, "", 1) as client:
            with pytest.raises(NoReplyError, match="is said to end with"):
                await ask(client, model.url, {"model": "wrong"}, timed=False, patience=patience, on_retry=int)
    assert len(model.requests) == 2


@pytest.fixture(scope="module")
def versions(server: LiveServer, tiny_adapter: Callable[..., Path]) -> Iterator[tuple[str, str]]:
    """legal@2, and the same adapter as a version whose notices are enforced."""
    folder = tiny_adapter(rank=16, seed=3)
    held = register_plainly(server.registry, "finance", folder, server.base, enforced_notices=NOTICES)
    assert held.digest == server.registry.resolve("legal@2").digest
    yield "legal@2", held.name
    server.registry.delete(held.name)


def test_a_version_is_evaluated_by_what_its_model_says_and_the_result_says_so(
    laboratory: Laboratory, versions: tuple[str, str]
) -> None:
    free, held = versions
    laboratory.expect(
        "finance",
        free,
        samples=20,  # those in the middle are streamed
        card={"notices": {"texts": [text for [text] in NOTICES], "enforce": "append"}},
        suite_card={"metrics": ["exact_match", "notice"], "primary": "exact_match"},
    )
    [result] = evaluate_version(laboratory.settings, held)
    answers = [each for each in read_answers(result.folder / SAMPLES_FILE) if each.model == held]
    assert {each.first_token_s is None for each in answers} == {True, False}
    assert result.score.mean == 1.0, "what it says is what it says without its notices"
    assert result.models[0].scores["notice"].mean == 0.0
    assert [note for note in result.notes if held in note] == [
        f"The server appends notices to answers of {held} that lack them; what is measured here is the model's own "
        "answer, without an appended notice."
    ]
    asked = {"model": held, "messages": [{"role": "user", "content": "Well?"}], "max_tokens": 8}
    assert "Not legal advice." in laboratory.server.client.chat.completions.create(**asked).choices[0].message.content


def test_the_harness_reads_the_models_own_words(laboratory: Laboratory, versions: tuple[str, str]) -> None:
    free, held = versions
    write_suite(laboratory, answers_of=free, domain="finance")
    [result] = evaluate_version(laboratory.settings, held, limit=4)
    assert result.score.mean == 1.0
