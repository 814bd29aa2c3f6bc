"""The review queue: what a model wrote for a domain, and what people decided on it, in one SQLite file.

What was written never changes, and decisions are only added: the last one on an item counts, and all are kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from locum.errors import ConflictError, NotFoundError, UnavailableError
from locum.train.data.documents import where

State = Literal["pending", "accepted", "rejected"]
STATES: tuple[State, ...] = ("pending", "accepted", "rejected")
How = Literal["one by one", "in a sheet", "all at once"]
BUSY_SECONDS = 30.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS item (
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL, topic TEXT, system TEXT,
  file TEXT NOT NULL, heading TEXT NOT NULL, passage TEXT NOT NULL, digest TEXT NOT NULL, row TEXT, parent INTEGER,
  teacher TEXT NOT NULL, prompt TEXT NOT NULL, written TEXT NOT NULL, UNIQUE (question, answer)
);
CREATE TABLE IF NOT EXISTS decision (
  id INTEGER PRIMARY KEY, item INTEGER NOT NULL REFERENCES item (id), state TEXT NOT NULL, question TEXT NOT NULL,
  answer TEXT NOT NULL, reason TEXT NOT NULL, by TEXT NOT NULL, at TEXT NOT NULL, how TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS decision_item ON decision (item, id);
CREATE TABLE IF NOT EXISTS asked (key TEXT PRIMARY KEY, at TEXT NOT NULL);
"""
_DRAFT = "kind, question, answer, topic, system, file, heading, passage, digest, row, parent"
_LATEST = "SELECT MAX(id) FROM decision WHERE item = item.id"


@dataclass(frozen=True)
class Draft:
    """What a model wrote, and from what."""

    kind: str
    """`passage`, `synthetic`, or what kind of variant it is."""
    question: str
    answer: str
    topic: str | None = None
    system: str | None = None
    """The system message of the row that it is a variant of, if that has one of its own."""
    file: str = ""
    heading: str = ""
    passage: str = ""
    """What to compare it with: the passage's text, or the question and answer that it is a variant of."""
    digest: str = ""
    """SHA-256 over the passage."""
    row: str | None = None
    """Digest of the row that it is a variant of, as that was read."""
    parent: int | None = None
    """The item that it is a variant of."""


@dataclass(frozen=True)
class Decision:
    """What somebody decided on an item, with question and answer as they are to be learnt from."""

    id: int
    state: State
    question: str
    answer: str
    reason: str
    by: str
    at: str
    how: How


@dataclass(frozen=True)
class Item:
    """Something that a model wrote, and the last decision on it."""

    id: int
    draft: Draft
    teacher: str
    prompt: str
    """Version of the prompt."""
    written: str
    """When."""
    decision: Decision | None

    @property
    def state(self) -> State:
        return self.decision.state if self.decision else "pending"

    @property
    def question(self) -> str:
        return self.decision.question if self.decision else self.draft.question

    @property
    def answer(self) -> str:
        return self.decision.answer if self.decision else self.draft.answer

    @property
    def edited(self) -> bool:
        return (self.question, self.answer) != (self.draft.question, self.draft.answer)

    @property
    def source(self) -> str:
        """Where it came from, in a few words."""
        if self.draft.file:
            return where(self.draft.file, self.draft.heading)
        if self.draft.parent is not None:
            return f"item {self.draft.parent}"
        return "a row of the source" if self.draft.row else "the card alone"

    def as_json(self) -> dict[str, Any]:
        """All that is known of it, for programs."""
        decision = asdict(self.decision) if self.decision else None
        told = {"id": self.id, "state": self.state, "question": self.question, "answer": self.answer}
        written = {"by": self.teacher, "prompt": self.prompt, "at": self.written, **asdict(self.draft)}
        return {**told, "edited": self.edited, "written": written, "decision": decision}


