"""Tables that fit the terminal: nothing that is copied is broken over lines, columns go first.

A line breaks between words alone, Chinese between characters: a name, a digest, a path or an interval in brackets stays
whole. Where the columns that must be there do not fit beside one another, each row is told in lines of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

GAP = 3  # cells between columns
PROSE = 14  # cells that a column of words keeps at least
_HAN = "\u3000-\u303f\u3400-\u9fff\uf900-\ufaff\uff00-\uffef"
_UNIT = re.compile(rf"\s*(?:\[[^\[\]\n]{{1,60}}\]\S*|[{_HAN}]|[^\s{_HAN}]+)")


def columns_of(console: Console) -> int | None:
    """How wide lines may be: as wide as the terminal, or as COLUMNS says; none where nobody looks at a terminal."""
    asked = os.environ.get("COLUMNS", "")
    return int(asked) if asked.isdigit() and int(asked) else console.width if console.is_terminal else None


@dataclass(frozen=True)
class Listing:
    """A table, which finds its width when it is printed.

    `first_to_go` are columns that it can do without, the least important one first; `right` are those of numbers.
    """

    title: str | None
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    first_to_go: tuple[str, ...] = ()
    right: frozenset[int] = frozenset()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        if self.title is not None:
            yield Text(self.title, style="italic", no_wrap=True)
        for line, style in self.lines(columns_of(console)):
            yield Text(line, style=style, no_wrap=True)

    def lines(self, width: int | None) -> Iterator[tuple[str, str]]:
        """The lines of the table and their styles; `width` in cells, none for as wide as it takes."""
        shown, widths = self._fit(width)
        left_out = [column for place, column in enumerate(self.columns) if place not in shown]
        if widths is None:
            yield from self._stacked(shown, width or 0)
        else:
            yield from self._beside(shown, widths)
        if left_out:
            note = f"Not shown at this width: {', '.join(left_out)}. A wider terminal or --json has them."
            yield from ((line, "dim") for line in broken(note, width or len(note)))

    def _fit(self, width: int | None) -> tuple[list[int], list[int] | None]:
        """Which columns are shown and how wide each is; all, without a width, where too few fit beside one another."""
        shown = list(range(len(self.columns)))
        going = [self.columns.index(column) for column in self.first_to_go]
        while True:
            cells = [self._cells(place) for place in shown]
            widths = shared([_natural(each) for each in cells], [_least(each) for each in cells], width)
            if widths is not None:
                return shown, widths
            if not going:  # below one another all have room
                return list(range(len(self.columns))), None
            shown.remove(going.pop(0))

    def _cells(self, place: int) -> list[str]:
        return [self.columns[place], *(row[place] for row in self.rows)]

    def _beside(self, shown: Sequence[int], widths: Sequence[int]) -> Iterator[tuple[str, str]]:
        for number, row in enumerate((self.columns, *self.rows)):
            cells = [broken(row[place], size) for place, size in zip(shown, widths, strict=True)]
            for place in range(max(len(cell) for cell in cells)):
                parts = [cell[place] if place < len(cell) else "" for cell in cells]
                padded = [self._padded(*each) for each in zip(shown, parts, widths, strict=True)]
                yield (" " * GAP).join(padded).rstrip(), "" if number else "bold"
            if not number:
                yield "─" * (sum(widths) + GAP * (len(widths) - 1)), "dim"

    def _padded(self, column: int, text: str, width: int) -> str:
        room = " " * (width - cell_len(text))
        return room + text if column in self.right else text + room

    def _stacked(self, shown: Sequence[int], width: int) -> Iterator[tuple[str, str]]:
        """Each row below its first cell, a line a column."""
        first, *others = shown
        for row in self.rows:
            yield from ((line, "bold") for line in broken(row[first], width))
            for place in others:
                named = f"{self.columns[place]}: {row[place]}" if len(others) > 1 else row[place]
                yield from ((f"  {line}", "") for line in broken(named, width - 2) if row[place])


def broken(text: str, width: int) -> list[str]:
    """The lines of a text: no longer than `width` cells, unless one word is."""
    lines = []
    for whole in text.split("\n"):
        if cell_len(whole) <= width:
            lines.append(whole)
            continue
        line = ""
        for unit in _UNIT.findall(whole):
            if line and cell_len(line + unit) > width:
                lines.append(line)
                line = unit.lstrip()
            else:
                line += unit
        lines.append(line)
    return lines


def shared(natural: Sequence[int], least: Sequence[int], width: int | None) -> list[int] | None:
    """How wide each column becomes, so that all fit into `width` cells: the widest give way first.

    None where they do not fit though each is as narrow as it may be.
    """
    widths, room = list(natural), None if width is None else width - GAP * (len(natural) - 1)
    if room is None or sum(widths) <= room:
        return widths
    if sum(least) > room:
        return None
    while sum(widths) > room:
        place = max((p for p in range(len(widths)) if widths[p] > least[p]), key=lambda p: widths[p])
        widths[place] -= 1
    return widths


def _natural(cells: Sequence[str]) -> int:
    return max(cell_len(line) for cell in cells for line in cell.split("\n"))


def _least(cells: Sequence[str]) -> int:
    """As wide as the longest word; words have room for a few side by side."""
    longest = max((cell_len(unit.strip()) for cell in cells for unit in _UNIT.findall(cell)), default=0)
    indented = max((cell_len(line) - cell_len(line.lstrip()) for cell in cells for line in cell.split("\n")), default=0)
    return min(_natural(cells), max(longest + indented, PROSE))
