"""Rows of an Excel workbook (Office Open XML), whoever wrote it: each cell as it is shown.

The parts are read here and not by a library: those that read a book as a stream give values without what says how they
are shown, take a formula that nobody has computed for an empty cell, and do not know the strict kind of the format.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any
from xml.etree import ElementTree

from locum.errors import BadInputError, NotFoundError
from locum.train.data.number_format import BUILT_IN, GENERAL, FormatError, Shown, show, show_text
from locum.train.data.rawrows import Place, RawRow
from locum.train.data.tables import Line, table_rows

CHUNK = 1 << 20
PREVIEW = 20
_TAG = re.compile(rb"<(?:\w+:)?(row|col|mergeCell)\b[^>]*>")
_ATTRIBUTE = re.compile(rb'(\w+)="([^"]*)"')
_REFERENCE = re.compile(r"\$?([A-Z]{1,3})\$?(\d+)")
_CODED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_TRUE = ("1", "true")
_SAVE = "open the file in Excel or LibreOffice and save it once"


@dataclass(frozen=True)
class _Sheet:
    name: str
    path: str
    is_hidden: bool


@dataclass
class _Book:
    """What all sheets of a workbook share."""

    archive: zipfile.ZipFile
    sheets: list[_Sheet] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)
    is_1904: bool = False
    is_uncomputed: bool = False
    """Whether what is kept of its formulas is to be computed anew when it is opened."""


@dataclass
class _Layout:
    """What a sheet says about its rows and columns."""

    rows: int = 0
    hidden_rows: int = 0
    hidden_columns: list[int] = field(default_factory=list)
    merged: list[tuple[int, int, int]] = field(default_factory=list)
    """Column, first and last row of cells that are one over several rows."""


def workbook_rows(file: IO[bytes], place: Place) -> Iterator[RawRow]:
    """The rows of a sheet: the one that is asked for, else the first that holds a table.

    Raises:
        NotFoundError: there is no sheet of that name.
        BadInputError: there is none with names of columns.
    """
    with zipfile.ZipFile(file) as archive:
        book = _open(archive)
        sheet = _sheet(book, place)
        layout = _layout(archive, sheet)
        place.rows = layout.rows
        _tell(layout, place)
        place.empty = f"an empty sheet {sheet.name!r}"
        yield from table_rows(_filled(_lines(book, sheet, place), layout), place, is_ragged=True)


def _open(archive: zipfile.ZipFile) -> _Book:
    book = _Book(archive)
    main = next(path for kind, path, _ in _related(archive, "") if kind == "officeDocument")
    related = {ident: (kind, path) for kind, path, ident in _related(archive, main)}
    for node in ElementTree.fromstring(archive.read(main)).iter():
        tag = _local(node.tag)
        if tag == "sheet":
            ident = next((value for name, value in node.attrib.items() if name.endswith("}id")), "")
            kind, path = related.get(ident, ("", ""))
            if kind == "worksheet":
                hidden = node.get("state", "visible") != "visible"
                book.sheets.append(_Sheet(node.get("name", ""), path, hidden))
        elif tag == "workbookPr":
            book.is_1904 = node.get("date1904") in _TRUE
        elif tag == "calcPr":
            book.is_uncomputed = node.get("fullCalcOnLoad") in _TRUE
    for kind, path in related.values():
        if kind == "sharedStrings":
            book.texts = _shared(archive, path)
        elif kind == "styles":
            book.formats = _formats(ElementTree.fromstring(archive.read(path)))
    return book


def _related(archive: zipfile.ZipFile, part: str) -> list[tuple[str, str, str]]:
    """The parts that a part names: kind, path and id."""
    folder, _, name = part.rpartition("/")
    path = f"{folder}/_rels/{name}.rels" if folder else f"_rels/{name}.rels"
    names = {each.lower().lstrip("/").replace("\\", "/"): each for each in archive.namelist()}
    if path.lower() not in names:
        return []
    found = []
    for node in ElementTree.fromstring(archive.read(names[path.lower()])):
        target = node.get("Target", "")
        whole = target.lstrip("/") if target.startswith("/") or not folder else _joined(folder, target)
        kind = node.get("Type", "").rpartition("/")[2]
        found.append((kind, names.get(whole.lower(), whole), node.get("Id", "")))
    return found


def _joined(folder: str, target: str) -> str:
    parts = folder.split("/")
    for step in target.split("/"):
        if step == "..":
            parts.pop()
        elif step != ".":
            parts.append(step)
    return "/".join(parts)


def _local(tag: str) -> str:
    """A name without its namespace: those of the strict kind of the format are others."""
    return tag.rpartition("}")[2]


def _shared(archive: zipfile.ZipFile, path: str) -> list[str]:
    found: list[str] = []
    with archive.open(path) as part:
        root: Any = None
        for event, node in ElementTree.iterparse(part, ("start", "end")):
            if root is None:
                root = node
            if event == "end" and _local(node.tag) == "si":
                found.append(_text_of(node))
                root.clear()
    return found


def _text_of(node: ElementTree.Element) -> str:
    """The text of a cell in runs of several fonts, without how it is pronounced."""
    found = []
    for child in node:
        if _local(child.tag) == "t":
            found.append(child.text or "")
        elif _local(child.tag) == "r":
            found += [each.text or "" for each in child if _local(each.tag) == "t"]
    return _CODED.sub(lambda code: chr(int(code[1], 16)), "".join(found)).replace("\r\n", "\n")


def _formats(styles: ElementTree.Element) -> list[str]:
    """The number format of each style that a cell can have."""
    codes = dict(BUILT_IN)
    found: list[str] = []
    for node in styles:
        if _local(node.tag) == "numFmts":
            codes |= {int(each.get("numFmtId", "0")): each.get("formatCode", GENERAL) for each in node}
        elif _local(node.tag) == "cellXfs":
            found = [codes.get(int(each.get("numFmtId", "0")), GENERAL) for each in node]
            found = [GENERAL if code.lower() == GENERAL.lower() else code for code in found]
    return found


def _sheet(book: _Book, place: Place) -> _Sheet:
    names = [sheet.name for sheet in book.sheets]
    if place.sheet:
        found = next((sheet for sheet in book.sheets if sheet.name == place.sheet), None)
        if found is None:
            raise NotFoundError(f"{place.path} has no sheet {place.sheet!r} (there are: {', '.join(names)})")
        if found.is_hidden:
            place.note(f"the sheet {found.name!r} is hidden")
        return found
    if not book.sheets:
        raise BadInputError(f"{place.path} has no sheet with cells")
    tables = [sheet for sheet in book.sheets if _is_table(book, sheet)]
    seen = [sheet for sheet in tables if not sheet.is_hidden] or tables
    chosen = seen[0] if seen else book.sheets[0]
    others = [f"{sheet.name!r}{' (hidden)' if sheet.is_hidden else ''}" for sheet in tables if sheet is not chosen]
    if others:
        place.note(
            f"read is the sheet {chosen.name!r}; tables too, and not read: {', '.join(others)} "
            f"({place.path}#SHEET reads one)"
        )
    elif chosen.is_hidden:
        place.note(f"read is the sheet {chosen.name!r}, which is hidden")
    return chosen


def _is_table(book: _Book, sheet: _Sheet) -> bool:
    """Whether a sheet has a row with more than one cell at its beginning: a page of instructions has not."""
    for count, (_, cells) in enumerate(_rows(book, sheet)):
        if sum(bool(cell.value or cell.is_uncomputed) for cell in cells) > 1:
            return True
        if count == PREVIEW:
            break
    return False


def _layout(archive: zipfile.ZipFile, sheet: _Sheet) -> _Layout:
    """Read over a sheet for what stands behind its rows."""
    layout, rest = _Layout(), b""
    with archive.open(sheet.path) as part:
        while chunk := part.read(CHUNK):
            text = rest + chunk
            end = text.rfind(b">") + 1
            text, rest = text[:end], text[end:]
            for tag in _TAG.finditer(text):
                _learn(layout, tag[1], {name.decode(): value.decode() for name, value in _ATTRIBUTE.findall(tag[0])})
    return layout


def _learn(layout: _Layout, tag: bytes, given: dict[str, str]) -> None:
    if tag == b"row":
        layout.rows += 1
        layout.hidden_rows += given.get("hidden") in _TRUE
    elif tag == b"col":
        if given.get("hidden") in _TRUE:
            first, last = int(given["min"]), int(given["max"])
            layout.hidden_columns += range(first, min(last, first + 1000) + 1)
    elif tag == b"mergeCell":
        first_cell, _, last_cell = given.get("ref", "").partition(":")
        (column, row), (_, last) = _position(first_cell), _position(last_cell or first_cell)
        if last > row:
            layout.merged.append((column, row, last))


def _position(reference: str) -> tuple[int, int]:
    """Column and row of a cell, from 1."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise BadInputError(f"{reference!r} is no cell")
    column = 0
    for letter in found[1]:
        column = column * 26 + ord(letter) - 64
    return column, int(found[2])