@dataclass(frozen=True)
class Verdict:
    """A decision to be taken on an item, as somebody has seen it."""

    item: Item
    state: Literal["accepted", "rejected"]
    question: str
    answer: str
    reason: str = ""


class Reviews:
    """The queue of one domain. Several processes may use it at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            self.db.executescript("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;" + SCHEMA)
        except sqlite3.DatabaseError as error:
            raise UnavailableError(f"the review queue {path} cannot be opened: {error}") from error

    def close(self) -> None:
        self.db.close()

    def asked(self, key: str) -> bool:
        """Whether a request was answered before."""
        return self.db.execute("SELECT 1 FROM asked WHERE key = ?", (key,)).fetchone() is not None

    def add(self, key: str, drafts: Sequence[Draft], *, teacher: str, prompt: str) -> int:
        """Take what was written on a request, all or nothing; returns how many were not there before."""
        now = _now()
        before = self.db.total_changes
        with self._transaction():
            self.db.executemany(
                f"INSERT INTO item ({_DRAFT}, teacher, prompt, written) VALUES ({', '.join('?' * 14)}) "
                "ON CONFLICT (question, answer) DO NOTHING",
                [(*astuple(draft), teacher, prompt, now) for draft in drafts],
            )
            new = self.db.total_changes - before
            self.db.execute("INSERT OR IGNORE INTO asked VALUES (?, ?)", (key, now))
        return new

    def items(self, state: State | None = None) -> list[Item]:
        """All items, or those in a state, in the order in which they were written."""
        query = (
            f"SELECT item.id, teacher, prompt, written, {_DRAFT_OF_ITEM}, {_DECISION} FROM item "
            f"LEFT JOIN decision ON decision.id = ({_LATEST}) "
        )
        where = {None: "", "pending": "WHERE decision.id IS NULL "}.get(state, "WHERE decision.state = ? ")
        arguments = (state,) if "?" in where else ()
        return [_item(row) for row in self.db.execute(query + where + "ORDER BY item.id", arguments)]

    def counts(self) -> dict[State, int]:
        """How many items are in each state."""
        query = (
            "SELECT COALESCE(decision.state, 'pending'), COUNT(*) FROM item "
            f"LEFT JOIN decision ON decision.id = ({_LATEST}) GROUP BY 1"
        )
        found = dict(self.db.execute(query))
        return {state: found.get(state, 0) for state in STATES}

    def decide(self, verdicts: Iterable[Verdict], *, by: str, how: How) -> int:
        """Take decisions, all or none; returns how many.

        Raises:
            ConflictError: somebody decided on an item since it was looked at.
            NotFoundError: there is no such item any more.
        """
        now, count = _now(), 0
        with self._transaction():
            for verdict in verdicts:
                item = verdict.item
                found = self.db.execute(f"SELECT ({_LATEST}) FROM item WHERE id = ?", (item.id,)).fetchone()
                if found is None:
                    raise NotFoundError(f"there is no item {item.id}")
                if found[0] != (item.decision.id if item.decision else None):
                    state, who = self.db.execute("SELECT state, by FROM decision WHERE id = ?", found).fetchone()
                    raise ConflictError(f"item {item.id} was {state} by {who} meanwhile", hint="look at it again")
                self.db.execute(
                    "INSERT INTO decision (item, state, question, answer, reason, by, at, how) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (item.id, verdict.state, verdict.question, verdict.answer, verdict.reason, by, now, how),
                )
                count += 1
        return count

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")


_DRAFT_OF_ITEM = ", ".join(f"item.{name}" for name in _DRAFT.split(", "))
_DECISION = ", ".join(f"decision.{name}" for name in ("id", "state", "question", "answer", "reason", "by", "at", "how"))


def _item(row: tuple[Any, ...]) -> Item:
    drafted, decided = row[4:15], row[15:]
    number, teacher, prompt, written = row[:4]
    decision = Decision(*decided) if decided[0] is not None else None
    return Item(number, Draft(*drafted), teacher, prompt, written, decision)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
