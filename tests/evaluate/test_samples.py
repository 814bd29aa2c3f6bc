"""Rows of every kind: what is read is what was written, and what is wrong is told with file, line and field."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locum.errors import BadInputError
from locum.evaluate.samples import Sample, SampleRow, read_lines, read_samples, row_of
from tests.evaluate.suites import ask, talk, write_lines

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
META = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("group", "topic", "difficulty", "language", "paraphrase_of", "id"), WORDS)
)
JSON = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | WORDS, lambda each: st.lists(each, max_size=3))


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """A right row of any kind."""
    kind = draw(st.sampled_from(["question", "conversation", "choice", "extraction", "free", "preference", "decline"]))
    asked = [{"role": "user", "content": draw(WORDS)}]
    if kind == "conversation":
        asked = [{"role": "user", "content": draw(WORDS)}, {"role": "assistant", "content": draw(WORDS)}, *asked]
    if draw(st.booleans()):
        asked = [{"role": "system", "content": draw(WORDS)}, *asked]
    row: dict[str, Any] = {"kind": kind, "messages": asked, **draw(META)}
    if kind == "choice":
        row["choices"] = draw(st.lists(WORDS.filter(str.strip), min_size=2, max_size=4, unique=True))
        row["correct"] = draw(st.integers(0, len(row["choices"]) - 1))
    elif kind == "preference":
        row["chosen"], row["rejected"] = draw(st.lists(WORDS, min_size=2, max_size=2, unique=True))
    elif kind == "extraction":
        row["reference"] = draw(JSON.filter(lambda value: value is not None))
        row["schema"] = {"type": "object"}
    elif kind in ("free", "decline") and draw(st.booleans()):
        row["reference"] = draw(WORDS)
    elif kind in ("question", "conversation"):
        row |= {"unknowable": True} if draw(st.booleans()) else {"reference": draw(WORDS)}
    return row


@given(rows())
@example({"id": "a", "group": "a", "paraphrase_of": "b", **ask("q", "r")})
def test_a_sample_written_as_a_row_reads_as_itself(row: dict[str, Any]) -> None:
    sample = SampleRow.model_validate(row).sample()
    again = SampleRow.model_validate_json(row_of(sample)).sample()
    assert again == sample
    assert again.digest == sample.digest


def test_a_conversation_written_as_a_row_reads_as_itself(tmp_path: Path) -> None:
    turns = [("user", "hello"), ("assistant", "hi"), ("user", "and now?"), ("assistant", "this")]
    long = {"conversations": [{"role": role, "content": content} for role, content in turns]}
    path = write_lines(tmp_path / "a.jsonl", [talk("one", group="g"), talk("二"), long])
    samples = list(read_samples(path))
    assert [sample.kind for sample in samples] == ["question", "question", "conversation"]
    assert samples[1].slices["language"] == "zh"
    assert list(read_samples(write_lines(tmp_path / "b.jsonl", [row_of(sample) for sample in samples]))) == samples


def test_a_row_about_conversations_is_no_conversation(tmp_path: Path) -> None:
    schema = {"properties": {"conversations": {"type": "integer"}}}
    counted = ask("How many?", {"conversations": 2}, kind="extraction", schema=schema)
    path = write_lines(tmp_path / "a.jsonl", [ask('What is "conversations":?', topic="conversations"), counted])
    [sample, extraction] = read_samples(path)
    assert isinstance(sample, Sample)
    assert sample.slices["topic"] == "conversations"
    assert extraction.schema == schema


PREFERENCE = {"kind": "preference", "messages": [{"role": "user", "content": "q"}]}
CHOICE = {"kind": "choice", "messages": [{"role": "user", "content": "q"}]}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (ask("q", "a", colour="red"), "colour: there is no such field"),
        (ask("q", "a", kind="riddle"), "kind: Input should be 'question', 'conversation', 'choice', 'extraction', "),
        ({"reference": "a"}, "messages: Field required"),
        ({"messages": [], "reference": "a"}, "messages: List should have at least 1 item"),
        (ask("", "a"), "messages.0: content: expected text"),
        (
            {"messages": [{"role": "assistant", "content": "a"}], "reference": "a"},
            "row: messages end with the user, found assistant",
        ),
        (ask("q", None), "row: kind question needs a reference"),
        (ask("q", "a", choices=["a", "b"]), "row: kind question has no choices"),
        (ask("q", "a", schema={}), "row: kind question has no schema"),
        (CHOICE, "row: kind choice needs choices, correct"),
        ({**CHOICE, "choices": ["a"], "correct": 0}, "choices: List should have at least 2 items"),
        ({**CHOICE, "choices": ["a", "b"], "correct": 2}, "row: correct: expected at most 1, found 2"),
        ({**CHOICE, "choices": ["a", "a"], "correct": 0}, "row: choices: expected different ones, found"),
        ({**CHOICE, "choices": ["a", " "], "correct": 0}, "row: choices: expected text in each, found an"),
        (
            {**CHOICE, "choices": ["a", "b"], "correct": 0, "reference": "b"},
            "row: reference: leave it out, for the row says 'a' already",
        ),
        (PREFERENCE, "row: kind preference needs chosen, rejected"),
        (
            {**PREFERENCE, "chosen": "a", "rejected": "a"},
            "row: expected two different answers; found the same one as chosen and rejected",
        ),
        (talk("q") | {"conversations": []}, "conversations: List should have at least 2 items"),
        ("[1]", "row: Input should be an object"),
    ],
)
def test_a_wrong_row_is_refused_with_file_line_and_field(tmp_path: Path, row: Any, problem: str) -> None:
    path = write_lines(tmp_path / "samples.jsonl", [ask("fine", "yes"), "", row])
    with pytest.raises(BadInputError) as caught:
        list(read_samples(path))
    assert str(caught.value).startswith(f"{path}:3: {problem}")


def test_every_row_of_a_file_is_told_about_and_the_right_ones_are_read(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "samples.jsonl", ["{", json.dumps(ask("fine", "yes")), "{}"])
    assert [(line.number, line.sample is not None) for line in read_lines(path)] == [(1, False), (2, True), (3, False)]


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", [ask("q", "a")])
    path.write_bytes(BOM_UTF8 + path.read_bytes())
    assert [sample.reference for sample in read_samples(path)] == ["a"]
