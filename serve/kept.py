"""A server's own hold on the artifacts that it serves.

vLLM reads an adapter's files again, by itself, when it has dropped it from memory and a request that waited has its
turn; if they are gone by then, the engine dies. So a version that is deleted while it is served, or is still what an
alias means here, must not lose its files: the server links them, beside the store or the cache that they came from.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from filelock import FileLock, Timeout

from locum.adapters.store import FILES, artifact_digest, part_name

PREFIX = ".serving-"
LOCK = "lock"


class Kept:
    """Links to the files of versions, for as long as this process serves them.

    They lie in a folder that this process has locked: one that nobody has locked was left by a server that is no more.
    """

    def __init__(self) -> None:
        self._folders: dict[str, Path] = {}
        self._homes: dict[Path, Path] = {}
        self._locks: list[FileLock] = []

    def hold(self, name: str, artifact: Path) -> Path:
        """A folder with the files that are in `artifact` now, which stay when that is removed.

        Where this server may not write beside the artifact, it is `artifact` itself, which somebody can remove.
        """
        try:
            folder = self._home(artifact.parent) / name
            folder.mkdir(exist_ok=True)
        except OSError:
            return artifact
        for file in FILES:
            new = folder / f"{file}.new"
            new.unlink(missing_ok=True)
            try:
                os.link(artifact / file, new)
            except OSError:  # a file system without links
                shutil.copy2(artifact / file, new)
            new.replace(folder / file)
        self._folders[name] = folder
        return folder

    def held(self, name: str, digest: str) -> Path | None:
        """The folder of a version, if it is held and whole."""
        folder = self._folders.get(name)
        return folder if folder is not None and artifact_digest(folder) == digest else None

    def drop(self, name: str) -> None:
        """Let the files go."""
        folder = self._folders.pop(name, None)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _home(self, beside: Path) -> Path:
        if beside not in self._homes:
            _sweep(beside)
            part = beside / part_name()
            part.mkdir()
            lock = FileLock(part / LOCK)
            lock.acquire(timeout=0)
            self._locks.append(lock)
            self._homes[beside] = part.rename(beside / f"{PREFIX}{uuid.uuid4().hex}")
        return self._homes[beside]


def _sweep(beside: Path) -> None:
    """Remove what servers left that are no more."""
    for left in beside.glob(f"{PREFIX}*"):
        try:
            with FileLock(left / LOCK, timeout=0):
                shutil.rmtree(left, ignore_errors=True)
        except (Timeout, OSError):  # it is in use, or another server sweeps it
            continue
