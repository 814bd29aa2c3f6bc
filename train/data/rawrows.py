"""What every reader of files gives: rows as they stand there, and what is to be said of the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

BATCH = 1000

Watch = Callable[[float], None]
"""Is told from time to time which share of a file has been read."""


def nobody(share: float) -> None:
    """A watch that nobody keeps."""


@dataclass(frozen=True)
class RawRow:
    """One row of a file. `number` counts from 1: the line in JSON Lines, else the row, without a header's."""

    number: int
    fields: dict[str, Any] | None
    problem: str = ""
    """Why there are no fields."""
    text: str = ""
    """What stands there instead."""
    header: tuple[str, ...] = ()
    """The columns of the table that it is a row of; it has no field for those that are empty."""
    moments: Mapping[str, datetime] = field(default_factory=dict)
    """The dates and times among the fields, which a sheet shows in one of many ways."""


@dataclass
class Place:
    """Where in a file to read, and what is learnt of it when it is opened."""

    path: str
    name: str
    """The file's name without `.gz`."""
    sheet: str = ""
    start: int = 0
    encoding: str | None = None
    """As asked for; else it is found out."""
    rows: int | None = None
    """How many rows it has, where that is known beforehand."""
    empty: str = "it has no row"
    """What a file without rows holds instead."""
    notes: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        """Something that people should know of how the file is read; each is kept once."""
        if sentence and sentence not in self.notes:
            self.notes.append(sentence)


def row_of(number: int, value: Any, header: tuple[str, ...] = ()) -> RawRow:
    """A row from an object; its fields without a value are left out."""
    if isinstance(value, dict):
        return RawRow(number, {name: each for name, each in value.items() if each is not None}, header=header)
    return RawRow(number, None, "expected an object of fields", json.dumps(value, ensure_ascii=False, default=str))
