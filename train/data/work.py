"""The table that a build works on, in SQLite: memory is bounded, and an interrupted build goes on."""

from __future__ import annotations

import hashlib
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from locum.adapters.conversations import Conversation, Preference
from locum.adapters.dealing import BalanceCard, DuplicatesCard
from locum.train.data.balance import targets
from locum.train.data.cleaning import said_in
from locum.train.data.near import near_duplicates, signature
from locum.train.data.reading import Reject
from locum.train.data.split import Group, SplitName, key_of, place, question_key, split_of, split_topic

SCHEMA = """
CREATE TABLE IF NOT EXISTS row (
  id INTEGER PRIMARY KEY, digest BLOB NOT NULL, key BLOB NOT NULL, dealt_by BLOB, question BLOB NOT NULL, topic TEXT,
  bands BLOB, final BLOB NOT NULL, json TEXT NOT NULL, said TEXT NOT NULL, split TEXT, dropped TEXT,
  UNIQUE (digest, key)
);
CREATE TABLE IF NOT EXISTS reject (file TEXT, number INTEGER, field TEXT, reason TEXT, raw TEXT);
CREATE TABLE IF NOT EXISTS progress (source INTEGER PRIMARY KEY, rows INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS change (
  step TEXT, action TEXT, reason TEXT, count INTEGER, PRIMARY KEY (step, action, reason)
);
CREATE TABLE IF NOT EXISTS held_out (question BLOB PRIMARY KEY);
CREATE TABLE IF NOT EXISTS kin (raw TEXT, dealt TEXT, topic TEXT, UNIQUE (raw, dealt));
CREATE TABLE IF NOT EXISTS near (later INTEGER PRIMARY KEY, earlier INTEGER, similarity REAL);
"""
INDEXES = ("question", "final", "key")  # of what dealing looks up; made when all rows are there, which is quicker
RANK = "CASE split WHEN 'test' THEN 0 WHEN 'validation' THEN 1 ELSE 2 END"


@dataclass(frozen=True)
class NearPair:
    """A near duplicate that was found, and the row that it is one of, as they are said."""

    similarity: float
    later: str
    earlier: str


