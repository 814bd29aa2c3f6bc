"""Pending items as a sheet, CSV or Excel, in which an expert decides; and the sheet read back."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, cast

from locum.errors import BadInputError
from locum.train.data.files import RawRow, read_rows
from locum.train.data.reviews import Item, Reviews, Verdict
from locum.train.data.teacher import tidy

COLUMNS = ("id", "decision", "question", "answer", "reason", "from", "passage", "kind", "teacher")
WIDTHS = (6, 10, 50, 70, 30, 30, 70, 12, 20)
DECISIONS: dict[str, Literal["accepted", "rejected"]] = {"accept": "accepted", "reject": "rejected"}
SHOWN = 10
_FORMULA = ("=", "+", "-", "@")  # a cell of a CSV that begins so is computed by spreadsheets: an apostrophe keeps it


def write_sheet(items: Sequence[Item], file: Path) -> None:
    """Write items to a sheet; whoever decides fills `decision` (accept or reject) and may change question and answer.

    Raises:
        BadInputError: the file's name ends in neither .csv nor .xlsx.
    """
    writer = {".csv": _write_csv, ".xlsx": _write_excel}.get(file.suffix.lower())
    if writer is None:
        raise BadInputError(f"{file} is no sheet that can be written (expected .csv or .xlsx)")
    rows = [
        (
            str(each.id),
            "",
            each.question,
            each.answer,
            "",
            each.source,
            each.draft.passage,
            each.draft.kind,
            each.teacher,
        )
        for each in items
    ]
    part = file.with_name(f".{file.name}.part{file.suffix}")
    try:
        writer(rows, part)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def read_sheet(file: Path, reviews: Reviews) -> tuple[list[Verdict], int]:
    """The decisions in a sheet, and how many rows hold none; those that were taken before are passed over.

    Raises:
        NotFoundError: there is no such file.
        BadInputError: it is no sheet, or rows are wrong; names them.
    """
    items = {str(item.id): item for item in reviews.items()}
    verdicts: dict[int, Verdict] = {}
    undecided, wrong = 0, []
    nothing = file.is_file() and not file.stat().st_size
    rows = [] if nothing else list(read_rows(str(file)))
    if not rows:
        raise BadInputError(
            f"{file} is empty: expected a row for each item, with the columns {', '.join(COLUMNS[:2])}, …",
            hint="locum data review DOMAIN --export FILE writes one",
        )
    for raw in rows:
        try:
            verdict = _verdict(raw, items)
            if verdict is None:
                undecided += 1
            elif verdicts.setdefault(verdict.item.id, verdict) != verdict:
                raise ValueError(f"item {verdict.item.id} is there twice, with different decisions")
        except ValueError as error:
            wrong.append(f"{file}:{raw.number}: {error}")
    if wrong:
        more = f"\n  … and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise BadInputError(
            f"{len(wrong)} rows of {file} are wrong; none was taken:"
            + "".join(f"\n  {each}" for each in islice(wrong, SHOWN))
            + more,
            hint="decision is accept or reject; a rejection needs a reason; question and answer may be changed",
        )
    return [verdict for verdict in verdicts.values() if not _taken(verdict)], undecided


def _verdict(raw: RawRow, items: dict[str, Item]) -> Verdict | None:
    if raw.fields is None:
        raise ValueError(raw.problem)
    cells = {name.strip().lower(): _read_cell(str(value)) for name, value in raw.fields.items()}
    if "id" not in cells:
        raise ValueError(
            f"expected the columns id, decision, question and answer, found {', '.join(cells) or 'nothing'}"
        )
    item = items.get(cells["id"].removesuffix(".0"))
    if item is None:
        raise ValueError(f"there is no item {cells['id']!r}")
    decision = cells.get("decision", "").lower()
    question, answer = cells.get("question", ""), cells.get("answer", "")
    if (question, answer) == (tidy(item.question), tidy(item.answer)):
        question, answer = item.question, item.answer
    if not decision:
        if item.state == "pending" and (question, answer) != (item.question, item.answer):
            raise ValueError("question or answer was changed, but no decision taken; expected accept or reject")
        return None
    if decision not in DECISIONS:
        raise ValueError(f"decision: expected accept or reject, found {decision!r}")
    state, reason = DECISIONS[decision], cells.get("reason", "")
    if state == "accepted" and not (question and answer):
        raise ValueError("an accepted item needs a question and an answer")
    if state == "rejected" and not reason:
        raise ValueError("a rejection needs a reason")
    if state == "rejected":
        question, answer = item.question, item.answer
    verdict = Verdict(item, state, question, answer, reason)
    if item.decision and not _taken(verdict):
        raise ValueError(f"item {item.id} was {item.state} by {item.decision.by} already, as something else")
    return verdict


def _taken(verdict: Verdict) -> bool:
    """Whether the very same was decided before."""
    item = verdict.item
    return (item.state, item.question, item.answer) == (verdict.state, verdict.question, verdict.answer)


def _read_cell(text: str) -> str:
    return tidy(text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text)


def _write_csv(rows: Sequence[Sequence[str]], file: Path) -> None:
    with file.open("w", encoding="utf-8-sig", newline="") as out:  # the mark tells Excel that it is UTF-8
        writer = csv.writer(out)
        writer.writerow(COLUMNS)
        writer.writerows([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row] for row in rows)


def _write_excel(rows: Sequence[Sequence[str]], file: Path) -> None:
    import openpyxl
    from openpyxl.styles import Alignment, Font
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.datavalidation import DataValidation

    book = openpyxl.Workbook()
    sheet = cast("openpyxl.worksheet.worksheet.Worksheet", book.active)
    for number, row in enumerate([COLUMNS, *rows], start=1):
        for column, text in enumerate(row, start=1):
            cell = sheet.cell(number, column, text)
            cell.data_type = "s"  # never a formula
            cell.alignment = Alignment(wrap_text=True, vertical="top")
            cell.font = Font(bold=number == 1)
    for column, width in enumerate(WIDTHS, start=1):
        sheet.column_dimensions[get_column_letter(column)].width = width
    choice = DataValidation(type="list", formula1=f'"{",".join(DECISIONS)}"', allow_blank=True)
    sheet.add_data_validation(choice)
    choice.add(f"B2:B{max(2, len(rows) + 1)}")
    sheet.freeze_panes = "C2"
    book.save(file)
