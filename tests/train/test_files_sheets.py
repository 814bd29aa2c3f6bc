"""Workbooks of every writer: each cell as it is shown, and what is hidden, merged or not computed is said."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.errors import BadInputError, NotFoundError
from locum.train.data.files import RawRow, notes_on, read_rows
from locum.train.data.logs import conversations
from locum.train.data.number_format import FormatError, show, show_text

NAMES = ["question", "answer"]


def book(rows: list[list[Any]], formats: dict[str, str] | None = None) -> openpyxl.Workbook:
    found = openpyxl.Workbook()
    for row in rows:
        found.active.append(row)
    for cell, code in (formats or {}).items():
        found.active[cell].number_format = code
    return found


def save(workbook: openpyxl.Workbook, path: Path) -> str:
    workbook.save(path)
    return str(path)


def edit(location: str, part: str, change: Callable[[str], str]) -> None:
    """Change the parts of a workbook whose names hold a word: what other programs write otherwise."""
    with zipfile.ZipFile(location) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(location, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, change(content.decode()) if part in name else content)


def fields(location: str) -> list[Any]:
    return [row.fields for row in read_rows(location)]


SHOWN = [
    (46477, "yyyy-mm-dd", "2027-03-31"), (0.3541666666666667, "hh:mm", "08:30"), (0.15, "0%", "15%"),
    (1067, "00000", "01067"), (46477, "[$-407]dd.mm.yyyy", "31.03.2027"), (46477, "m/d/yyyy", "3/31/2027"),
    (46477, 'yyyy"年"m"月"d"日"', "2027年3月31日"), (46477, "[$-407]d. mmmm yyyy", "31. März 2027"),
    (46477, "[$-40C]dddd d mmmm yyyy", "mercredi 31 mars 2027"), (46477, "[$-804]aaaa", "星期三"),
    (46477.75, "yyyy-mm-dd hh:mm:ss", "2027-03-31 18:00:00"), (0.75, "h:mm AM/PM", "6:00 PM"),
    (1.5, "[h]:mm", "36:00"), (0.0009, "mm:ss.0", "01:17.8"), (0.125, "0.0%", "12.5%"), (12, '0" mg"', "12 mg"),
    (2.5, '0.0" mmol/l"', "2.5 mmol/l"), (1234.5, "#,##0.00", "1,234.50"), (1234.5, "#,##0.00 [$€-407]", "1,234.50 €"),
    (1234.5, "[$$-409]#,##0.00", "$1,234.50"), (-1234.5, "#,##0.00_);(#,##0.00)", "(1,234.50)"), (-3, "0.0", "-3.0"),
    (0, '0;-0;"none"', "none"), (1234567, '0.0,,"M"', "1.2M"), (0.75, "# ?/?", "3/4"), (2.75, "# ??/??", "2 3/4"),
    (12345, "0.00E+00", "1.23E+04"), (123456789, "000-00-0000", "123-45-6789"),
    (49301234567, "00 00 0000000", "49 30 1234567"),
    (5, "General", "5"), (0.1 + 0.2, "General", "0.3"), (1 / 3, "General", "0.333333333"), (2.675, "0.00", "2.68"),
    (123456789012345, "General", "123456789012345"), (150, "[>=100]0;[<10]0.00;0.0", "150"), (7, "@", "7"),
    (46477, "[$-F800]dddd, mmmm dd, yyyy", "2027-03-31"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "code", "text"), SHOWN)
def test_a_number_is_shown_as_its_format_says(value: float, code: str, text: str) -> None:
    assert show(value, code).text == text


def test_dates_of_1904_texts_with_a_format_and_formats_that_are_not_understood() -> None:
    assert show(45015, "yyyy-mm-dd", is_1904=True).text == "2027-03-31"
    assert show_text("7", '"Nr. "@') == "Nr. 7"
    for value, code in ((5, "[DBNum1]0"), (0, "yyyy-mm-dd"), (-1, "hh:mm"), (46477, "ggge"), (1, "[$-D07041E]d")):
        with pytest.raises(FormatError):
            show(value, code)


@given(st.floats(-1e12, 1e12), st.text("0#?.,%E+-/@;ymdhs[]\"\\_* $€aAMP'", max_size=12))
def test_whatever_a_format_is_a_number_is_shown_or_refused(value: float, code: str) -> None:
    with contextlib.suppress(FormatError):
        assert isinstance(show(value, code).text, str)


@given(st.datetimes(dt.datetime(1901, 1, 1), dt.datetime(2100, 1, 1)))
def test_every_second_of_a_date_is_kept(moment: dt.datetime) -> None:
    moment = moment.replace(microsecond=0)
    serial = (moment - dt.datetime(1899, 12, 30)).total_seconds() / 86_400
    assert show(serial, "yyyy-mm-dd hh:mm:ss").text == str(moment)


def test_cells_are_read_as_they_are_shown(tmp_path: Path) -> None:
    rows = [
        ["When does the lease of shop 4 end?", dt.date(2027, 3, 31)],
        ["At what time does the desk open?", dt.time(8, 30)],
    ]
    rows += [["What is the late fee?", 0.15], ["Which code has the depot?", 1067], ["Is it open?", True]]
    formats = {"B2": "yyyy-mm-dd", "B3": "hh:mm", "B4": "0%", "B5": "00000"}
    location = save(book([NAMES, *rows], formats), tmp_path / "cells.xlsx")
    assert [row["answer"] for row in fields(location)] == ["2027-03-31", "08:30", "15%", "01067", "TRUE"]


def test_a_date_in_the_form_of_the_readers_system_is_written_in_one_form_and_said(tmp_path: Path) -> None:
    location = save(book([NAMES, ["a", 46477]], {"B2": "mm-dd-yy"}), tmp_path / "rows.xlsx")
    assert fields(location) == [{"question": "a", "answer": "2027-03-31"}]
    assert notes_on(location) == ["dates in the form of the reader's system are written 2027-03-31"]


def test_a_formula_that_was_never_computed_is_no_empty_cell(tmp_path: Path) -> None:
    location = save(book([NAMES, ["a", "=1+1"], ["b", "c"]]), tmp_path / "rows.xlsx")
    bad, good = read_rows(location)
    assert bad.problem.startswith("cell B2: a formula that was never computed; open the file in Excel")
    assert good.fields == {"question": "b", "answer": "c"}
    edit(location, "sheet1", lambda text: text.replace("<v></v>", "<v>0</v>").replace("<v />", "<v>0</v>"))
    assert [row.fields is None for row in read_rows(location)] == [True, False], "as XlsxWriter writes it"
    edit(location, "sheet1", lambda text: text.replace("<v>0</v>", "<v>2</v>"))
    assert fields(location)[0]["answer"] == "2"


def test_a_format_that_is_not_understood_costs_its_row_by_name(tmp_path: Path) -> None:
    location = save(book([NAMES, ["a", 5], ["b", "c"]], {"B2": "[DBNum1]0"}), tmp_path / "rows.xlsx")
    bad, _ = read_rows(location)
    assert bad.problem == "cell B2: cannot be shown in its number format: [DBNum1] (numbers in characters)"


def test_an_error_in_a_cell_costs_its_row(tmp_path: Path) -> None:
    workbook = book([NAMES, ["a", "#N/A"], ["b", "c"]])
    workbook.active["B2"].data_type = "e"
    bad, good = read_rows(save(workbook, tmp_path / "rows.xlsx"))
    assert (bad.problem, good.number) == ("cell B2: holds the error #N/A", 2)


def test_what_is_hidden_merged_above_or_beside_is_said(tmp_path: Path) -> None:
    workbook = book([["Report"], [], [*NAMES, None, "topic"], ["a", "b", "aside", "t"], ["c", "d"], ["e", "f"]])
    sheet = workbook.active
    sheet.merge_cells("D4:D5")
    sheet.row_dimensions[5].hidden = True
    sheet.column_dimensions["B"].hidden = True
    for name in ("more", "hidden"):
        workbook.create_sheet(name).append(NAMES)
    workbook["more"].append(["x", "y"])
    workbook["hidden"].sheet_state = "hidden"
    location = save(workbook, tmp_path / "rows.xlsx")
    assert [row.get("topic") for row in fields(location)] == ["t", "t", None]
    assert notes_on(location) == [
        f"read is the sheet 'Sheet'; tables too, and not read: 'more', 'hidden' (hidden) ({location}#SHEET reads one)",
        "1 row that is hidden or filtered out: read too",
        "hidden columns, read too: B",
        "cells that are merged over several rows count for each of these rows",
        "1 line above the column names passed over ('Report')",
        "column 3 has no name and is not read",
    ]
    assert fields(f"{location}#more") == [{"question": "x", "answer": "y"}]
    with pytest.raises(NotFoundError, match=r"no sheet 'nope' \(there are: Sheet, more, hidden\)"):
        fields(f"{location}#nope")


def test_names_in_two_rows_are_not_learnt_from(tmp_path: Path) -> None:
    workbook = book([["question", "answer", "date"], [None, "of the clerk", "of May"], ["a", "b", "c"]])
    workbook.active.merge_cells("A1:A2")
    below, row = read_rows(save(workbook, tmp_path / "rows.xlsx"))
    assert below.problem == "holds names of columns again (line 2 of the file)"
    assert row.fields == {"question": "a", "answer": "b", "date": "c"}


STRICT = {
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main": "http://purl.oclc.org/ooxml/spreadsheetml/main",
    "http://schemas.openxmlformats.org/officeDocument/2006/relationships": "http://purl.oclc.org/ooxml/officeDocument/r"
    "elationships",
}


def strict(text: str) -> str:
    for old, new in STRICT.items():
        text = text.replace(old, new)
    return text


def without_places(text: str) -> str:
    for each in (' r="A1"', ' r="B1"', ' r="A2"', ' r="B2"', ' r="1"', ' r="2"'):
        text = text.replace(each, "")
    return text.replace('ref="A1:B2"', 'ref="A1"')


def in_runs(text: str) -> str:
    return text.replace("<t>b</t>", '<r><t xml:space="preserve">b </t></r><r><t>_x005F_c</t></r><rPh><t>no</t></rPh>')


@pytest.mark.parametrize(
    ("part", "change", "answer"), [("", strict, "b"), ("sheet1", without_places, "b"), ("", in_runs, "b _c")]
)
def test_what_other_programs_write_is_read(
    tmp_path: Path, part: str, change: Callable[[str], str], answer: str
) -> None:
    location = save(book([NAMES, ["a", "b"]]), tmp_path / "rows.xlsx")
    edit(location, part, change)
    assert fields(location) == [{"question": "a", "answer": answer}]


def write_ods(path: Path, rows: list[list[str]]) -> None:
    cells = ["".join(f"<t:table-cell>{cell}</t:table-cell>" for cell in row) for row in rows]
    body = "".join(f"<t:table-row>{each}</t:table-row>" for each in cells)
    empty = (
        '<t:table-row t:number-rows-repeated="1048000"><t:table-cell t:number-columns-repeated="1024"/></t:table-row>'
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
        archive.writestr(
            "content.xml", f'<o:c xmlns:o="o" xmlns:t="t" xmlns:x="x"><t:table t:name="T">{body}{empty}</t:table></o:c>'
        )


def test_a_spreadsheet_of_libreoffice_is_read_as_it_is_shown(tmp_path: Path) -> None:
    rows = [
        ["<x:p>question</x:p>", "<x:p>answer</x:p>"],
        ["<x:p>a</x:p>", '<x:p>31.03.27<x:s x:c="2"/>x</x:p><x:p>y</x:p>'],
    ]
    write_ods(tmp_path / "rows.ods", rows)
    assert fields(str(tmp_path / "rows.ods")) == [{"question": "a", "answer": "31.03.27  x\ny"}]


def packed() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("rows.csv", "q,a")
    return content.getvalue()


OLE = b"\xd0\xcf\x11\xe0" + b"\0" * 600


@pytest.mark.parametrize(
    ("name", "content", "message", "hint"),
    [
        ("a.xlsx", OLE + "EncryptedPackage".encode("utf-16-le"), "is a workbook with a password", "take the password"),
        ("a.xls", OLE, r"is a workbook of Excel 97 to 2003 \(.xls\)", "save it as .xlsx"),
        ("a.xls", b"<html><table>", "is an HTML page", "save it as .xlsx"),
        ("a.csv", packed(), r"is an archive \(ZIP\) of 1 files: rows.csv", "unpack it"),
        ("a.xlsx", b"", "is empty: 0 bytes", "expected rows"),
        ("a.parquet", b"", "is empty: 0 bytes", "expected rows"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS", "git lfs pull"),
        ("a.json", b"\x28\xb5\x2f\xfd\0\0", "is packed with zstd", "unpack it"),
    ],
)
def test_a_file_is_known_by_what_it_holds_and_the_way_out_is_said(
    tmp_path: Path, name: str, content: bytes, message: str, hint: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError, match=message) as caught:
        list(read_rows(str(tmp_path / name)))
    assert hint in str(caught.value.hint)


def test_a_name_that_lies_keeps_no_file_from_being_read(tmp_path: Path) -> None:
    (tmp_path / "a.xls").write_text("question\tanswer\na\tb\n")
    assert fields(str(tmp_path / "a.xls")) == [{"question": "a", "answer": "b"}]
    assert notes_on(str(tmp_path / "a.xls")) == ["it holds CSV, whatever its name says"]
    save(book([NAMES, ["a", "b"]]), tmp_path / "real.xlsx")
    (tmp_path / "real.xlsx").rename(tmp_path / "b.csv")
    assert fields(str(tmp_path / "b.csv")) == [{"question": "a", "answer": "b"}]


@pytest.mark.parametrize(
    ("rows", "message"), [([], "an empty sheet 'Sheet'"), ([NAMES], "the columns question, answer")]
)
def test_an_empty_sheet_is_called_so(tmp_path: Path, rows: list[list[Any]], message: str) -> None:
    with pytest.raises(BadInputError, match=f"is empty: {message}"):
        fields(save(book(rows), tmp_path / "rows.xlsx"))


def arrow_table() -> pyarrow.Table:
    return pyarrow.table(
        {
            "day": pyarrow.array([dt.date(2027, 3, 31)]),
            "pandas_day": pyarrow.array([dt.datetime(2027, 3, 31)], pyarrow.timestamp("ns")),
            "time": pyarrow.array([dt.datetime(2027, 3, 31, 8, 30)], pyarrow.timestamp("ms", "Europe/Berlin")),
            "price": pyarrow.array(["1.50"]).cast(pyarrow.decimal128(5, 2)),
            "kind": pyarrow.array(["a"]).dictionary_encode(),
            "bytes": pyarrow.array(["ü".encode()]),
            "turns": pyarrow.array([[{"role": "user", "content": "x"}]]),
            "long": pyarrow.array(["x"], pyarrow.large_string()),
            "nothing": pyarrow.nulls(1),
            "nan": pyarrow.array([float("nan")]),
            "__index_level_0__": pyarrow.array([0]),
        }
    )


def write_stream(table: pyarrow.Table, path: str) -> None:
    with pyarrow.OSFile(path, "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as out:
        out.write_table(table)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("rows.parquet", pyarrow.parquet.write_table),
        ("rows.feather", pyarrow.feather.write_feather),
        ("rows.arrow", write_stream),
    ],
)
def test_values_of_arrow_are_written_as_text_and_no_midnight_is_invented(
    tmp_path: Path, name: str, write: Callable[[pyarrow.Table, str], None]
) -> None:
    write(arrow_table(), str(tmp_path / name))
    assert fields(str(tmp_path / name)) == [
        {
            "day": "2027-03-31", "pandas_day": "2027-03-31", "time": "2027-03-31 10:30:00+02:00", "price": "1.50",
            "kind": "a", "bytes": "ü", "turns": [{"role": "user", "content": "x"}], "long": "x",
        }
    ]  # fmt: skip


def test_a_log_in_a_workbook_is_sorted_by_what_its_times_mean(tmp_path: Path) -> None:
    rows = [["session", "role", "text", "time"], ["1", "agent", "A", dt.datetime(2027, 3, 31, 9, 5)]]
    rows += [["1", "customer", "Q", dt.datetime(2027, 3, 31, 9, 0)]]
    location = save(book(rows, {"D2": "dd.mm.yy hh:mm", "D3": "dd.mm.yy hh:mm"}), tmp_path / "log.xlsx")
    [logged] = conversations(read_rows(location), {}, {}, lambda raw: raw.text)
    assert logged.row is not None
    assert [message.content for message in logged.row.conversations] == ["Q", "A"]


def test_rows_are_counted_on_where_a_build_was_interrupted(tmp_path: Path) -> None:
    location = save(book([NAMES, *([f"q{n}", "a"] for n in range(5))]), tmp_path / "rows.xlsx")
    rest = list(read_rows(location, start=3))
    assert [(row.number, (row.fields or {})["question"]) for row in rest] == [(4, "q3"), (5, "q4")]
    assert isinstance(rest[0], RawRow)
