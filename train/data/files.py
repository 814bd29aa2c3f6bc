"""Rows of files as domain teams have them: JSON, JSON Lines, CSV, Parquet, workbooks; streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import IO

from locum.errors import BadInputError, LocumError
from locum.train.data.columnar import arrow_rows, parquet_rows
from locum.train.data.delimited import csv_rows
from locum.train.data.jsonrows import json_rows
from locum.train.data.kinds import TEXTS as TEXT_NAMES
from locum.train.data.kinds import Container, check_name, container_of
from locum.train.data.opendocument import ods_rows
from locum.train.data.places import opened, without_sheet
from locum.train.data.rawrows import BATCH, Place, RawRow, Watch, nobody
from locum.train.data.workbooks import workbook_rows

__all__ = ["BATCH", "RawRow", "Watch", "nobody", "notes_on", "read_rows"]

_TEXTS: tuple[Container, ...] = ("json", "csv")
_READERS: dict[Container, Callable[[IO[bytes], Place], Iterator[RawRow]]] = {
    "json": json_rows, "csv": csv_rows, "parquet": parquet_rows, "arrow": arrow_rows, "excel": workbook_rows,
    "ods": ods_rows,
}  # fmt: skip


def read_rows(
    location: str,
    *,
    start: int = 0,
    watch: Watch = nobody,
    encoding: str | None = None,
    notes: list[str] | None = None,
) -> Iterator[RawRow]:
    """All rows of a file in order, but the first `start` of them. A row that is wrong has no fields.

    Args:
        encoding: of a text, by Python's name; found out when it is not given.
        notes: takes what people should know of how the file is read, before its first row is given.

    Raises:
        NotFoundError: there is no such file.
        BadInputError: the file is of no kind that can be read, is empty, or its encoding is in doubt.
        UnavailableError: the place it lies in does not answer, or needs a package that is not installed.
    """
    check_name(location)
    path, sheet = without_sheet(location)
    place = Place(
        path, path.lower().removesuffix(".gz"), sheet.removeprefix("#"), start, encoding,
        notes=[] if notes is None else notes,
    )  # fmt: skip
    with opened(path) as (raw, file):
        try:
            count = -1
            container = container_of(file, path)
            if container in _TEXTS and not place.name.endswith(TEXT_NAMES):
                place.note(f"it holds {container.upper()}, whatever its name says")
            for count, row in enumerate(_READERS[container](file, place)):
                if count % BATCH == 0:
                    watch(row.number / place.rows if place.rows else raw.share)
                yield row
        except LocumError:
            raise
        except Exception as error:  # each library has errors of its own for a damaged file
            raise BadInputError(f"{location} cannot be read: {type(error).__name__}: {error}") from error
        if count < 0 and not start:
            raise BadInputError(f"{location} is empty: {place.empty}", hint="expected rows; see docs/data.md")


def notes_on(location: str, *, encoding: str | None = None) -> list[str]:
    """What people should know of how a file is read: a guess at its encoding, the sheet, lines that are passed over."""
    notes: list[str] = []
    for _ in islice(read_rows(location, encoding=encoding, notes=notes), BATCH):
        pass
    return notes
