"""Conversations: which rows are let in, and what is said of the others."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from locum.adapters.conversations import Conversation, Message, Preference, normalise, read_conversations
from locum.errors import BadInputError, NotFoundError

USER, ANSWER = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}
SYSTEM = {"role": "system", "content": "S"}
CALL = {"role": "assistant", "tool_calls": [{"name": "weather", "arguments": {"city": "Ulm"}, "id": "1"}]}
RESULT = {"role": "tool", "content": "12", "tool_call_id": "1"}
texts = st.text(min_size=1).filter(lambda text: text.isprintable() or "\n" in text)


def conversation(questions: list[tuple[str, str]], system: str | None) -> Conversation:
    messages = [Message(role="system", content=system)] if system else []
    for question, answer in questions:
        messages += [Message(role="user", content=question), Message(role="assistant", content=answer)]
    return Conversation(conversations=messages)


conversations = st.builds(
    conversation, st.lists(st.tuples(texts, texts), min_size=1, max_size=3), st.one_of(st.none(), texts)
)


@given(st.lists(conversations, max_size=4))
def test_rows_that_were_written_are_read_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Conversation]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("\n\n".join(row.model_dump_json() for row in rows) + "\n", encoding="utf-8")
    assert list(read_conversations(path)) == rows


@pytest.mark.parametrize(
    ("row", "field", "expectation"),
    [
        ("{not json", "row", "Invalid JSON"),
        ("[]", "row", "should be an object"),
        ({"messages": [USER, ANSWER]}, "conversations", "Field required"),
        ({"conversations": [USER]}, "conversations", "at least 2 items"),
        ({"conversations": [USER, ANSWER], "extra": 1}, "extra", "there is no such field"),
        ({"conversations": [USER, ANSWER], "group": ""}, "group", "at least 1 character"),
        ({"conversations": [USER, {**ANSWER, "role": "bot"}]}, "conversations.1.role", "'system', 'user', 'ass"),
        ({"conversations": [USER, {**ANSWER, "content": ""}]}, "conversations.1", "content: expected text"),
        ({"conversations": [USER, {**ANSWER, "content": None}]}, "conversations.1.content", "valid string"),
        ({"conversations": [ANSWER, USER]}, "row", "found assistant, user"),
        ({"conversations": [USER, USER, ANSWER]}, "row", "found user, user, assistant"),
        ({"conversations": [USER, SYSTEM, ANSWER]}, "row", "found user, system, assistant"),
        ({"conversations": [USER, {**ANSWER, "role": "tool"}, ANSWER]}, "row", "found user, tool, assistant"),
        ({"conversations": [USER, CALL, ANSWER]}, "row", "found user, assistant, assistant"),
        ({"conversations": [{**USER, "weight": 1}, ANSWER]}, "conversations.0", "only an assistant"),
        ({"conversations": [USER, {**ANSWER, "name": "f"}]}, "conversations.1", "only a tool's result"),
        ({"conversations": [USER, {**ANSWER, "weight": 0}]}, "row", "nothing to learn"),
        ({"conversations": [SYSTEM, USER]}, "row", "ending with assistant; found system, user"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line_its_field_and_what_was_expected(
    tmp_path: Path, row: object, field: str, expectation: str
) -> None:
    path = tmp_path / "rows.jsonl"
    wrong = row if isinstance(row, str) else json.dumps(row)
    path.write_text(json.dumps({"conversations": [USER, ANSWER]}) + f"\n\n{wrong}\n", encoding="utf-8")
    rows = read_conversations(path)
    assert next(rows).answer == "A"
    with pytest.raises(BadInputError) as caught:
        next(rows)
    message = str(caught.value)
    assert message.startswith(f"{path}:3: {field}: ") and expectation in message, message


def test_a_row_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = json.dumps({"conversations": [USER, ANSWER]}).encode()
    path.write_bytes(good + b"\n" + good.replace(b'"Q"', b'"\xe7"') + b"\n")
    with pytest.raises(BadInputError, match=r"rows\.jsonl:2: row: .*invalid unicode"):
        list(read_conversations(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"there is no file .*none\.jsonl"):
        list(read_conversations(tmp_path / "none.jsonl"))


@given(conversations)
def test_the_digest_is_of_the_messages_alone(row: Conversation) -> None:
    grouped = row.model_copy(update={"group": "patient-7"})
    other = Message(role="assistant", content=row.answer + "!")
    changed = row.model_copy(update={"conversations": [*row.prompt, other]})
    assert grouped.digest == row.digest != changed.digest


@given(st.text())
def test_trivial_variants_of_a_text_are_normalised_to_the_same(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert normalise(f"  {text}?! ") == once
    assert normalise(unicodedata.normalize("NFD", text)) == once


def test_a_conversation_knows_its_question_its_prompt_and_its_answer() -> None:
    row = conversation([("One?", "1"), ("Two?", "2")], "Count.")
    assert (row.question, row.answer) == ("One?\nTwo?", "2")
    assert [message.role for message in row.prompt] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("row", "expectation"),
    [
        ({"prompt": [USER, ANSWER], "chosen": "A", "rejected": "B"}, "ending with user; found user, assistant"),
        ({"prompt": [SYSTEM], "chosen": "A", "rejected": "B"}, "ending with user; found system"),
        ({"prompt": [USER], "chosen": "A", "rejected": "A"}, "expected two different answers"),
        ({"prompt": [USER], "chosen": "", "rejected": "B"}, "at least 1 character"),
    ],
)
def test_a_wrong_preference_is_refused_and_says_what_was_expected(row: dict[str, object], expectation: str) -> None:
    with pytest.raises(ValidationError, match=expectation):
        Preference.model_validate(row)


def test_preferences_differ_by_prompt_and_answers_and_not_by_group_or_topic() -> None:
    row = Preference.model_validate({"prompt": [SYSTEM, USER], "chosen": "A", "rejected": "B"})
    assert row.question == "Q"
    assert row.model_copy(update={"group": "g", "topic": "t"}).digest == row.digest
    assert row.model_copy(update={"chosen": "B", "rejected": "A"}).digest != row.digest


def test_a_conversation_with_calls_of_tools_is_read_and_told_from_one_without() -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    row = Conversation.model_validate({"conversations": [USER, CALL, RESULT, RESULT, ANSWER], "tools": tools})
    assert row.conversations[1].tool_calls is not None and row.conversations[1].learnt
    others = [
        {"conversations": [USER, CALL, RESULT, RESULT, ANSWER]},
        {"conversations": [USER, {**CALL, "content": "A"}], "tools": tools},
        {"conversations": [USER, CALL], "tools": tools},
        {"conversations": [USER, {**ANSWER, "weight": 0}, USER, ANSWER]},
        {"conversations": [USER, ANSWER, USER, ANSWER]},
    ]
    digests = {row.digest, *(Conversation.model_validate(other).digest for other in others)}
    assert len(digests) == 1 + len(others)


def test_the_digest_of_a_row_without_calls_and_weights_is_that_of_earlier_releases() -> None:
    row = Conversation.model_validate({"conversations": [USER, ANSWER]})
    assert row.digest == hashlib.sha256(b'[["user", "Q"], ["assistant", "A"]]').hexdigest()
    pair = Preference.model_validate({"prompt": [USER], "chosen": "A", "rejected": "B"})
    assert pair.digest == hashlib.sha256(b'[[["user", "Q"]], "A", "B"]').hexdigest()


def test_an_answer_alone_is_a_preference_that_is_not_paired() -> None:
    row = Preference.model_validate({"prompt": [USER], "rejected": "B"})
    assert not row.paired and row.answers == ["B"]
    with pytest.raises(ValidationError, match="found none"):
        Preference.model_validate({"prompt": [USER]})
