"""Rows of files as domain teams have them: JSON, JSON Lines, CSV, Parquet, Excel; streamed, local or by URL."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from locum.errors import BadInputError, NotFoundError, UnavailableError

Container = Literal["json", "jsonl", "csv", "parquet", "excel"]
CONTAINERS: dict[str, Container] = {
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
    ".xlsx": "excel",
}  # fmt: skip
TEXTS = ("utf-8-sig", "gb18030")
BATCH = 1000
LONGEST_CELL = 1 << 27


@dataclass(frozen=True)
class RawRow:
    """One row of a file. `number` counts from 1: the line in JSON Lines, else the row, without a header's."""

    number: int
    fields: dict[str, Any] | None
    problem: str = ""
    """Why there are no fields."""
    text: str = ""
    """What stands there instead."""


def expand(folder: Path, files: Sequence[str]) -> list[str]:
    """The locations that a card's `files` name: patterns are matched in `folder`, URLs are kept as they are.

    Raises:
        NotFoundError: a file or pattern matches nothing.
    """
    found: list[str] = []
    for name in files:
        if "://" in name:
            found.append(name)
            continue
        path, sheet = _without_sheet(name)
        root = Path("/") if Path(path).is_absolute() else folder
        matches = sorted(str(match) for match in root.glob(path.lstrip("/")))
        if not matches:
            raise NotFoundError(f"there is no file {folder / path}")
        found += [match + sheet for match in matches]
    return list(dict.fromkeys(found))


def container_of(location: str) -> Container:
    """What kind of file it is, by its name; `.gz` behind a text's is unpacked.

    Raises:
        BadInputError: it is none that can be read.
    """
    name = _without_sheet(location)[0].lower().removesuffix(".gz")
    container = CONTAINERS.get(Path(name).suffix)
    if container is None:
        raise BadInputError(
            f"{location} is of no kind that can be read (expected {', '.join(CONTAINERS)}, the texts also with .gz)"
        )
    return container


def state(location: str) -> str:
    """What is different when a file has changed, as far as the place that it lies in can tell."""
    import fsspec

    system, path = fsspec.core.url_to_fs(_without_sheet(location)[0])
    return str(system.ukey(path))


def read_rows(location: str, *, start: int = 0) -> Iterator[RawRow]:
    """All rows of a file in order, but the first `start` of them. A row that is no object has no fields.

    Raises:
        NotFoundError: there is no such file.
        BadInputError: the file is of no kind that can be read, or not what its name says.
        UnavailableError: the place it lies in does not answer, or needs a package that is not installed.
    """
    path, sheet = _without_sheet(location)
    reader = _READERS[container_of(location)]
    with _opened(path) as file:
        try:
            yield from reader(file, path, sheet.removeprefix("#"), start)
        except (BadInputError, NotFoundError):
            raise
        except Exception as error:  # each library has errors of its own for a damaged file
            raise BadInputError(f"{location} cannot be read: {type(error).__name__}: {error}") from error


def _without_sheet(location: str) -> tuple[str, str]:
    path, mark, sheet = location.rpartition("#")
    return (path, mark + sheet) if mark and path.lower().endswith(".xlsx") else (location, "")


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    import fsspec

    if "://" not in path and not Path(path).is_file():
        raise NotFoundError(f"there is no file {path}")
    try:
        file = fsspec.open(path, "rb", compression="gzip" if path.endswith(".gz") else None).open()
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}") from None
    except ImportError as error:
        raise UnavailableError(f"{path} needs a package that is not installed: {error}") from error
    except Exception as error:  # each kind of store has errors of its own
        raise UnavailableError(f"{path} cannot be opened: {type(error).__name__}: {error}") from error
    with file:
        yield file


def _json_lines(file: IO[bytes], path: str, sheet: str, start: int) -> Iterator[RawRow]:
    count = 0
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        count += 1
        if count > start:
            try:
                yield _row(number, json.loads(line.removeprefix(b"\xef\xbb\xbf")))
            except ValueError as error:
                yield RawRow(number, None, f"not valid JSON: {error}", line.decode(errors="replace"))


def _json(file: IO[bytes], path: str, sheet: str, start: int) -> Iterator[RawRow]:
    import ijson

    prefix = _array_of(file, path)
    file.seek(0)
    for number, value in enumerate(ijson.items(file, prefix, use_float=True), start=1):
        if number > start:
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


def _csv(file: IO[bytes], path: str, sheet: str, start: int) -> Iterator[RawRow]:
    csv.field_size_limit(LONGEST_CELL)
    text = io.TextIOWrapper(file, _encoding(file, path), newline="")
    first_line = text.readline()
    text.seek(0)
    delimiter = max(",;\t|", key=first_line.count)
    reader = csv.DictReader(text, delimiter=delimiter, strict=True)
    if not reader.fieldnames or len(set(reader.fieldnames)) != len(reader.fieldnames):
        raise BadInputError(f"{path}: expected a first line of different column names (found {first_line[:80]!r})")
    for number, fields in enumerate(reader, start=1):
        if number <= start:
            continue
        if None in fields or None in fields.values():
            problem = f"has another number of columns than the {len(reader.fieldnames)} of the first line"
            yield RawRow(number, None, problem, json.dumps(list(fields.values()), ensure_ascii=False))
        else:
            yield RawRow(number, {name: value for name, value in fields.items() if value.strip()})


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


def _parquet(file: IO[bytes], path: str, sheet: str, start: int) -> Iterator[RawRow]:
    import pyarrow.parquet

    number = 0
    for batch in pyarrow.parquet.ParquetFile(file).iter_batches(BATCH):
        if number + len(batch) <= start:
            number += len(batch)
            continue
        for value in batch.to_pylist():
            number += 1
            if number > start:
                yield _row(number, value)


def _excel(file: IO[bytes], path: str, sheet: str, start: int) -> Iterator[RawRow]:
    import openpyxl

    book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    if sheet and sheet not in book.sheetnames:
        raise NotFoundError(f"{path} has no sheet {sheet!r} (there are: {', '.join(book.sheetnames)})")
    rows = (book[sheet] if sheet else book.worksheets[0]).iter_rows(values_only=True)
    names = [str(name).strip() if name is not None else "" for name in next(rows, ())]
    if not any(names):
        raise BadInputError(f"{path}: expected column names in the first row")
    number = 0
    for values in rows:
        fields = {name: value for name, value in zip(names, values, strict=False) if name and value is not None}
        if not fields:
            continue
        number += 1
        if number > start:
            yield RawRow(number, {name: v if isinstance(v, str) else str(v) for name, v in fields.items()})


def _row(number: int, value: Any) -> RawRow:
    if isinstance(value, dict):
        return RawRow(number, {name: each for name, each in value.items() if each is not None})
    return RawRow(number, None, "expected an object of fields", json.dumps(value, ensure_ascii=False, default=str))


_READERS: dict[Container, Callable[[IO[bytes], str, str, int], Iterator[RawRow]]] = {
    "json": _json, "jsonl": _json_lines, "csv": _csv, "parquet": _parquet, "excel": _excel,
}  # fmt: skip