def _letters(column: int) -> str:
    text = ""
    while column:
        column, rest = divmod(column - 1, 26)
        text = chr(65 + rest) + text
    return text


def _tell(layout: _Layout, place: Place) -> None:
    if layout.hidden_rows:
        many = "1 row that is" if layout.hidden_rows == 1 else f"{layout.hidden_rows:,} rows that are"
        place.note(f"{many} hidden or filtered out: read too")
    if layout.hidden_columns:
        place.note(f"hidden columns, read too: {', '.join(map(_letters, layout.hidden_columns[:20]))}")
    if layout.merged:
        place.note("cells that are merged over several rows count for each of these rows")


@dataclass(frozen=True)
class _Cell:
    column: int
    kind: str
    style: int
    value: str
    is_uncomputed: bool


def _rows(book: _Book, sheet: _Sheet) -> Iterator[tuple[int, list[_Cell]]]:
    with book.archive.open(sheet.path) as part:
        data: Any = None
        number = 0
        for event, node in ElementTree.iterparse(part, ("start", "end")):
            tag = _local(node.tag)
            if event == "start":
                data = node if tag == "sheetData" else data
            elif tag == "row" and data is not None:
                number = int(node.get("r") or number + 1)
                yield number, _cells(book, node)
                data.clear()  # else all rows are kept


