"""What calls of tools are given is text like any other: looked through, masked, measured."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.cleaning import CleaningCard
from locum.adapters.conversations import Conversation
from locum.train.data.cleaning import Cleaner, answers, texts

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


def test_numbers_are_looked_at_too_and_others_stay_numbers() -> None:
    cleaner = Cleaner(CleaningCard(personal="mask", phone_regions=["CN"]))
    masked = cleaner(conversation({"phone": 13912345678, "room": 7, "warm": True})).row
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