class Work:
    """Rows as they were read, and what becomes of each."""

    def __init__(self, path: Path | str) -> None:
        self.db = sqlite3.connect(path)
        self.db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + SCHEMA)
        self.db.create_function("split_of", 1, split_of, deterministic=True)
        self.db.create_function("place", 1, place, deterministic=True)

    def close(self) -> None:
        self.db.close()

    def add(self, row: Conversation | Preference, final: Conversation | Preference) -> None:
        """Take a row as it was read, by which it is dealt, and as it is to be written; unless it is there already."""
        said = _said(row)
        values = (
            bytes.fromhex(row.digest),
            key_of(row),
            _hash(question_key(row)),
            row.topic,
            signature(said),
            bytes.fromhex(final.digest),
            final.model_dump_json(exclude_none=True),
            said,
        )
        there = "SELECT 1 FROM row WHERE digest = ? AND key = ?"
        if self.db.execute(there, values[:2]).fetchone():
            self.note("duplicates", "dropped", "exact duplicates")
        self.db.execute(
            "INSERT INTO row (digest, key, question, topic, bands, final, json, said) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            # of rows that differ by their topic alone the same one stays, whichever came first
            "ON CONFLICT DO UPDATE SET topic = excluded.topic, json = excluded.json "
            "WHERE excluded.topic < COALESCE(topic, excluded.topic || 'x')",
            values,
        )

    def reject(self, reject: Reject) -> None:
        self.db.execute("INSERT INTO reject VALUES (?, ?, ?, ?, ?)", astuple(reject))

    def add_kin(self, raw: str, row: Conversation | Preference) -> None:
        """Remember by what a row is dealt, for its variants; `raw` is its digest before it was cleaned."""
        self.db.execute("INSERT OR IGNORE INTO kin VALUES (?, ?, ?)", (raw, row.group or row.digest, row.topic))

    def kin(self, raw: str) -> list[tuple[str, str | None]]:
        """The groups, and topics, in which a row and so its variants are dealt; several if it is there in several."""
        return list(self.db.execute("SELECT dealt, topic FROM kin WHERE raw = ? ORDER BY dealt", (raw,)))

    def note(self, step: str, action: str, reason: str) -> None:
        """Count a row to which a step did something, and why."""
        self.db.execute(
            "INSERT INTO change VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1", (step, action, reason)
        )

    def reached(self, source: int, rows: int) -> None:
        """So many rows of a source are in the table now; whoever goes on begins behind them."""
        self.db.execute("INSERT OR REPLACE INTO progress VALUES (?, ?)", (source, rows))
        self.db.commit()

    def progress(self, source: int) -> int:
        """Rows of a source that are in the table."""
        found = self.db.execute("SELECT rows FROM progress WHERE source = ?", (source,)).fetchone()
        return int(found[0]) if found else 0

    def read(self) -> int:
        """Rows that were read, those that do not fit included."""
        return int(self.db.execute("SELECT COALESCE(SUM(rows), 0) FROM progress").fetchone()[0])

    def deal(
        self,
        duplicates: DuplicatesCard,
        balance: BalanceCard,
        held_out: Iterable[bytes] = (),
        *,
        stage: Callable[[str], None] = lambda name: None,
    ) -> None:
        """Decide for each row into which split it goes, or why into none.

        Args:
            held_out: hashes of questions that must not be learnt from, beside those of this table's own test split.
            stage: told what begins.
        """
        with self.db:
            for column in INDEXES:
                self.db.execute(f"CREATE INDEX IF NOT EXISTS by_{column} ON row ({column})")
            self.db.execute("UPDATE row SET split = NULL, dropped = NULL, dealt_by = key")
            self.db.execute("DELETE FROM near")
            self.db.execute("DELETE FROM held_out")
            self.db.executemany("INSERT OR IGNORE INTO held_out VALUES (?)", ((question,) for question in held_out))
            if duplicates.near != "off":
                stage("near duplicates")
                self._find_near(duplicates)
            stage("splits")
            self._split()
            self._drop_repeated()
            self._balance(balance)

    def questions(self, split: SplitName) -> Iterator[bytes]:
        """Hashes of what the rows of a split ask."""
        found = self.db.execute("SELECT DISTINCT question FROM row WHERE split = ? AND dropped IS NULL", (split,))
        return (question for (question,) in found)

    def rows(self, split: SplitName) -> Iterator[tuple[bytes, str]]:
        """Digest and JSON of the rows to be written, in the order of the digests."""
        query = "SELECT final, json FROM row WHERE split = ? AND dropped IS NULL ORDER BY final"
        yield from self.db.execute(query, (split,))

    def count(self, split: SplitName) -> int:
        query = "SELECT COUNT(*) FROM row WHERE split = ? AND dropped IS NULL"
        return int(self.db.execute(query, (split,)).fetchone()[0])

    def groups(self, split: SplitName) -> int:
        """Groups of a split; rows without one are each their own."""
        query = "SELECT COUNT(DISTINCT key) FROM row WHERE split = ? AND dropped IS NULL"
        return int(self.db.execute(query, (split,)).fetchone()[0])

    def dropped(self) -> dict[str, int]:
        """How many rows were dealt to no split, by the reason."""
        return dict(
            self.db.execute(
                "SELECT dropped, COUNT(*) FROM row WHERE dropped IS NOT NULL GROUP BY dropped ORDER BY dropped"
            )
        )

    def changes(self) -> list[tuple[str, str, str, int]]:
        """What each step of reading did: step, action, reason, rows."""
        return list(self.db.execute("SELECT step, action, reason, count FROM change ORDER BY step, action, count DESC"))

    def topics(self, split: SplitName, *, all_rows: bool = False) -> dict[str, int]:
        """Rows of each topic; `all_rows` counts those that balancing took out too."""
        query = "SELECT topic, COUNT(*) FROM row WHERE split = ? AND topic IS NOT NULL AND "
        query += "(dropped IS NULL OR dropped = 'balance')" if all_rows else "dropped IS NULL"
        return dict(self.db.execute(query + " GROUP BY topic ORDER BY topic", (split,)))

    def leaks(self, held_out: SplitName, learnt: SplitName) -> list[str]:
        """Rows of a held-out split whose question is also learnt, as JSON."""
        query = (
            "SELECT json FROM row AS held WHERE split = ? AND dropped IS NULL AND EXISTS "
            "(SELECT 1 FROM row WHERE question = held.question AND split = ? AND dropped IS NULL)"
        )
        return [text for (text,) in self.db.execute(query, (held_out, learnt))]

    def near_pairs(self) -> Iterator[NearPair]:
        """The near duplicates that were found, the most similar first."""
        query = (
            "SELECT similarity, later.said, earlier.said FROM near JOIN row AS later ON later.id = near.later "
            "JOIN row AS earlier ON earlier.id = near.earlier ORDER BY similarity DESC, later.digest"
        )
        return (NearPair(*found) for found in self.db.execute(query))

    def rejected(self) -> int:
        """How many rows did not fit."""
        return int(self.db.execute("SELECT COUNT(*) FROM reject").fetchone()[0])

    def rejects(self) -> Iterator[Reject]:
        """The rows that did not fit."""
        return (Reject(*found) for found in self.db.execute("SELECT * FROM reject ORDER BY file, number"))

    def _find_near(self, card: DuplicatesCard) -> None:
        ids, bands = array("q"), bytearray()
        for each, band in self.db.execute("SELECT id, bands FROM row WHERE bands IS NOT NULL ORDER BY digest, key"):
            ids.append(each)
            bands += band

        def said(place: int) -> str:
            return str(self._one("said", ids[place]))

        joined: dict[bytes, bytes] = {}
        for pair in near_duplicates(bands, said, card.threshold, chains=card.near == "together"):
            later, earlier = ids[pair.later], ids[pair.earlier]
            if self._one("digest", later) == self._one("digest", earlier):
                continue  # the same row in two groups, of which one is kept later
            self.db.execute("INSERT OR IGNORE INTO near VALUES (?, ?, ?)", (later, earlier, pair.similarity))
            if card.near == "drop":
                self.db.execute("UPDATE row SET dropped = 'near duplicate' WHERE id = ?", (later,))
                self._move_variants(later, earlier)
            else:
                _join(joined, self._one("key", later), self._one("key", earlier))
        for key in joined:
            self.db.execute("UPDATE row SET dealt_by = ? WHERE key = ?", (_root(joined, key), key))

    def _move_variants(self, dropped: int, kept: int) -> None:
        """What is dealt by a dropped row itself, as only its variants are, is dealt as the row is that it is like."""
        key = self._one("key", dropped)
        if key == _hash(self._one("digest", dropped).hex()):
            self.db.execute("UPDATE row SET dealt_by = ? WHERE key = ?", (self._one("dealt_by", kept), key))

    def _one(self, column: str, row: int) -> Any:
        return self.db.execute(f"SELECT {column} FROM row WHERE id = ?", (row,)).fetchone()[0]

    def _split(self) -> None:
        # A group with rows of several topics belongs to the first of them in the alphabet.
        self.db.execute("DROP TABLE IF EXISTS temp.dealt")
        self.db.execute(
            "CREATE TEMP TABLE dealt AS SELECT dealt_by AS key, MIN(topic) AS topic, COUNT(*) AS rows, NULL AS split "
            "FROM row WHERE dropped IS NULL GROUP BY dealt_by"
        )
        self.db.execute("CREATE UNIQUE INDEX temp.dealt_key ON dealt (key)")
        self.db.execute("UPDATE dealt SET split = split_of(key) WHERE topic IS NULL")
        topics = self.db.execute("SELECT topic, SUM(rows) FROM dealt WHERE topic IS NOT NULL GROUP BY topic").fetchall()
        for topic, rows in topics:
            query = "SELECT key, rows FROM dealt WHERE topic = ? ORDER BY place(key)"
            groups = [Group(key, count) for key, count in self.db.execute(query, (topic,))]
            self.db.executemany(
                "UPDATE dealt SET split = ? WHERE key = ?",
                ((split, group.key) for group, split in split_topic(groups, rows)),
            )
        self.db.execute(
            "UPDATE row SET split = (SELECT split FROM dealt WHERE dealt.key = row.dealt_by) WHERE dropped IS NULL"
        )

    def _drop_repeated(self) -> None:
        """A row that is there under several groups is kept where it is held out; so is what a held-out row asks."""
        self.db.execute(
            "UPDATE row SET dropped = 'duplicate' WHERE dropped IS NULL AND id NOT IN "
            f"(SELECT id FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY final ORDER BY {RANK}, key) AS place "
            "FROM row WHERE dropped IS NULL) WHERE place = 1)"
        )
        self.db.execute(
            "UPDATE row SET dropped = 'asks what is held out' WHERE dropped IS NULL AND split <> 'test' "
            "AND question IN (SELECT question FROM held_out)"
        )
        for learnt, held_out in (("validation", "test"), ("train", "test"), ("train", "validation")):
            self.db.execute(
                "UPDATE row SET dropped = 'asks what is held out' WHERE dropped IS NULL AND split = ? AND question IN "
                "(SELECT question FROM row WHERE split = ? AND dropped IS NULL)",
                (learnt, held_out),
            )

    def _balance(self, card: BalanceCard) -> None:
        counts = self.topics("train")
        for topic, wanted in targets(counts, card).items():
            if wanted == counts[topic]:
                continue
            self.db.execute(
                "UPDATE row SET dropped = 'balance' WHERE id IN (SELECT id FROM row WHERE split = 'train' "
                "AND topic = ? AND dropped IS NULL ORDER BY digest LIMIT -1 OFFSET ?)",
                (topic, wanted),
            )


def _said(row: Conversation | Preference) -> str:
    """All that is said in a row but by the system."""
    if isinstance(row, Preference):
        return "\n".join([row.question, *row.answers])
    return "\n".join(text for message in row.conversations if message.role != "system" for text in said_in(message))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _root(joined: dict[bytes, bytes], key: bytes) -> bytes:
    while joined.get(key, key) != key:
        key = joined[key]
    return key


def _join(joined: dict[bytes, bytes], one: bytes, other: bytes) -> None:
    low, high = sorted((_root(joined, one), _root(joined, other)))
    joined[high] = low
    joined.setdefault(low, low)
    joined.setdefault(one, low)
    joined.setdefault(other, low)
