"""Dialects of CSV: found by trying, and a row that is wrong costs that row."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locum.errors import BadInputError
from locum.train.data.files import RawRow, notes_on, read_rows


def read(tmp_path: Path, content: str | bytes, name: str = "rows.csv") -> list[RawRow]:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_rows(str(tmp_path / name)))


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("sep=;\nq;a\nWho, when?;x\n", [("Who, when?", "x")]),
        ('"sep=,"\r\nq,a\r\n"x;y",b\r\n', [("x;y", "b")]),
        ('q,a\n"a, b; c","d"\n"x, y; z",w\n', [("a, b; c", "d"), ("x, y; z", "w")]),
        ("q;a\nWas, bitte?;12,50 Euro\nWer, wo?;Ja, nein\n", [("Was, bitte?", "12,50 Euro"), ("Wer, wo?", "Ja, nein")]),
        ("q\ta\nx, y; z\tw\n", [("x, y; z", "w")]),
        ("q|a\nx, y|z\n", [("x, y", "z")]),
        ("'q','a'\n'x, y','it''s'\n", [("x, y", "it's")]),
        ('q,a\n"say ""hi""","b\nc"\n', [('say "hi"', "b\nc")]),
        ('q,a\n"say \\"hi\\", you",b\n"C:\\dir",c\n', [('say "hi", you', "b"), ("C:\\dir", "c")]),
        ('q,a\n"C:\\dir\\",b\n', [("C:\\dir\\", "b")]),
        ('q, a\n"x", "y, z"\n', [("x", "y, z")]),
        ("q,a\rx,y\rz,w\r", [("x", "y"), ("z", "w")]),
        ("q,a,,\nx,y,,\n", [("x", "y")]),
        (",q,a\n0,x,y\n", [("x", "y")]),
        ("Export, May 2027\n\n# made by, a program\nq;a\nx;y\n", [("x", "y")]),
        ("q,a\n,\n\nx,y\n,,\n", [("x", "y")]),
        ('q,a\n\'0123,="0456"\n"=""0789""",\'tis\n', [("0123", "0456"), ("0789", "'tis")]),
        ("q,a\nN/A,007\nnull,None\n", [("N/A", "007"), ("null", "None")]),
        ('q,a\nA 5" pipe?,5" it is\n', [('A 5" pipe?', '5" it is')]),
        ('q\ta\n"Yes" or "no"?\t"No" it is\n', [('"Yes" or "no"?', '"No" it is')]),
        ("q,a\nx,y\n\0\0\0\0", [("x", "y")]),
        ("q\ta\nx\ty\n".encode("utf-16"), [("x", "y")]),
    ],
)
@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.tab", "rows.txt"])
def test_every_dialect_gives_its_cells(tmp_path: Path, content: str, wanted: list[tuple[str, str]], name: str) -> None:
    rows = read(tmp_path, content, name)
    assert [tuple((row.fields or {}).get(each) for each in ("q", "a")) for row in rows] == wanted


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\0\\"), min_size=1).filter(
    lambda text: bool(text.strip("\x1a\ufeff \t\n\u00a0")) and not text.startswith(("=", "'"))
)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8), st.sampled_from(",;\t|"))
@settings(max_examples=60, deadline=None)
def test_what_a_program_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str
) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("question", "answer"), *rows])
    found = read(tmp_path_factory.mktemp("csv"), text.getvalue())
    assert [tuple((row.fields or {}).values()) for row in found] == rows


def test_a_quotation_mark_that_is_missing_costs_one_row_and_not_the_rest(tmp_path: Path) -> None:
    rows = read(tmp_path, 'q,a\nx,y\n"open,y\nz,w\n"g","h"\n"i","j\nk"\n')
    assert [row.fields and row.fields["q"] for row in rows] == ["x", None, "z", "g", "i"]
    assert "(line 3 of the file)" in rows[1].problem
    rows = read(tmp_path, 'q,a\nx,y\n"open,y\nz,w\n')
    assert [row.fields and row.fields["q"] for row in rows] == ["x", None, "z"]


def test_names_that_are_repeated_in_files_put_together_are_no_row(tmp_path: Path) -> None:
    rows = read(tmp_path, "q,a\nx,y\nq,a\nz,w\n")
    assert [row.problem for row in rows] == ["", "holds names of columns again (line 3 of the file)", ""]


def test_a_row_with_fewer_or_more_cells_is_no_row(tmp_path: Path) -> None:
    rows = read(tmp_path, "q,a\nx,y\nz\nu,v,w\n")
    assert [row.fields is None for row in rows] == [False, True, True]
    assert rows[1].problem == "expected 2 cells, as many as there are names, found 1 (line 3 of the file)"


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("Fragen, Mai\nq;a\nx;y\n", "1 line above the column names passed over ('Fragen, Mai')"),
        (",q,a\n0,x,y\n", "column 1 has no name and is not read (an index)"),
        ("q|a\nx|y\n", "cells parted by bars"),
        ('q,a\n"x \\"y\\", z",b\n', 'quotation marks written \\"'),
    ],
)
def test_what_is_unusual_is_said(tmp_path: Path, content: str, note: str) -> None:
    (tmp_path / "rows.csv").write_text(content)
    assert notes_on(str(tmp_path / "rows.csv")) == [note]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: 0 bytes"),
        ("\n\n", "is empty: 0 bytes, or blank lines only"),
        ("q,a\n", "is empty: the columns q, a and no row below them"),
        ("question\nx\n", "a first line of at least two column names"),
        ("q,a,q\n1,2,3\n", "different column names, found 'q' in the columns 1 and 3"),
    ],
)
def test_a_table_without_names_or_rows_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        read(tmp_path, content)
