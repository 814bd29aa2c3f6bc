"""CSV and its dialects: what parts the cells is found by trying, and a row that is wrong costs that row."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, product
from typing import IO

from locum.train.data.encoding import encoding_of, open_text, undecodable
from locum.train.data.rawrows import Place, RawRow
from locum.train.data.tables import Line, table_rows

HEAD = 1 << 17
"""Characters that a dialect is chosen by."""
TRIED = 300
LONGEST_CELL = 1 << 27
LONGEST_RECORD = 2000
"""Lines of one row; where more would be, a quotation mark is missing."""
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SEP = re.compile(r'\ufeff?"?sep=(.)"?\s*', re.IGNORECASE)
_ESCAPED = re.compile(r'(?<!\\)((?:\\\\)*)\\"')
_GUARDED = re.compile(r'="([^"]*)"')  # ="0123": Excel's way to keep a number as it is written
_APOSTROPHE = re.compile(r"'[\d+\-=@][\d.,:/ +\-]*")  # '0123: another


@dataclass(frozen=True)
class Dialect:
    """How the cells of a file are parted and quoted."""

    delimiter: str
    quote: str = '"'
    backslash: bool = False
    """Whether a quotation mark in a cell is written \\" (else it is doubled)."""
    spaced: bool = False
    """Whether spaces stand between a delimiter and a quotation mark."""

    @property
    def note(self) -> str:
        """What is unusual in it."""
        odd = [f"cells parted by {DELIMITERS.get(self.delimiter, repr(self.delimiter))}"] * (
            self.delimiter not in ",;\t"
        )
        odd += ["quotation marks are part of the cells"] * (not self.quote)
        odd += ["quoted by '"] * (self.quote == "'") + ['quotation marks written \\"'] * self.backslash
        return ", ".join(odd)


def csv_rows(file: IO[bytes], place: Place) -> Iterator[RawRow]:
    """The rows of a CSV.

    Raises:
        BadInputError: its encoding is in doubt, or it has no row of column names.
    """
    csv.field_size_limit(LONGEST_CELL)
    encoding = encoding_of(file, place.path, wanted=place.encoding)
    place.note(encoding.note)
    text = open_text(file, encoding)
    first = text.readline(HEAD)
    given = _SEP.fullmatch(first)
    head = ("" if given else first) + text.read(HEAD)
    text.seek(0)
    skipped = [text.readline()] if given else []
    dialect = _dialect(head, given[1] if given else None)
    place.note(dialect.note)
    place.empty = "0 bytes, or blank lines only"
    return table_rows(_records(text, dialect, len(skipped)), place)


def _dialect(head: str, delimiter: str | None) -> Dialect:
    """The dialect that makes the most rows of one length of a file's beginning."""
    lines = list(islice(io.StringIO(head, newline=""), TRIED))
    if len(lines) > 1 and len(head) >= HEAD:
        del lines[-1]  # it may be cut off
    single = any(_all_quoted(lines[0], each) for each in DELIMITERS) if lines else False
    tried = [
        Dialect(each, "'" if single else '"', backslash, spaced)
        for each, backslash, spaced in product(
            [delimiter] if delimiter else DELIMITERS,
            [False, True] if '\\"' in head else [False],
            [False, True] if re.search(r'[,;|]\s+"', head) else [False],
        )
    ]
    if not single and _are_marks_text(lines):
        tried += [Dialect(each, "") for each in ([delimiter] if delimiter else DELIMITERS)]
    return max(tried, key=lambda each: _fit(lines, each))


def _are_marks_text(lines: list[str]) -> bool:
    """Whether more cells have text behind a quotation mark that closes than are quoted."""
    cells: list[str] = [cell.strip() for line in lines for cell in re.split(r"[,;\t|]", line)]
    behind = sum(bool(re.match(r'"[^"]+"\s*[^"\s]', cell)) for cell in cells)
    quoted = sum(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)
    return behind > quoted


def _all_quoted(line: str, delimiter: str) -> bool:
    cells = line.strip("\ufeff \r\n").split(delimiter)
    return len(cells) > 1 and all(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in cells)


def _fit(lines: list[str], dialect: Dialect) -> tuple[float, int]:
    """Which share of the rows have as many cells as most of them have, and how many that are."""
    rows = [line.cells for line in _records((each for each in lines if not each.startswith("#")), dialect, 0)]
    rows = [cells for cells in rows if cells is None or any(map(str.strip, cells))]
    counts = Counter(len(cells) for cells in rows if cells is not None and len(cells) > 1)
    if not counts:
        return 0, 0
    header = next((len(cells) for cells in rows if cells and sum(map(bool, cells)) > 1), 0)
    [(most, times)] = counts.most_common(1)
    # the names stand in as many cells as the rows have; where they do not, the line says nothing of cells
    return round(times / len(rows), 2) * (1 if header == most else 0.5), most


def _records(lines: Iterable[str], dialect: Dialect, read: int) -> Iterator[Line]:
    """Rows as cells. One with a quotation mark that is missing is one line; those after it are read anew."""
    waiting: deque[str] = deque()
    source = iter(lines)
    number = read
    while True:
        line = waiting.popleft() if waiting else next(source, None)
        if line is None:
            return
        number += 1
        taken = [line]
        cells = _cells(line, dialect)
        while cells is None and len(taken) < LONGEST_RECORD:
            more = waiting.popleft() if waiting else next(source, None)
            if more is None:
                break
            taken.append(more)
            if dialect.quote in more:
                cells = _cells("".join(taken), dialect)
        problem = undecodable(line) if len(taken) == 1 else undecodable("".join(taken))
        if isinstance(cells, list) and not problem:
            yield Line(number, [_shown(cell) for cell in cells])
            number += len(taken) - 1
            continue
        if not problem:
            problem = f"{cells or 'a quotation mark is not closed'} (line {number} of the file)"
        waiting.extendleft(reversed(taken[1:]))
        yield Line(number, None, problem, line)


def _cells(text: str, dialect: Dialect) -> list[str] | str | None:
    """The cells of a row; None where a quotation mark is still open, and a text where it is wrong, saying why."""
    if dialect.backslash:
        text = _ESCAPED.sub(r'\1""', text)
    try:
        rows = list(
            csv.reader(
                [text],
                delimiter=dialect.delimiter,
                quotechar=dialect.quote or None,
                quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
                skipinitialspace=dialect.spaced,
                strict=True,
            )
        )
    except csv.Error as error:
        return None if "unexpected end of data" in str(error) else str(error)
    return rows[0] if rows else []


def _shown(cell: str) -> str:
    """What a spreadsheet shows of a cell that it was kept from reading as a number."""
    if guarded := _GUARDED.fullmatch(cell):
        return guarded[1]
    return cell[1:] if _APOSTROPHE.fullmatch(cell) else cell
