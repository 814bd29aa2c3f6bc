"""Rows of files as domain teams have them: JSON, JSON Lines, CSV, Parquet, Excel; streamed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from locum.errors import BadInputError, LocumError, NotFoundError
from locum.train.data.places import opened, without_sheet

Container = Literal["json", "jsonl", "csv", "parquet", "excel"]
CONTAINERS: dict[str, Container] = {
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
    ".xlsx": "excel",
}  # fmt: skip
TEXTS = ("utf-8-sig", "gb18030")
BATCH = 1000
LONGEST_CELL = 1 << 27

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


@dataclass
class _Place:
    """Where in a file to read, and, where the file says so, how many rows it has."""

    path: str
    sheet: str
    start: int
    rows: int | None = None


def container_of(location: str) -> Container:
    """What kind of file it is, by its name; `.gz` behind a text's is unpacked.

    Raises:
        BadInputError: it is none that can be read.
    """
    name = without_sheet(location)[0].lower().removesuffix(".gz")
    container = CONTAINERS.get(Path(name).suffix)
    if container is None:
        raise BadInputError(
            f"{location} is of no kind that can be read (expected {', '.join(CONTAINERS)}, the texts also with .gz)"
        )
    return container


def read_rows(location: str, *, start: int = 0, watch: Watch = nobody) -> Iterator[RawRow]:
    """All rows of a file in order, but the first `start` of them. A row that is no object has no fields.

    Raises:
        NotFoundError: there is no such file.
        BadInputError: the file is of no kind that can be read, or not what its name says.
        UnavailableError: the place it lies in does not answer, or needs a package that is not installed.
    """
    path, sheet = without_sheet(location)
    reader = _READERS[container_of(location)]
    place = _Place(path, sheet.removeprefix("#"), start)
    with opened(path) as (raw, file):
        try:
            for count, row in enumerate(reader(file, place)):
                if count % BATCH == 0:
                    watch(row.number / place.rows if place.rows else raw.share)
                yield row
        except LocumError:
            raise
        except Exception as error:  # each library has errors of its own for a damaged file
            raise BadInputError(f"{location} cannot be read: {type(error).__name__}: {error}") from error


def _json_lines(file: IO[bytes], place: _Place) -> Iterator[RawRow]:
    count = 0
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        count += 1
        if count > place.start:
            try:
                yield _row(number, json.loads(line.removeprefix(b"\xef\xbb\xbf")))
            except ValueError as error:
                yield RawRow(number, None, f"not valid JSON: {error}", line.decode(errors="replace"))


def _json(file: IO[bytes], place: _Place) -> Iterator[RawRow]:
    import ijson

    prefix = _array_of(file, place.path)
    file.seek(0)
    for number, value in enumerate(ijson.items(file, prefix, use_float=True), start=1):
        if number > place.start:
            yield _row(number, value)


def _array_of(file: IO[bytes], path: str) -> str:
    """Where a JSON file's rows are: it is an array, or an object that holds one."""
    import ijson

    for prefix, event, _ in ijson.parse(file):
        if event == "start_array":
            return f"{prefix}.item".removeprefix(".")
        if event == "start_map" and prefix:
            break
    raise BadInputError(f"{path} holds no list of rows: expected [{{…}}, …], or one JSON object a line in a .jsonl")


def _csv(file: IO[bytes], place: _Place) -> Iterator[RawRow]:
    csv.field_size_limit(LONGEST_CELL)
    text = io.TextIOWrapper(file, _encoding(file, place.path), newline="")
    first_line = text.readline()
    text.seek(0)
    delimiter = max(",;\t|", key=first_line.count)
    reader = csv.DictReader(text, delimiter=delimiter, strict=True)
    if not reader.fieldnames or len(set(reader.fieldnames)) != len(reader.fieldnames):
        raise BadInputError(
            f"{place.path}: expected a first line of different column names (found {first_line[:80]!r})"
        )
    header = tuple(reader.fieldnames)
    for number, fields in enumerate(reader, start=1):
        if number <= place.start:
            continue
        if None in fields or None in fields.values():
            problem = f"has another number of columns than the {len(reader.fieldnames)} of the first line"
            yield RawRow(number, None, problem, json.dumps(list(fields.values()), ensure_ascii=False))
        else:
            given = {name: value for name, value in fields.items() if value.strip()}
            yield RawRow(number, given, header=header)


def _encoding(file: IO[bytes], path: str) -> str:
    """UTF-8, or else what Chinese spreadsheets write."""
    for encoding in TEXTS:
        text = io.TextIOWrapper(file, encoding)
        try:
            for _ in text:
                pass
        except UnicodeDecodeError:
            continue
        finally:
            text.detach().seek(0)  # else the file is closed with it
        return encoding
    raise BadInputError(f"{path}: expected text in UTF-8 or GB 18030", hint="save it as UTF-8")


def _parquet(file: IO[bytes], place: _Place) -> Iterator[RawRow]:
    import pyarrow.parquet

    table = pyarrow.parquet.ParquetFile(file)
    place.rows = table.metadata.num_rows
    header = tuple(table.schema_arrow.names)
    number = 0
    for batch in table.iter_batches(BATCH):
        if number + len(batch) <= place.start:
            number += len(batch)
            continue
        for value in batch.to_pylist():
            number += 1
            if number > place.start:
                yield _row(number, value, header)


def _excel(file: IO[bytes], place: _Place) -> Iterator[RawRow]:
    import openpyxl

    book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    if place.sheet and place.sheet not in book.sheetnames:
        raise NotFoundError(f"{place.path} has no sheet {place.sheet!r} (there are: {', '.join(book.sheetnames)})")
    sheet = book[place.sheet] if place.sheet else next(filter(_is_table, book.worksheets), book.worksheets[0])
    place.rows = sheet.max_row
    rows = sheet.iter_rows(values_only=True)
    names = _names(next(rows, ()))
    if not any(names):
        raise BadInputError(f"{place.path}: expected column names in the first row")
    header = tuple(filter(None, names))
    number = 0
    for values in rows:
        fields = {name: _cell(value) for name, value in zip(names, values, strict=False) if name and value is not None}
        if not fields:
            continue
        number += 1
        if number > place.start:
            yield RawRow(number, fields, header=header)


def _is_table(sheet: Any) -> bool:
    """Whether a sheet has more than one column: a page of instructions has not."""
    return sum(map(bool, _names(next(sheet.iter_rows(max_row=1, values_only=True), ())))) > 1


def _names(values: Sequence[Any]) -> list[str]:
    return [str(value).strip() if value is not None else "" for value in values]


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _row(number: int, value: Any, header: tuple[str, ...] = ()) -> RawRow:
    if isinstance(value, dict):
        return RawRow(number, {name: each for name, each in value.items() if each is not None}, header=header)
    return RawRow(number, None, "expected an object of fields", json.dumps(value, ensure_ascii=False, default=str))


_READERS: dict[Container, Callable[[IO[bytes], _Place], Iterator[RawRow]]] = {
    "json": _json, "jsonl": _json_lines, "csv": _csv, "parquet": _parquet, "excel": _excel,
}  # fmt: skip
