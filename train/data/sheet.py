"""A sheet for an interview with experts: questions and answers to fill in, and read as the format `interview`.

Which expert answered is counted (in data.json, the page and the data card), for whoever asks where the data came from.
It is no part of a row, and no group: a model has nothing to learn from a name, and the questions that one expert
answered may well fall into two splits. What must not be parted has the same `case`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from locum.errors import BadInputError, ConflictError, NotFoundError

COLUMNS = {
    "question": "what a user would ask, in their words",
    "answer": "what the expert says; a question without one is left out until it has one",
    "topic": "what it is about",
    "expert": "who answers; counted, never learnt from",
    "case": "the same word in rows that belong together: a patient, a contract",
    "remarks": "for yourselves; not read",
}
WIDTHS = {"question": 50, "answer": 80, "remarks": 40}
ROWS = 2000  # in which a topic can be picked


def write_sheet(file: Path, domain: str, topics: Sequence[str] = ()) -> None:
    """Write an empty sheet, as Excel or CSV by the file's name. In Excel's the topics can be picked from a list.

    Raises:
        BadInputError: the name ends in neither .xlsx nor .csv.
        ConflictError: there is such a file already.
        NotFoundError: there is no such folder.
    """
    if file.suffix not in {".xlsx", ".csv"}:
        raise BadInputError(f"{file}: expected a name that ends in .xlsx or .csv (found {file.suffix or 'no ending'})")
    content = _excel(domain, topics) if file.suffix == ".xlsx" else _csv()
    try:
        out = file.open("xb")
    except FileExistsError:
        raise ConflictError(f"{file} is there already", hint="choose another name: answers may be in it") from None
    except FileNotFoundError:
        raise NotFoundError(f"there is no folder {file.parent}", hint="make it, or choose another") from None
    with out:
        out.write(content)


def _csv() -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(COLUMNS)
    return text.getvalue().encode("utf-8-sig")  # with its mark Excel reads it as UTF-8


def _excel(domain: str, topics: Sequence[str]) -> bytes:
    import openpyxl
    from openpyxl.styles import Alignment, Font
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.datavalidation import DataValidation

    book = openpyxl.Workbook()
    page = book.active
    page.title = "instructions"
    page.column_dimensions["A"].width = 100
    told = [
        f"An interview for {domain}: please fill in the sheet `interview`, one question and its answer in each row.",
        *(f"{name}: {text}" for name, text in COLUMNS.items()),
    ]
    for line in told:
        page.append([line])
    page["A1"].font = Font(bold=True)
    sheet = book.create_sheet("interview")
    sheet.append(list(COLUMNS))
    sheet.freeze_panes = "A2"
    for number, name in enumerate(COLUMNS, start=1):
        letter = get_column_letter(number)
        sheet[f"{letter}1"].font = Font(bold=True)
        sheet.column_dimensions[letter].width = WIDTHS.get(name, 20)
        sheet.column_dimensions[letter].alignment = Alignment(wrap_text=True, vertical="top")
    if topics:
        _pick_from(book, sheet, topics, DataValidation)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def _pick_from(book: Any, sheet: Any, topics: Sequence[str], validation: Any) -> None:
    """Let a topic be picked; another one may be written, too."""
    listed = book.create_sheet("topics")
    for number, topic in enumerate(topics, start=1):
        cell = listed.cell(number, 1, topic)
        cell.data_type = "s"  # a text, though it begin with =
    letter = chr(ord("A") + list(COLUMNS).index("topic"))
    rule = validation(type="list", formula1=f"topics!$A$1:$A${len(topics)}", allow_blank=True, showErrorMessage=False)
    rule.add(f"{letter}2:{letter}{ROWS}")
    sheet.add_data_validation(rule)
