"""From the lines of a table, whatever file it is in, to rows: where its columns' names are, and what fits them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice

from locum.errors import BadInputError
from locum.train.data.rawrows import Place, RawRow

LOOKED_AT = 50
BLANK = "\0\x1a \t\r\n\u00a0\ufeff"  # with what old programs end a file by


@dataclass(frozen=True)
class Line:
    """One line of a table: its cells, or what is wrong with it and what stands there. `number` is where, from 1."""

    number: int
    cells: list[str] | None
    problem: str = ""
    text: str = ""
    moments: dict[int, datetime] = field(default_factory=dict)
    """The dates and times, by the cell."""


def table_rows(lines: Iterable[Line], place: Place, *, is_ragged: bool = False) -> Iterator[RawRow]:
    """The rows below the names of the columns. What stands above these, and columns without one, is told.

    Args:
        is_ragged: whether a line may have fewer cells than there are names, as in a workbook.

    Raises:
        BadInputError: there are no names, or one stands there twice.
    """
    source = (line for line in lines if line.cells is None or any(_has_text(cell) for cell in line.cells))
    head = list(islice(source, LOOKED_AT))
    if not head:
        return
    at = _header_at(head, place)
    names = _names(head[at], place)
    _tell_above(head[:at], place)
    _tell_nameless(names, head[at + 1 :], place)
    header = tuple(filter(None, names))
    place.empty = f"the columns {', '.join(header)} and no row below them"
    for number, line in enumerate(chain(head[at + 1 :], source), start=1):
        if number > place.start:
            yield _row(number, line, names, header, is_ragged=is_ragged)


def _has_text(cell: str) -> bool:
    return bool(cell.strip(BLANK))


def _header_at(head: Sequence[Line], place: Place) -> int:
    """Where the names are: the first line with more than one cell; above it are titles and remarks."""
    for at, line in enumerate(head):
        if line.cells is None:  # these might be the names
            raise BadInputError(
                f"{place.path}: the line of the column names cannot be read: {line.problem}",
                hint="; ".join(place.notes)
                or "mend it, or name the file's encoding: source.encoding in the card, --encoding here",
            )
        if sum(map(_has_text, line.cells)) > 1 and not line.cells[0].startswith("#"):
            return at
    shown = " ".join(filter(None, head[0].cells or []))
    raise BadInputError(
        f"{place.path}: expected a first line of at least two column names (found {shown[:80].strip()!r})",
        hint="is it CSV with commas, semicolons, tabs or bars, or a sheet, with the columns' names in its first row?",
    )


def _names(line: Line, place: Place) -> list[str]:
    names = [cell.strip(BLANK) for cell in line.cells or []]
    if twice := [name for name, count in Counter(filter(None, names)).items() if count > 1]:
        where = " and ".join(str(number) for number, name in enumerate(names, start=1) if name == twice[0])
        raise BadInputError(
            f"{place.path}: expected different column names, found {twice[0]!r} in the columns {where}",
            hint="rename or delete one of them",
        )
    return names


def _tell_above(lines: Sequence[Line], place: Place) -> None:
    if lines:
        first = " ".join(filter(None, lines[0].cells or []))
        many = "1 line" if len(lines) == 1 else f"{len(lines)} lines"
        place.note(f"{many} above the column names passed over ({first.strip()[:60]!r})")


def _tell_nameless(names: Sequence[str], lines: Sequence[Line], place: Place) -> None:
    """Columns without a name that hold something: an index, or what somebody wrote beside the table."""
    for number, name in enumerate(names):
        if not name and any(
            line.cells and number < len(line.cells) and _has_text(line.cells[number]) for line in lines
        ):
            place.note(f"column {number + 1} has no name and is not read{' (an index)' if number == 0 else ''}")


def _repeats(cells: Sequence[str], names: Sequence[str], *, is_below_merged: bool) -> bool:
    """Whether a line says names anew: in files that were put together, or below names that are merged over two rows."""
    same = [cell == name for cell, name in zip(cells, names, strict=False) if name and _has_text(cell)]
    return bool(same) and (any(same) if is_below_merged else all(same))


def _row(number: int, line: Line, names: list[str], header: tuple[str, ...], *, is_ragged: bool) -> RawRow:
    if line.cells is None:
        return RawRow(number, None, line.problem, line.text)
    cells, over = line.cells[: len(names)], line.cells[len(names) :]
    if any(map(_has_text, over)) or (len(cells) < len(names) and not is_ragged):
        problem = (
            f"expected {len(names)} cells, as many as there are names, found {len(line.cells)} "
            f"(line {line.number} of the file)"
        )
        return RawRow(number, None, problem, json.dumps(line.cells, ensure_ascii=False))
    if _repeats(cells, names, is_below_merged=is_ragged and number == 1):
        return RawRow(number, None, f"holds names of columns again (line {line.number} of the file)", json.dumps(cells))
    given = {name: cell for name, cell in zip(names, cells, strict=False) if name and _has_text(cell)}
    moments = {names[at]: moment for at, moment in line.moments.items() if at < len(names) and names[at]}
    return RawRow(number, given, header=header, moments=moments)
