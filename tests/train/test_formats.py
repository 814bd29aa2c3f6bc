"""Files as teams have them: every kind and format becomes the same rows, and what does not fit is named."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from locum.adapters.card import Format, Source
from locum.adapters.conversations import Conversation, Preference
from locum.errors import BadInputError, NotFoundError, UnavailableError
from locum.train.data.files import read_rows
from locum.train.data.formats import RowError, to_row
from locum.train.data.places import expand
from locum.train.data.reading import Read, Reject, read_file, recognise

QUESTIONS = [("What is a lien?", "A right over property."), ("什么是留置权？", "对财产的权利。")]


def asked(question: str, answer: str, system: str | None = None) -> Conversation:
    turns = [{"role": "system", "content": system}] if system else []
    turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Conversation.model_validate({"conversations": turns})


def rows_of(location: str, columns: dict[str, str] | None = None) -> list[Any]:
    """What a file holds, by its recognised format."""
    found = []
    for item in read_file(location, format=recognise(location, columns=columns or {}).format, columns=columns or {}):
        assert isinstance(item, Read), item
        found.append(item.row)
    return found


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(rows), encoding="utf-8")


def write_nested_json(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps({"version": "1.0", "data": rows}), encoding="utf-8")


def write_gzip(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def write_csv(path: Path, rows: list[dict[str, Any]], encoding: str = "utf-8", delimiter: str = ",") -> None:
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def write_excel(path: Path, rows: list[dict[str, Any]]) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(list(rows[0]))
    for row in rows:
        book.active.append(list(row.values()))
    book.save(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("rows.jsonl", write_json_lines),
        ("rows.json", write_json),
        ("nested.json", write_nested_json),
        ("rows.jsonl.gz", write_gzip),
        ("rows.csv", write_csv),
        ("bom.csv", lambda path, rows: write_csv(path, rows, "utf-8-sig")),
        ("chinese.csv", lambda path, rows: write_csv(path, rows, "gb18030")),
        ("rows.tsv", lambda path, rows: write_csv(path, rows, delimiter="\t")),
        ("semicolons.csv", lambda path, rows: write_csv(path, rows, delimiter=";")),
        ("rows.parquet", write_parquet),
        ("rows.xlsx", write_excel),
    ],
)
def test_every_kind_of_file_gives_the_same_rows_and_can_be_taken_up_in_the_middle(
    tmp_path: Path, name: str, write: Callable[[Path, list[dict[str, Any]]], None]
) -> None:
    write(tmp_path / name, [{"question": question, "answer": answer} for question, answer in QUESTIONS])
    location = str(tmp_path / name)
    assert rows_of(location) == [asked(*pair) for pair in QUESTIONS]
    [rest] = read_file(location, format="completion", columns={}, start=1)
    assert isinstance(rest, Read)
    assert rest.row == asked(*QUESTIONS[1])


USER, ANSWER = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}
TURNS = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
PREFERENCE = Preference.model_validate({"prompt": [USER], "chosen": "A", "rejected": "B"})


@pytest.mark.parametrize(
    ("row", "format", "wanted"),
    [
        ({"conversations": [USER, ANSWER]}, "conversations", asked("Q", "A")),
        ({"messages": [{"role": "developer", "content": "S"}, USER, ANSWER]}, "messages", asked("Q", "A", "S")),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}]}, ANSWER]},
            "messages",
            asked("Q", "A"),
        ),
        ({"conversations": TURNS, "system": "S"}, "sharegpt", asked("Q", "A", "S")),
        ({"instruction": "Do", "input": "this", "output": "A"}, "alpaca", asked("Do\n\nthis", "A")),
        ({"instruction": "Q", "input": "", "output": "A"}, "alpaca", asked("Q", "A")),
        ({"prompt": "Q", "completion": "A", "system": "S"}, "completion", asked("Q", "A", "S")),
        ({"问题": "Q", "答案": "A"}, "completion", asked("Q", "A")),
        ({"prompt": "Q", "chosen": "A", "rejected": "B"}, "preference", PREFERENCE),
        ({"prompt": [USER], "chosen": [ANSWER], "rejected": "B"}, "preference", PREFERENCE),
        (
            {"chosen": [USER, ANSWER], "rejected": [USER, {"role": "assistant", "content": "B"}]},
            "preference",
            PREFERENCE,
        ),
    ],
)
def test_each_format_is_recognised_and_becomes_ours(tmp_path: Path, row: Any, format: Format, wanted: Any) -> None:
    write_json_lines(tmp_path / "rows.jsonl", [{**row, "group": "g", "topic": "t"}])
    location = str(tmp_path / "rows.jsonl")
    assert recognise(location, columns={}).format == format
    assert rows_of(location) == [wanted.model_copy(update={"group": "g", "topic": "t"})]


def test_columns_of_other_names_are_read_by_the_names_that_are_given(tmp_path: Path) -> None:
    rows = [{"Frage": "Q", "Antwort": "A", "Patient": "17", "Fach": "Recht"}]
    write_csv(tmp_path / "rows.csv", rows)
    columns = {"question": "Frage", "answer": "Antwort", "group": "Patient", "topic": "Fach"}
    [row] = rows_of(str(tmp_path / "rows.csv"), columns)
    assert (row, row.group, row.topic) == (
        asked("Q", "A").model_copy(update={"group": "17", "topic": "Recht"}),
        "17",
        "Recht",
    )


@pytest.mark.parametrize(
    ("row", "format", "field", "reason"),
    [
        (
            {"messages": [USER, {"role": "assistant", "tool_calls": [{"id": "1"}]}]},
            "messages",
            "messages.1.tool_calls.0.name",
            "the name of the function",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            "messages",
            "messages.0.content",
            "found image",
        ),
        ({"messages": "Q"}, "messages", "messages", "expected a list of messages, found str"),
        ({"conversations": [{"from": "narrator", "value": "x"}]}, "sharegpt", "conversations.0.from", "'narrator'"),
        ({"conversations": [TURNS[0]]}, "sharegpt", "conversations", "at least 2 items"),
        ({"prompt": "Q", "completion": " "}, "completion", "completion", "expected text, found nothing"),
        ({"prompt": ["Q"], "completion": "A"}, "completion", "prompt", "expected a list of objects, found str in it"),
        ({"prompt": {"q": "Q"}, "completion": "A"}, "completion", "prompt", "expected text, found dict"),
        ({"prompt": "Q", "chosen": "A", "rejected": "A"}, "preference", "row", "two different answers"),
        ({"chosen": [USER, ANSWER], "rejected": [ANSWER, USER]}, "preference", "rejected", "ends with assistant"),
        (
            {"prompt": [{"role": "user", "content": "other"}], "chosen": [USER, ANSWER], "rejected": "B"},
            "preference",
            "chosen",
            "the same turns",
        ),
    ],
)
def test_a_row_that_does_not_fit_is_told_with_file_row_field_and_reason(
    tmp_path: Path, row: Any, format: Format, field: str, reason: str
) -> None:
    write_json_lines(tmp_path / "rows.jsonl", [row])
    [reject] = read_file(str(tmp_path / "rows.jsonl"), format=format, columns={})
    assert isinstance(reject, Reject)
    assert (reject.number, reject.field) == (1, field)
    assert reason in reject.reason
    assert json.loads(reject.raw) == row


def test_lines_that_are_no_rows_are_rejects_and_the_rest_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "Q", "completion": "A"}\nnot json\n\n[1]\n{"prompt": "Q", "completion": "B"}\n')
    items = list(read_file(str(file), format="completion", columns={}))
    assert [isinstance(item, Read) for item in items] == [True, False, False, True]
    assert [item.number for item in items] == [1, 2, 4, 5]
    (tmp_path / "rows.csv").write_text("question,answer\na,b\nc,d,e\nf\ng,h\n")
    items = list(read_file(str(tmp_path / "rows.csv"), format="completion", columns={}))
    assert [isinstance(item, Read) for item in items] == [True, False, False, True]


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("rows.dat", "x", BadInputError, r"of no kind that can be read \(expected .json, "),
        ("rows.jsonl", "", BadInputError, "rows.jsonl is empty: 0 bytes"),
        ("rows.jsonl", "nonsense\n[]", BadInputError, "rows.jsonl:1: not valid JSON: .* no row after it is better"),
        ("rows.jsonl", '{"a": 1, "b": 2}', BadInputError, "cannot be told from the fields a, b"),
        ("rows.jsonl", '{"prompt": "q", "completion": "a"}\n{"messages": []}', BadInputError, "cannot be told from"),
        ("rows.json", '{"a": {"b": 1}}', BadInputError, "holds no list of rows"),
        ("rows.json", '[{"prompt": "q", "compl', BadInputError, "ends in the middle of row 1"),
        ("rows.csv", "a,a\n1,2\n", BadInputError, "different column names, found 'a' in the columns 1 and 2"),
        ("rows.parquet", "x", BadInputError, "a first line of at least two column names"),
        ("rows.xlsx", "x", BadInputError, "a first line of at least two column names"),
        ("rows.xlsx", "PK\x03\x04x", BadInputError, "cannot be read: BadZipFile"),
        ("rows.parquet", "\x01\x02", BadInputError, "is damaged, or no .parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_and_says_why(
    tmp_path: Path, name: str, content: str, error: type[Exception], message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(error, match=message):
        recognise(str(tmp_path / name), columns={})


def test_files_are_found_by_pattern_and_url_and_missing_ones_are_named(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "other.csv"):
        (tmp_path / name).write_text("{}\n")
    assert expand(tmp_path, ["*.jsonl", "a.jsonl", "s3://bucket/rows.parquet"]) == [
        str(tmp_path / "a.jsonl"),
        str(tmp_path / "b.jsonl"),
        "s3://bucket/rows.parquet",
    ]
    with pytest.raises(NotFoundError, match=r"there is no file .*none\.jsonl"):
        expand(tmp_path, ["none.jsonl"])
    with pytest.raises(NotFoundError):
        list(read_rows(str(tmp_path / "none.jsonl")))


def test_files_at_a_url_are_read_by_fsspec_and_an_unknown_place_is_named() -> None:
    import fsspec

    with fsspec.open("memory://data/rows.jsonl", "wt") as file:
        file.write('{"prompt": "Q", "completion": "A"}\n')
    assert rows_of("memory://data/rows.jsonl") == [asked("Q", "A")]
    with pytest.raises(UnavailableError, match=r"nowhere://rows\.jsonl cannot be read"):
        list(read_rows("nowhere://rows.jsonl"))


def test_another_sheet_of_a_workbook_is_read_by_its_name(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["remarks"])
    sheet = book.create_sheet("rows")
    sheet.append(["question", "answer"])
    sheet.append(["Q", 42])
    book.save(tmp_path / "book.xlsx")
    assert rows_of(f"{tmp_path}/book.xlsx#rows") == [asked("Q", "42")]
    with pytest.raises(NotFoundError, match=r"no sheet 'nope' \(there are: Sheet, rows\)"):
        list(read_rows(f"{tmp_path}/book.xlsx#nope"))


def test_a_sheet_with_an_empty_answer_is_recognised_and_that_row_is_told(tmp_path: Path) -> None:
    file = tmp_path / "fragen.csv"
    file.write_text("Frage;Antwort\nWas?;Dies\nWer?;\nWo?;Hier\n")
    columns = {"question": "Frage", "answer": "Antwort"}
    items = list(read_file(str(file), format=recognise(str(file), columns=columns).format, columns=columns))
    assert [str(item) for item in items if isinstance(item, Reject)] == [
        f"{file}:2: Antwort: expected text, found nothing (such rows are passed over with `blank_answers: skip`)"
    ]


values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.sampled_from(["user", "assistant", "text"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["role", "content", "from", "value", "type", "text", "tool_calls"]), inner),
    ),
    max_leaves=8,
)
fields = st.sampled_from(
    ["conversations", "messages", "chosen", "rejected", "group", "topic", "system", "history", "prompt", "completion"]
)


@given(st.dictionaries(fields, values), st.sampled_from([each for each in get_args(Format) if each != "log"]))
def test_whatever_a_row_holds_it_fits_or_is_told_of(row: dict[str, Any], format: Format) -> None:
    with contextlib.suppress(RowError):
        assert isinstance(to_row(row, format, {}), Conversation | Preference)


def test_a_column_that_is_not_ours_is_refused_and_ours_are_named() -> None:
    with pytest.raises(ValidationError, match="Input should be 'question', 'answer'"):
        Source.model_validate({"files": ["rows.csv"], "columns": {"queston": "Frage"}})
