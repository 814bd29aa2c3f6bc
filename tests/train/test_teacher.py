"""A teacher is asked: what it says in whatever wrapping, and what happens when it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.errors import BadInputError, NotFoundError, UnauthorizedError, UnavailableError
from locum.settings import Settings
from locum.train.data.teacher import MOST_FAILURES, Reply, Teacher, read_reply
from tests.teacher import MODEL, FakeTeacher, teaching

PAIR = {"question": "Why?", "answer": "Because."}
WRAPPED = json.dumps({"items": [PAIR]})
FIELDS = ("question", "answer")


@dataclass(frozen=True)
class Asked:
    number: int
    fields: tuple[str, ...] = FIELDS

    @property
    def messages(self) -> list[dict[str, str]]:
        told = 'Write 1 of {"question": "…", "answer": "…"}'
        return [{"role": "system", "content": told}, {"role": "user", "content": f"about {self.number}"}]


@pytest.fixture
def fake() -> Iterator[FakeTeacher]:
    with teaching() as teacher:
        yield teacher


def settings_of(fake: FakeTeacher, **others: str) -> Settings:
    return Settings(**{"teacher": fake.url, "teacher_model": MODEL, **others})  # type: ignore[arg-type]


def ask(fake: FakeTeacher, count: int = 1, **others: str) -> dict[int, Reply]:
    replies: dict[int, Reply] = {}
    Teacher(settings_of(fake, **others)).ask(
        map(Asked, range(count)), lambda asked, reply: replies.update({asked.number: reply})
    )
    return replies


def test_each_request_gets_its_own_reply_and_structured_output_is_asked_for(fake: FakeTeacher) -> None:
    replies = ask(fake, 9, teacher_key="s3cret")
    assert sorted(replies) == list(range(9))
    assert all(len(reply.items) == 1 and not reply.problem for reply in replies.values())
    assert len({reply.items[0]["question"] for reply in replies.values()}) == 9
    schema = fake.requests[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["items"]["items"]["required"] == list(FIELDS)
    assert set(fake.keys) == {"Bearer s3cret"}


def test_a_teacher_without_structured_output_is_asked_for_it_no_more(fake: FakeTeacher) -> None:
    fake.structured = False
    fake.reply = lambda system, user: f"Of course!\n```json\n{WRAPPED}\n```"
    replies = ask(fake, 30)
    assert {len(reply.items) for reply in replies.values()} == {1}
    refused = [request for request in fake.requests if "response_format" in request]
    assert 1 <= len(refused) <= 4


def test_what_fails_for_a_moment_is_tried_again(fake: FakeTeacher) -> None:
    fake.next = [500, 429]
    assert ask(fake)[0].items
    assert len(fake.requests) == 3


def test_a_request_that_is_refused_or_not_understood_is_told_and_the_others_go_on(fake: FakeTeacher) -> None:
    fake.reply = lambda system, user: {"about 1": 400, "about 2": "I cannot do that.", "about 3": ""}.get(user, WRAPPED)
    replies = ask(fake, 6)
    assert [number for number, reply in sorted(replies.items()) if reply.items] == [0, 4, 5]
    assert replies[1].problem == "out of order"
    assert replies[2].problem == "expected JSON with question and answer, found 'I cannot do that.'"
    assert replies[3].problem == "said nothing"


def test_a_teacher_that_only_fails_is_given_up(fake: FakeTeacher) -> None:
    fake.reply = lambda system, user: 400
    with pytest.raises(UnavailableError, match="out of order") as caught:
        ask(fake, 100)
    assert "run the command again" in str(caught.value.hint)
    assert len(fake.requests) < 4 * MOST_FAILURES


def test_a_key_a_model_or_a_server_that_is_wrong_ends_it_with_what_to_set(fake: FakeTeacher) -> None:
    with pytest.raises(NotFoundError, match="no model other") as unknown:
        ask(fake, teacher_model="other")
    assert "LOCUM_TEACHER_MODEL" in str(unknown.value.hint)
    fake.reply = lambda system, user: 401
    with pytest.raises(UnauthorizedError) as refused:
        ask(fake)
    assert "LOCUM_TEACHER_KEY" in str(refused.value.hint)
    with pytest.raises(UnavailableError, match=r"no teacher answers at http://127\.0\.0\.1:1/v1"):
        ask(fake, teacher="http://127.0.0.1:1/v1")


def test_settings_without_a_teacher_or_its_model_say_how_to_set_them(fake: FakeTeacher) -> None:
    with pytest.raises(BadInputError, match="no teacher is set") as none:
        Teacher(Settings(teacher=""))
    assert "LOCUM_TEACHER=http://" in str(none.value.hint)
    with pytest.raises(BadInputError, match=f"no teacher_model is set; .* has: {MODEL}"):
        Teacher(Settings(teacher=fake.url))


@pytest.mark.parametrize(
    ("text", "count", "problem"),
    [
        (WRAPPED, 1, ""),
        (json.dumps([PAIR, PAIR]), 2, ""),
        (json.dumps(PAIR), 1, ""),
        (f"{json.dumps(PAIR)}\n{json.dumps(PAIR)}", 2, ""),
        (f'<think>{{"question": "no", "answer": "no"}}</think>{WRAPPED}', 1, ""),
        (f"Sure {{here}}: ```json\n{WRAPPED}```", 1, ""),
        (json.dumps({"data": {"pairs": [PAIR]}}), 1, ""),
        (json.dumps({"items": [PAIR, {"question": "Why?"}, {"question": "", "answer": "x"}]}), 1, "2 items without"),
        (WRAPPED[:-2] + ', {"question": "Wh', 1, ""),
        (json.dumps({"items": [{"question": 7, "answer": "x"}]}), 0, "1 items without question and answer"),
        (json.dumps({"items": []}), 0, "expected JSON"),
        ("{" * 5000, 0, "expected JSON"),
        ('{"a":' * 5000, 0, "expected JSON"),
    ],
)
def test_items_are_found_in_whatever_they_are_wrapped(text: str, count: int, problem: str) -> None:
    reply = read_reply(text, FIELDS)
    assert reply.items == [PAIR] * count
    assert problem in reply.problem
    assert bool(problem) == bool(reply.problem)


def test_an_answer_that_is_cut_off_keeps_what_is_whole_and_says_so() -> None:
    reply = read_reply(WRAPPED[:-2] + ', {"question": "Wh', FIELDS, "length")
    assert reply == Reply([PAIR], "the answer is cut off for want of tokens")


@given(st.text())
def test_whatever_a_teacher_says_there_is_an_item_or_a_problem(text: str) -> None:
    reply = read_reply(text, FIELDS)
    assert bool(reply.items) or bool(reply.problem)
    assert all(item[name].strip() for item in reply.items for name in FIELDS)


@given(st.text(min_size=1), st.text(min_size=1))
def test_items_hold_nothing_that_a_file_cannot(question: str, answer: str) -> None:
    for item in read_reply(json.dumps({"question": question + "\ud800", "answer": answer + "\x1b[31m"}), FIELDS).items:
        assert item["question"].encode()
        assert "\x1b" not in item["answer"]
