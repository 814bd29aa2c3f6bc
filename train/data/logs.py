"""Logs of past conversations: a table with one message a row, put together to conversations.

The rows of a conversation may lie anywhere in the file: they are sorted in a table on disk, so memory is bounded. A
conversation comes where its first row stands. Its messages are in the order of their times, where each has one, and
else of their rows. What one speaker says in a row is one message. A greeting before the first question is left out, and
so is what the user says at the end and nobody answers.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, get_args

from pydantic import ValidationError

from locum.adapters.card import Column, Speaker
from locum.adapters.conversations import Conversation, first_problem
from locum.train.data.columns import NAMES, Columns, check_wanted_column, text_of
from locum.train.data.fields import Remarks, RowError, UnwantedRowError, check_wanted
from locum.train.data.files import BATCH, RawRow, Watch, nobody

Roles = Mapping[str, Speaker]

SPEAKERS: dict[str, Speaker] = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "assistant", "bot", "model"), "assistant"),
    "system": "system",
    **dict.fromkeys(("customer", "client", "patient", "visitor", "caller"), "user"),
    **dict.fromkeys(("客户", "用户", "患者", "病人", "顾客", "访客"), "user"),
    **dict.fromkeys(("agent", "operator", "advisor", "representative", "support"), "assistant"),
    **dict.fromkeys(("doctor", "客服", "助手", "机器人", "坐席", "顾问", "医生"), "assistant"),
    "系统": "system",
}  # fmt: skip
_ONE_DIGIT = re.compile(r"(?<![\d.])(\d)(?!\d)")  # 2026-3-1 9:05, as spreadsheets write it
MILLISECONDS = 1e11  # seconds since 1970 would be in the year 5138
_ABOUT: tuple[Column, ...] = ("text", "group", "topic")
COLUMNS = 11
SCHEMA = """
CREATE TABLE message (
  conversation TEXT, number INTEGER, at REAL, role TEXT, text TEXT, belongs TEXT, topic TEXT, field TEXT, problem TEXT,
  unwanted INTEGER, raw TEXT
);
"""
SORTED = """
SELECT conversation, number, role, text, belongs, topic, field, problem, unwanted, raw FROM (
  SELECT *, MIN(number) OVER told AS first, COUNT(*) OVER told = COUNT(at) OVER told AS timed FROM message
  WINDOW told AS (PARTITION BY conversation)
) ORDER BY first, CASE WHEN timed THEN at END, number
"""


@dataclass(frozen=True)
class Logged:
    """A conversation of a log, or why there is none. `number` is its first row, or the row that is wrong."""

    number: int
    row: Conversation | None
    field: str = ""
    reason: str = ""
    raw: str = ""
    is_unwanted: bool = False
    """Whether the reason is that a message says it is not to be learnt."""


@dataclass(frozen=True)
class _Message:
    number: int
    role: Speaker
    text: str
    belongs: str
    topic: str
    field: str
    problem: str
    unwanted: int
    raw: str


def conversations(
    rows: Iterable[RawRow],
    columns: Columns,
    roles: Roles,
    shown: Callable[[RawRow], str],
    watch: Watch = nobody,
) -> Iterator[Logged]:
    """The conversations of a log, in the order of their first rows.

    A row that belongs to no conversation comes alone, before all others. A conversation of which one row is wrong is
    left out whole: what is left of it could say something else.

    Args:
        roles: who speaks, by what the log calls them, beside `SPEAKERS`.
        shown: how a row that is wrong is shown.
        watch: told which share of the conversations has been given, when all rows are read.
    """
    roles = {name.casefold(): role for name, role in {**SPEAKERS, **roles}.items()}
    with closing(sqlite3.connect("")) as db:  # a file of its own, which SQLite removes
        db.executescript("PRAGMA journal_mode = OFF; PRAGMA temp_store = FILE;" + SCHEMA)
        for raw in rows:
            try:
                db.execute(
                    f"INSERT INTO message VALUES ({', '.join('?' * COLUMNS)})", _entry(raw, columns, roles, shown)
                )
            except RowError as error:
                yield Logged(raw.number, None, error.field, str(error), shown(raw))
        [(total,)] = db.execute("SELECT COUNT(DISTINCT conversation) FROM message")
        for count, (name, found) in enumerate(groupby(db.execute(SORTED), lambda each: each[0])):
            if count % BATCH == 0:
                watch(count / total)
            yield _conversation(str(name), [_Message(*each[1:]) for each in found])


def _entry(raw: RawRow, columns: Columns, roles: Roles, shown: Callable[[RawRow], str]) -> tuple[Any, ...]:
    """A row of the table. What is wrong in it is kept there, so that its conversation is left out."""
    if raw.fields is None:
        raise RowError("row", raw.problem)
    name = text_of(raw.fields, columns, "conversation")
    _check_whole(name)
    if not name:
        raise RowError(columns.get("conversation", "conversation"), "expected the id of a conversation, found nothing")
    try:
        check_wanted_column(raw.fields, columns)
        # a message that is not to be learnt leaves its conversation out
        check_wanted({key: value for key, value in raw.fields.items() if key not in columns.values()}, Remarks())
        about = [text_of(raw.fields, columns, each) for each in _ABOUT]
        _check_whole(*about)
        at = _at(raw, columns)
        role = _speaker(text_of(raw.fields, columns, "role"), columns, roles)
    except RowError as error:
        unwanted = isinstance(error, UnwantedRowError)
        return (name, raw.number, None, "skip", "", "", "", error.field, str(error), unwanted, shown(raw))
    return (name, raw.number, at, role, *about, "", "", False, "")


def _check_whole(*texts: str) -> None:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise RowError("row", "expected text in Unicode, found half a character (a lone surrogate)") from None


def _speaker(name: str, columns: Columns, roles: Roles) -> Speaker:
    role = roles.get(name.casefold())
    if role is None:
        raise RowError(
            columns.get("role", "role"),
            f"{name or 'nothing'!r} is no speaker that is known; say who it is by `roles` in the card's source, "
            f"one of {', '.join(get_args(Speaker))}",
        )
    return role


def _at(raw: RawRow, columns: Columns) -> float | None:
    """When it was said: by what a cell of a sheet means, which may show it in many ways, else by the text."""
    names = (columns["time"],) if "time" in columns else NAMES["time"]
    moment = next((raw.moments[name] for name in names if name in raw.moments), None)
    if moment is not None:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return _seconds(text_of(raw.fields or {}, columns, "time"), columns)


def _seconds(time: str, columns: Columns) -> float | None:
    """Seconds since 1970 of a time in ISO 8601 (in UTC where it says no zone), or in seconds or milliseconds."""
    if not time:
        return None
    try:
        number = float(time)
        return number / 1000 if number > MILLISECONDS else number
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(_ONE_DIGIT.sub(r"0\1", time.replace("/", "-")))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise RowError(
            columns.get("time", "time"), f"expected a time such as 2026-03-31 14:05:00, found {time!r}"
        ) from None


def _conversation(name: str, messages: list[_Message]) -> Logged:
    first = min(message.number for message in messages)
    for message in messages:
        if message.problem:
            reason = message.problem if message.unwanted else f"conversation {name}: {message.problem}"
            return Logged(message.number, None, message.field, reason, message.raw, bool(message.unwanted))
    said = [message for message in messages if message.text and message.role != "skip"]
    turns = [
        (role, "\n".join(message.text for message in found))
        for role, found in groupby(said, lambda message: message.role)
    ]
    system = turns[:1] if turns and turns[0][0] == "system" else []
    turns = turns[len(system) :]
    if turns and turns[0][0] == "assistant":
        turns = turns[1:]
    if turns and turns[-1][0] == "user":
        turns = turns[:-1]
    shown = "\n".join(f"{message.role}: {message.text}" for message in said)
    if not turns:
        return Logged(first, None, "conversation", f"conversation {name}: no question in it is answered", shown)
    try:
        row = Conversation.model_validate(
            {
                "conversations": [{"role": role, "content": text} for role, text in (*system, *turns)],
                "group": next((message.belongs for message in messages if message.belongs), name),
                "topic": next((message.topic for message in messages if message.topic), None),
            }
        )
    except ValidationError as error:
        field, reason = first_problem(error)
        notices = any(role == "system" for role, _ in turns)
        hint = "; `roles: {system: skip}` passes over notices of the system" if notices else ""
        return Logged(first, None, field, f"conversation {name}: {reason}{hint}", shown)
    return Logged(first, row)
