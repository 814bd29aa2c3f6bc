"""Rows of Parquet and Arrow files (Feather is one of these), their values as text where JSON has none for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import IO, Any

from locum.train.data.rawrows import BATCH, Place, RawRow, row_of

PANDAS_INDEX = "__index_level_"


def parquet_rows(file: IO[bytes], place: Place) -> Iterator[RawRow]:
    """The rows of a Parquet file."""
    import pyarrow.parquet

    table = pyarrow.parquet.ParquetFile(file)
    place.rows = table.metadata.num_rows
    days = _days(table.schema_arrow, lambda name: table.iter_batches(BATCH * 10, columns=[name]))
    return _rows(table.iter_batches(BATCH), table.schema_arrow, days, place)


def arrow_rows(file: IO[bytes], place: Place) -> Iterator[RawRow]:
    """The rows of an Arrow file: of random access, as Feather is, or a stream, as the Hub's data sets are kept."""
    import pyarrow

    is_stream = file.read(6) != b"ARROW1"

    def batches() -> Iterator[Any]:
        file.seek(0)
        if is_stream:
            yield from pyarrow.ipc.open_stream(file)
            return
        table = pyarrow.ipc.open_file(file)
        yield from (table.get_batch(number) for number in range(table.num_record_batches))

    file.seek(0)
    schema = (pyarrow.ipc.open_stream if is_stream else pyarrow.ipc.open_file)(file).schema
    place.rows = sum(len(batch) for batch in batches())
    return _rows(batches(), schema, _days(schema, lambda name: (batch.select([name]) for batch in batches())), place)


def _days(schema: Any, column: Callable[[str], Iterable[Any]]) -> set[str]:
    """The columns of times that are days: all of them midnight, as pandas keeps a day."""
    import pyarrow

    times = [
        name
        for name, kind in zip(schema.names, schema.types, strict=True)
        if pyarrow.types.is_timestamp(kind) and kind.tz is None
    ]
    return {name for name in times if all(_is_midnight(batch.column(0)) for batch in column(name))}


def _is_midnight(times: Any) -> bool:
    import pyarrow.compute

    same = pyarrow.compute.equal(pyarrow.compute.floor_temporal(times, unit="day"), times)
    return pyarrow.compute.all(same).as_py() is not False


def _rows(batches: Any, schema: Any, days: set[str], place: Place) -> Iterator[RawRow]:
    index = [name for name in schema.names if name.startswith(PANDAS_INDEX)]
    if index:
        place.note("the index that pandas keeps is not read")
    if days:
        place.note(f"times that are all midnight are written as days: {', '.join(sorted(days))}")
    header = tuple(name for name in schema.names if name not in index)
    place.empty = f"the columns {', '.join(header)} and no row"
    number = 0
    for batch in batches:
        if number + len(batch) <= place.start:
            number += len(batch)
            continue
        for value in batch.to_pylist():
            number += 1
            if number > place.start:
                yield _row(number, value, header, days)


def _row(number: int, value: dict[str, Any], header: tuple[str, ...], days: set[str]) -> RawRow:
    moments = {name: each for name in header if isinstance(each := value[name], datetime)}
    try:
        fields = {
            name: str(value[name].date()) if name in days and value[name] else _plain(value[name]) for name in header
        }
    except UnicodeDecodeError as error:
        return RawRow(
            number, None, f"expected text, found bytes that are no UTF-8: {error}", repr(value), header=header
        )
    row = row_of(number, fields, header)
    return RawRow(number, row.fields, header=header, moments=moments)


def _plain(value: Any) -> Any:
    """A value of Arrow as one of JSON: a day, a time and a decimal are written out."""
    match value:
        case float() if math.isnan(value):
            return None
        case Decimal():
            return f"{value:f}"
        case datetime() | timedelta():
            return str(value)
        case date() | time():
            return value.isoformat()
        case bytes():
            return value.decode()
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case [*items] if items and all(isinstance(each, tuple) for each in items):  # a map
            return {str(name): _plain(each) for name, each in items}
        case [*items]:
            return [_plain(each) for each in items]
    return value
