"""JSON by what it holds: lines, lists, objects one after another, columns; one bad value costs one row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locum.errors import BadInputError
from locum.train.data.files import RawRow, notes_on, read_rows
from locum.train.data.reading import recognise

ROWS = [{"question": 'What is "{[" ?', "answer": "a\\b, c"}, {"question": "Wer?", "answer": "Köln\n"}]
CHAT = {"conversations": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}


def read(tmp_path: Path, content: str | bytes, name: str = "rows.json") -> list[RawRow]:
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_rows(str(file)))


def fields(rows: list[RawRow]) -> list[Any]:
    return [row.fields for row in rows]


def lines(rows: list[Any], **options: Any) -> str:
    return "\n".join(json.dumps(row, **options) for row in rows)


LONG = {"messages": [{"role": "system", "content": "x" * 9000, "name": "a", "weight": 0, "id": 1}]}
LOG = [{"conversation_id": 1, "role": "user", "content": "x"}, {"conversation_id": 1, "role": "bot", "content": "y"}]
COLUMNS = {"question": {"0": "a", "1": "b"}, "answer": {"0": "c", "1": "d"}}
TABLE = [{"question": "a", "answer": "c"}, {"question": "b", "answer": "d"}]


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (lines(ROWS), ROWS),
        (lines(ROWS, indent=2), ROWS),
        (lines(ROWS, indent=2).replace("\n", "\r\n"), ROWS),
        (json.dumps(ROWS), ROWS),
        (json.dumps(ROWS, indent=2), ROWS),
        ("\ufeff" + json.dumps(ROWS), ROWS),
        (" ".join(map(json.dumps, ROWS)), ROWS),
        (",\n".join(map(json.dumps, ROWS)), ROWS),
        (lines(ROWS).encode("utf-16"), ROWS),
        (json.dumps({"version": "1.0", "data": ROWS}), ROWS),
        (json.dumps({"schema": {"fields": [{"name": "index"}]}, "data": ROWS}), ROWS),
        (json.dumps(COLUMNS), TABLE),
        (json.dumps({"0": TABLE[0], "1": TABLE[1]}), TABLE),
        (json.dumps({"columns": ["question", "answer"], "index": [0, 1], "data": [["a", "c"], ["b", "d"]]}), TABLE),
        (json.dumps({"question": ["a", "b"], "answer": ["c", "d"]}), TABLE),
        (json.dumps(ROWS[0]), ROWS[:1]),
        (json.dumps(CHAT), [CHAT]),
        (json.dumps(LONG), [LONG]),
        (json.dumps({"conversations": [CHAT, CHAT]}), [CHAT, CHAT]),
        (json.dumps({"log": LOG}), LOG),
        (json.dumps(CHAT, indent=1), [CHAT]),
        (lines([CHAT, CHAT]), [CHAT, CHAT]),
        (lines([CHAT, CHAT], indent=0), [CHAT, CHAT]),
    ],
)
@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.txt"])
def test_every_shape_gives_its_rows_whatever_the_name_says(
    tmp_path: Path, content: str, wanted: list[Any], name: str
) -> None:
    assert fields(read(tmp_path, content, name)) == wanted


def test_json_lines_in_a_json_file_are_recognised_as_conversations_and_not_as_turns(tmp_path: Path) -> None:
    (tmp_path / "chats.json").write_text(lines([CHAT, CHAT]))
    assert recognise(str(tmp_path / "chats.json"), columns={}).format == "conversations"


@given(
    st.lists(
        st.dictionaries(st.text(max_size=4), st.recursive(st.text(), st.lists, max_leaves=4), min_size=1), min_size=2
    ),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_texts_hold_values_are_cut_where_they_end(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], indent: int | None, is_list: bool
) -> None:
    content = json.dumps(rows, indent=indent) if is_list else lines(rows, indent=indent)
    assert fields(read(tmp_path_factory.mktemp("json"), content)) == rows


@pytest.mark.parametrize("indent", [None, 2])
def test_a_value_that_is_not_valid_costs_that_row_of_a_list(tmp_path: Path, indent: int | None) -> None:
    values = [json.dumps({"question": f"What {n}?", "answer": "x"}, indent=indent) for n in range(4)]
    values[1] = values[1].replace("What 1?", 'What "1?')
    content = "[\n" + ",\n".join(values) + "\n]"
    if indent:
        content = content.replace("\n{", "\n  {").replace("\n}", "\n  }")
    rows = read(tmp_path, content)
    assert [row.fields is not None for row in rows] == [True, False, True, True]
    assert rows[1].problem.startswith("not valid JSON")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('[{"a": "b"}, {"a": "c", "a": "d"}]', "the field 'a' stands there twice"),
        ('{"a": "b"}\n{"a": "c}\n', "not valid JSON"),
        ('{"a": "b"}\n["a"]\n', "expected an object"),
    ],
)
def test_what_is_wrong_is_said_of_its_row(tmp_path: Path, content: str, problem: str) -> None:
    good, bad = read(tmp_path, content)
    assert good.fields == {"a": "b"}
    assert problem in bad.problem


def test_numbers_are_shown_as_they_are_written_and_nan_is_nothing(tmp_path: Path) -> None:
    [row] = read(tmp_path, '[{"price": 0.10, "n": 3, "none": NaN, "far": -Infinity}]')
    assert row.fields is not None
    assert {name: str(value) for name, value in row.fields.items()} == {"price": "0.10", "n": "3"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: 0 bytes"),
        ("\n \n", "is empty: 0 bytes, or blank"),
        ("[]", "is empty: an empty list"),
        ("{}", "is empty: an empty object"),
        (json.dumps({"train": ROWS, "test": ROWS}), r"several lists of rows \(train, test\)"),
        ('[{"a": "b"}, {"a": "c"', "ends in the middle of row 2, which begins in line 1: the file was cut off"),
        ('[{"a": "b"},\n{"a": "c"}', "ends in the middle of row 2, which begins in line 2: the file was cut off"),
        ('{"a": {"b": 1}}', "holds no list of rows"),
    ],
)
def test_a_file_without_rows_is_called_so(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        read(tmp_path, content)


def test_reading_goes_on_in_the_middle_of_a_list(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps({"data": ROWS}))
    assert [row.number for row in read_rows(str(file), start=1)] == [2]
    assert notes_on(str(file)) == ["the rows are its list `data`"]