def _cells(book: _Book, row: ElementTree.Element) -> list[_Cell]:
    found: list[_Cell] = []
    column = 0
    for node in row:
        if _local(node.tag) != "c":
            continue
        reference = node.get("r")
        column = _position(reference)[0] if reference else column + 1
        kind, value, is_formula, has_value = node.get("t", "n"), "", False, False
        for child in node:
            tag = _local(child.tag)
            if tag == "v":
                value, has_value = child.text or "", True
            elif tag == "is":
                value, has_value = _text_of(child), True
            elif tag == "f":
                is_formula = True
        is_uncomputed = is_formula and _is_uncomputed(kind, value, has_value=has_value, is_book=book.is_uncomputed)
        if value or is_uncomputed:
            found.append(_Cell(column, kind, int(node.get("s") or 0), value, is_uncomputed))
    return found


def _is_uncomputed(kind: str, value: str, *, has_value: bool, is_book: bool) -> bool:
    """Whether a formula has no result yet. XlsxWriter writes 0 for one, and that the book is to be computed."""
    if is_book and value == "0":
        return True
    return not has_value or (not value and kind != "str")  # a text may well be empty


class _CellError(Exception):
    pass


def _lines(book: _Book, sheet: _Sheet, place: Place) -> Iterator[Line]:
    for number, cells in _rows(book, sheet):
        width = max((cell.column for cell in cells), default=0)
        texts, moments, problem = [""] * width, {}, ""
        for cell in cells:
            try:
                shown = _shown(cell, book)
            except (_CellError, ValueError, IndexError) as error:
                what = f"cannot be shown in its number format: {error}" if isinstance(error, FormatError) else error
                problem = problem or f"cell {_letters(cell.column)}{number}: {what}"
                texts[cell.column - 1] = cell.value
                continue
            place.note(shown.note)
            texts[cell.column - 1] = shown.text
            if shown.moment is not None:
                moments[cell.column - 1] = shown.moment
        if problem:
            yield Line(number, None, problem, " | ".join(texts))
        else:
            yield Line(number, texts, moments=moments)


def _shown(cell: _Cell, book: _Book) -> Shown:
    if cell.is_uncomputed:
        raise _CellError(f"a formula that was never computed; {_SAVE}")
    code = book.formats[cell.style] if cell.style < len(book.formats) else GENERAL
    match cell.kind:
        case "s":
            return Shown(show_text(book.texts[int(cell.value)], code))
        case "inlineStr" | "str":
            return Shown(show_text(_CODED.sub(lambda each: chr(int(each[1], 16)), cell.value), code))
        case "b":
            return Shown("TRUE" if cell.value in _TRUE else "FALSE")
        case "e":
            raise _CellError(f"holds the error {cell.value}")
        case "d":
            return _show_iso(cell.value, code)
    if code == GENERAL and re.fullmatch(r"-?\d{1,20}", cell.value):
        return Shown(cell.value)
    return show(float(cell.value), code, is_1904=book.is_1904)


def _show_iso(text: str, code: str) -> Shown:
    """A date that is written as such, as the strict kind of the format may."""
    moment = datetime.fromisoformat(text).replace(tzinfo=None)
    days = (moment - datetime(1899, 12, 30)).total_seconds() / 86_400
    if code == GENERAL:
        return Shown(text.removesuffix("T00:00:00"), moment)
    return show(days, code)


def _filled(lines: Iterator[Line], layout: _Layout) -> Iterator[Line]:
    """Give each row what is shown beside it where cells are merged over several rows."""
    starts = {(row, column): last for column, row, last in layout.merged}
    going: dict[int, tuple[int, str, datetime | None]] = {}
    for line in lines:
        if line.cells is None or not starts:
            yield line
            continue
        cells, moments = list(line.cells), dict(line.moments)
        if any(cells):
            for column, (last, text, moment) in list(going.items()):
                if line.number > last:
                    del going[column]
                    continue
                cells += [""] * (column - len(cells))
                cells[column - 1] = text
                if moment is not None:
                    moments[column - 1] = moment
        for column, text in enumerate(cells, start=1):
            if until := starts.get((line.number, column)):
                going[column] = (until, text, moments.get(column - 1))
        yield Line(line.number, cells, moments=moments)
