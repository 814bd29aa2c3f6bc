"""Files of any readable kind and format, row by row: what fits, and what does not and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice

from locum.adapters.card import Format
from locum.errors import BadInputError
from locum.train.data import formats
from locum.train.data.files import RawRow, Watch, nobody, read_rows
from locum.train.data.formats import Columns, Row, RowError
from locum.train.data.logs import Roles, conversations

RECOGNISED_BY = 20
RAW_LIMIT = 10_000


@dataclass(frozen=True)
class Read:
    """A row that fits. `number` is its line or row, from 1."""

    file: str
    number: int
    row: Row
    expert: str = ""
    """Who answered, in an interview: counted, but no part of the row, for who they are is nothing to learn."""


@dataclass(frozen=True)
class Unanswered:
    """A question of an interview that nobody has answered yet: nothing to learn from, and no mistake."""

    file: str
    number: int


@dataclass(frozen=True)
class Reject:
    """A row that does not fit; `raw` is how it begins, as JSON or text."""

    file: str
    number: int
    field: str
    reason: str
    raw: str

    def as_json(self) -> str:
        """One line of a file of rejects."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.number}: {self.field}: {self.reason}"


@dataclass(frozen=True)
class Recognised:
    """What a file holds, and what says so."""

    format: Format
    why: str
    notes: tuple[str, ...] = ()
    """What people should know of how the file is read."""


def recognise(location: str, *, columns: Columns, encoding: str | None = None) -> Recognised:
    """The format of a file, by its first rows.

    Raises:
        BadInputError: it cannot be told, or the file has no row.
    """
    notes: list[str] = []
    first = list(islice(read_rows(location, encoding=encoding, notes=notes), RECOGNISED_BY))
    rows = [raw.fields for raw in first if raw.fields is not None]
    if not rows:
        raise BadInputError(f"{location}:{first[0].number}: {first[0].problem}, and no row after it is better")
    try:
        return Recognised(*formats.recognise(rows, first[0].header, columns), tuple(notes))
    except BadInputError as error:
        raise BadInputError(f"{location}: {error}", hint="; ".join([*filter(None, [error.hint]), *notes])) from None


def read_file(
    location: str,
    *,
    format: Format,
    columns: Columns,
    roles: Roles | None = None,
    encoding: str | None = None,
    start: int = 0,
    watch: Watch = nobody,
) -> Iterator[Read | Unanswered | Reject]:
    """All rows of a file but the first `start`, in order; of a log, its conversations."""
    if format == "log":
        # each message is read first, and then each conversation
        messages = read_rows(location, encoding=encoding, watch=lambda share: watch(share / 2))
        found = conversations(messages, columns, roles or {}, _shown, lambda share: watch((1 + share) / 2))
        for each in islice(found, start, None):
            if each.row is None:
                yield Reject(location, each.number, each.field, each.reason, each.raw[:RAW_LIMIT])
            else:
                yield Read(location, each.number, each.row)
        return
    for raw in read_rows(location, start=start, watch=watch, encoding=encoding):
        try:
            if raw.fields is None:
                raise RowError("row", raw.problem)
            expert = ""
            if format == "interview":
                if not formats.text_of(raw.fields, columns, "answer"):
                    yield Unanswered(location, raw.number)
                    continue
                expert = formats.text_of(raw.fields, columns, "expert")
            yield Read(location, raw.number, formats.to_row(raw.fields, format, columns), expert)
        except RowError as error:
            yield Reject(location, raw.number, error.field, str(error), _shown(raw))


def _shown(raw: RawRow) -> str:
    text = raw.text if raw.fields is None else json.dumps(raw.fields, ensure_ascii=False, default=str)
    return text[:RAW_LIMIT].encode(errors="replace").decode()  # JSON can hold half a character, a table cannot
