"""What calls of tools are given is text like any other: looked through, masked, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.cleaning import CleaningCard
from locum.adapters.conversations import Conversation, Preference
from locum.train.data.check import check_file
from locum.train.data.cleaning import Cleaner, Row, answers, texts

PERSONAL = ("ana.maria@example.com", "+49 30 901820", "GB82 WEST 1234 5698 7654 32")


def conversation(arguments: dict[str, Any], result: str = "done", said: str = "") -> Conversation:
    call = {"name": "write", "arguments": arguments}
    turns = [
        {"role": "user", "content": "Please write to her."},
        {"role": "assistant", "content": said, "tool_calls": [call]},
        {"role": "tool", "content": result},
        {"role": "assistant", "content": "It is written."},
    ]
    return Conversation.model_validate({"conversations": turns})


def nested(text: str) -> st.SearchStrategy[Any]:
    """The text anywhere in a value as JSON has it."""
    leaf = st.sampled_from([text, f"to {text}, please"])
    return st.recursive(
        leaf, lambda inner: st.one_of(st.lists(inner, min_size=1, max_size=2), st.fixed_dictionaries({"x": inner}))
    )


@given(st.sampled_from(PERSONAL).flatmap(lambda text: st.tuples(st.just(text), nested(text))), st.booleans())
def test_personal_data_anywhere_in_a_row_never_survives_cleaning(given: tuple[str, Any], in_result: bool) -> None:
    text, value = given
    row = conversation({"to": "her"}, result=f"sent to {text}") if in_result else conversation({"to": value})
    masked = Cleaner(CleaningCard(personal="mask", phone_regions=["DE"]))(row).row
    assert masked is not None
    assert text not in masked.model_dump_json()
    assert Cleaner(CleaningCard(personal="drop", phone_regions=["DE"]))(row).row is None


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where texts stand in a value, by the way to each; a way that ends with None is that of a field's name."""
    if isinstance(value, dict):
        free = path and path[-1] in ("arguments", "properties")
        names = [(*path, key, None) for key in value] if free else []
        return [*names, *(place for key, inner in value.items() for place in places(inner, (*path, key)))]
    if isinstance(value, list):
        return [place for number, inner in enumerate(value) for place in places(inner, (*path, number))]
    return [path] if isinstance(value, str) and path[-1] not in ("role", "type") else []


def put(value: Any, path: tuple[Any, ...], text: str) -> Any:
    """The value with a text at that place."""
    step, *rest = path
    if rest == [None]:
        return {(text if key == step else key): inner for key, inner in value.items()}
    new = put(value[step], tuple(rest), text) if rest else text
    if isinstance(value, dict):
        return {**value, step: new}
    return [new if number == step else inner for number, inner in enumerate(value)]


TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": "Write letters."},
    {"role": "user", "content": "Please write to her."},
    {
        "role": "assistant",
        "content": "I will.",
        "tool_calls": [{"name": "write", "arguments": {"to": "her", "cc": [{"x": "him"}]}, "id": "c1"}],
    },
    {"role": "tool", "content": "done", "tool_call_id": "c1", "name": "write"},
    {"role": "assistant", "content": "It is written."},
]
TOOL = {"name": "write", "description": "Writes.", "parameters": {"properties": {"to": {"default": "her"}}}}
ABOUT = {"group": "letters", "topic": "writing"}
ROWS: list[tuple[type[Row], dict[str, Any]]] = [
    (Conversation, {"conversations": TURNS, "tools": [{"type": "function", "function": TOOL}], **ABOUT}),
    (Preference, {"prompt": [*TURNS, TURNS[1]], "chosen": "Yes.", "rejected": "No.", **ABOUT}),
]


@pytest.mark.parametrize("text", PERSONAL)
@pytest.mark.parametrize(
    ("kind", "given", "place"),
    [(kind, given, place) for kind, given in ROWS for place in places(given)],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_personal_data_at_each_place_of_a_row_are_masked_or_drop_it(
    kind: type[Row], given: dict[str, Any], place: tuple[Any, ...], text: str
) -> None:
    row = kind.model_validate(put(given, place, text))
    masked = Cleaner(CleaningCard(personal="mask", phone_regions=["DE"]))(row).row
    assert masked is not None and text not in masked.model_dump_json()
    assert Cleaner(CleaningCard(personal="drop", phone_regions=["DE"]))(row).row is None
    assert Cleaner(CleaningCard(personal="keep"))(row).row == row


def test_ids_and_groups_that_are_personal_data_still_tell_things_apart() -> None:
    def cleaned(group: str) -> Conversation:
        turns = put(put(TURNS, (2, "tool_calls", 0, "id"), PERSONAL[0]), (3, "tool_call_id"), PERSONAL[0])
        row = Cleaner(CleaningCard())(Conversation.model_validate({"conversations": turns, "group": group})).row
        assert isinstance(row, Conversation)
        return row

    one, other = cleaned("ana@example.com"), cleaned("ben@example.com")
    assert one.group != other.group and cleaned("ana@example.com").group == one.group
    [call] = one.conversations[2].tool_calls or []
    assert call.id == one.conversations[3].tool_call_id
    assert str(call.id).isalpha() and len(str(call.id)) == 9


def test_arguments_whose_names_are_masked_are_all_kept() -> None:
    masked = Cleaner(CleaningCard())(conversation({"ana@example.com": 1, "ben@example.com": 2})).row
    assert isinstance(masked, Conversation)
    assert masked.conversations[1].tool_calls[0].arguments == {"<EMAIL>": 1, "<EMAIL>_": 2}  # type: ignore[index]


@pytest.mark.parametrize("phone", [13912345678, 13912345678.0])
def test_numbers_are_looked_at_too_and_others_stay_numbers(phone: float) -> None:
    cleaner = Cleaner(CleaningCard(personal="mask", phone_regions=["CN"]))
    masked = cleaner(conversation({"phone": phone, "room": 7, "warm": True})).row
    assert isinstance(masked, Conversation)
    arguments = masked.conversations[1].tool_calls[0].arguments  # type: ignore[index]
    assert "13912345678" not in str(arguments)
    assert (arguments["room"], arguments["warm"]) == (7, True)


def test_what_a_function_is_given_keeps_its_spaces() -> None:
    row = conversation({"code": "if x:\n    y()\r\n"})
    assert Cleaner(CleaningCard())(row).row == row


def test_a_call_without_a_word_is_no_short_answer() -> None:
    row = conversation({"to": "her"})
    assert answers(row) == ["It is written."]
    assert Cleaner(CleaningCard(shortest=3))(row).row == row
    assert texts(row) == ["Please write to her.", "her", "done", "It is written."]
    assert Cleaner(CleaningCard(unwanted=["\\bher$"]))(row).row is None


def test_what_calls_are_given_counts_among_the_characters(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(conversation({"to": "her"}).model_dump_json(exclude_none=True))
    assert check_file(str(tmp_path / "rows.jsonl")).characters == len("Please write to her.herdoneIt is written.")
