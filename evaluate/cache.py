"""Answers that were given already: a new metric, another comparison or a run that was cut off asks nothing twice.

A key is made of all that an answer depends on: the weights that answer (a version's digest and its base model's
fingerprint), what is asked, and the generation settings; where times are measured, also what is asked beside it.
SQLite, so that evaluations at the same time share it and a process that is killed leaves whole answers.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from locum.errors import DiskFullError, UnavailableError

CACHE_FILE = "answers.db"
_AT_ONCE = 500  # SQLite takes at least 999 variables in a statement


class AnswerCache:
    """JSON texts by key. Any number of processes may use one file.

    Everything here raises UnavailableError where the file cannot be used, DiskFullError where there is no room for it.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock

        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        # A new file turns to WAL under a lock for which SQLite, unlike for all others, does not wait.
        with self._explained(), FileLock(path.with_name(f".{path.name}.lock")):
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")

    def get(self, keys: Iterable[str]) -> dict[str, str]:
        """Those of the keys that are there, with their texts."""
        wanted = list(keys)
        found: dict[str, str] = {}
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            query = f"SELECT key, answer FROM answers WHERE key IN ({','.join('?' * len(some))})"
            with self._explained(), closing(self._db.execute(query, some)) as rows:
                found.update(rows)
        return found

    def put(self, key: str, answer: str) -> None:
        """Keep a text; what was there under the key is replaced."""
        with self._explained():
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, answer))

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                hint = "what was answered is kept: make room, and type the same command again to continue"
                raise DiskFullError(f"there is no room for answers in {self.path}", hint=hint) from None
            hint = "take it away if it is damaged: the answers in it are then asked for again"
            raise UnavailableError(f"{self.path}, which keeps answers, cannot be used: {error}", hint=hint) from None


def cache_key(*parts: object) -> str:
    """SHA-256 over what an answer depends on."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
