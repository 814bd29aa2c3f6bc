"""Rows of an OpenDocument spreadsheet (.ods), in which each cell holds its text as it is shown."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from typing import IO, Any
from xml.etree import ElementTree

from locum.errors import BadInputError, NotFoundError
from locum.train.data.rawrows import Place, RawRow
from locum.train.data.tables import Line, table_rows

_BY_PANDAS = re.compile(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}")  # which no spreadsheet would show
WIDEST = 2000
"""Cells of a row; a sheet is filled up with empty ones."""


def ods_rows(file: IO[bytes], place: Place) -> Iterator[RawRow]:
    """The rows of a sheet: the one that is asked for, else the first that holds a table.

    Raises:
        NotFoundError: there is no sheet of that name.
        BadInputError: there is none with names of columns.
    """
    with zipfile.ZipFile(file) as archive:
        if b"manifest:encryption-data" in archive.read("META-INF/manifest.xml"):
            raise BadInputError(f"{place.path} is a spreadsheet with a password", hint="save it without one")
        names = [name for name, _ in _tables(archive)]
        if place.sheet and place.sheet not in names:
            raise NotFoundError(f"{place.path} has no sheet {place.sheet!r} (there are: {', '.join(names)})")
        tables = [name for name, lines in _tables(archive) if _is_table(lines)]
        chosen = place.sheet or (tables or names)[0]
        if others := [] if place.sheet else [name for name in tables if name != chosen]:
            place.note(
                f"read is the sheet {chosen!r}; tables too, and not read: {', '.join(others)} "
                f"({place.path}#SHEET reads one)"
            )
        place.empty = f"an empty sheet {chosen!r}"
        yield from table_rows(_chosen(archive, chosen, place), place, is_ragged=True)


def _is_table(lines: Iterator[tuple[Line, bool]]) -> bool:
    return any(sum(map(bool, line.cells or [])) > 1 for line, _ in lines)


def _chosen(archive: zipfile.ZipFile, name: str, place: Place) -> Iterator[Line]:
    for each, lines in _tables(archive):
        if each == name:
            for line, is_hidden in lines:
                if is_hidden:
                    place.note("rows that are hidden or filtered out are read too")
                yield line
            return


def _tables(archive: zipfile.ZipFile) -> Iterator[tuple[str, Iterator[tuple[Line, bool]]]]:
    """Each sheet and its lines, with whether one is hidden; a sheet is read before the next one."""
    with archive.open("content.xml") as part:
        events = ElementTree.iterparse(part, ("start", "end"))
        for event, node in events:
            if event == "start" and _local(node.tag) == "table":
                lines = _lines(events, node)
                yield _attribute(node, "name"), lines
                for _ in lines:
                    pass


def _lines(events: Any, table: ElementTree.Element) -> Iterator[tuple[Line, bool]]:
    number = 0
    for event, node in events:
        if event == "end" and node is table:
            table.clear()
            return
        if event == "end" and _local(node.tag) == "table-row":
            cells = _cells(node)
            times = int(_attribute(node, "number-rows-repeated") or 1)
            is_hidden = _attribute(node, "visibility") in ("collapse", "filter")
            if any(cells):
                for _ in range(times):
                    number += 1
                    yield _line(number, cells), is_hidden
            else:
                number += times
            node.clear()


def _line(number: int, cells: list[str]) -> Line:
    error = next(
        (cell for cell in cells if cell.startswith(("#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "Err:5"))), None
    )
    if error:
        return Line(number, None, f"row {number} holds the error {error}", " | ".join(cells))
    return Line(number, cells)


def _cells(row: ElementTree.Element) -> list[str]:
    found: list[str] = []
    for cell in row:
        if _local(cell.tag) not in ("table-cell", "covered-table-cell"):
            continue
        text = "\n".join(_text(each) for each in cell if _local(each.tag) == "p")
        if _BY_PANDAS.fullmatch(text):
            text = _attribute(cell, "date-value").removesuffix("T00:00:00").replace("T", " ") or text
        found += [text] * min(int(_attribute(cell, "number-columns-repeated") or 1), WIDEST - len(found))
    while found and not found[-1]:
        del found[-1]
    return found


def _text(node: ElementTree.Element) -> str:
    """A paragraph with its spaces, tabs and line breaks, and without notes to it."""
    text = node.text or ""
    for child in node:
        match _local(child.tag):
            case "s":
                text += " " * int(_attribute(child, "c") or 1)
            case "tab":
                text += "\t"
            case "line-break":
                text += "\n"
            case "annotation" | "note" | "ruby-text":
                pass
            case _:
                text += _text(child)
        text += child.tail or ""
    return text


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _attribute(node: ElementTree.Element, name: str) -> str:
    return next((value for key, value in node.attrib.items() if _local(key) == name), "")
