"""Files of any readable kind and format, row by row: what fits, and what does not and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice

from locum.adapters.card import BlankAnswers, Format
from locum.adapters.conversations import Conversation
from locum.errors import BadInputError
from locum.train.data import formats
from locum.train.data.columns import COLUMNS, Columns, has, text_of
from locum.train.data.fields import BlankAnswerError, Remark, Remarks, RowError, UnwantedRowError, account
from locum.train.data.files import RawRow, Watch, nobody, read_rows
from locum.train.data.formats import Row
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
    remarks: frozenset[Remark] = frozenset()
    """What is to be mentioned of the row's fields."""


@dataclass(frozen=True)
class Unanswered:
    """A question that nobody has answered, as in interviews: nothing to learn from, and no mistake."""

    file: str
    number: int


@dataclass(frozen=True)
class Unwanted:
    """A row that says of itself that it is not to be learnt: `reason` names the field and what it says."""

    file: str
    number: int
    reason: str
    remarks: frozenset[Remark] = frozenset()


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


Item = Read | Unanswered | Unwanted | Reject


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
    kind: type[Row] = Conversation,
    blank_answers: BlankAnswers = "refuse",
    start: int = 0,
    watch: Watch = nobody,
) -> Iterator[Item]:
    """All rows of a file but the first `start`, in order; of a log, its conversations.

    Args:
        kind: what rows of the format `kto` become; all other formats say it themselves.
        blank_answers: what becomes of rows without an answer, save in interviews, which may have them.
    """
    if format == "log":
        # each message is read first, and then each conversation
        seen: Counter[Remark] = Counter()
        messages = read_rows(location, encoding=encoding, watch=lambda share: watch(share / 2))
        noted = _noted(messages, columns, seen)
        found = conversations(noted, columns, roles or {}, _shown, lambda share: watch((1 + share) / 2))
        for each in islice(found, start, None):
            if each.row is None and each.is_unwanted:
                yield Unwanted(location, each.number, each.reason)
            elif each.row is None:
                yield Reject(location, each.number, each.field, each.reason, each.raw[:RAW_LIMIT])
            else:
                yield Read(location, each.number, each.row, remarks=frozenset(seen))
                seen.clear()  # said of the file, with its first conversation
        return
    for raw in read_rows(location, start=start, watch=watch, encoding=encoding):
        remarks = Remarks()
        try:
            if raw.fields is None:
                raise RowError("row", raw.problem)
            expert = ""
            if format == "interview":
                if not text_of(raw.fields, columns, "answer"):
                    yield Unanswered(location, raw.number)
                    continue
                expert = text_of(raw.fields, columns, "expert")
            row = formats.to_row(raw.fields, format, columns, kind=kind, remarks=remarks)
            yield Read(location, raw.number, row, expert, remarks.frozen)
        except UnwantedRowError as error:
            yield Unwanted(location, raw.number, str(error), remarks.frozen)
        except RowError as error:
            if isinstance(error, BlankAnswerError) and blank_answers == "skip":
                yield Unanswered(location, raw.number)
            else:
                yield Reject(location, raw.number, error.field, str(error), _shown(raw))


def _noted(rows: Iterable[RawRow], columns: Columns, seen: Counter[Remark]) -> Iterator[RawRow]:
    """The rows of a log; the fields that are not read are counted on the way."""
    for raw in rows:
        if raw.fields is not None:
            remarks = Remarks()
            used = {name for name in (has(raw.fields, columns, column) for column in COLUMNS["log"]) if name}
            account(raw.fields, "log", "", remarks, used=used)
            seen.update(remarks.frozen)
        yield raw


def _shown(raw: RawRow) -> str:
    text = raw.text if raw.fields is None else json.dumps(raw.fields, ensure_ascii=False, default=str)
    return text[:RAW_LIMIT].encode(errors="replace").decode()  # JSON can hold half a character, a table cannot
