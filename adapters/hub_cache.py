"""The hub's cache on this machine: `models--ORG--NAME/snapshots/COMMIT`, whose files are links into `blobs`."""

from __future__ import annotations

import re
from pathlib import Path

from locum.errors import BadInputError

_REPOSITORY = re.compile(r"models--(?P<org>[\w.-]+?)--(?P<name>[\w.-]+)")


def snapshot_of(folder: Path) -> Path:
    """The snapshot that a repository's folder in the cache stands for; any other folder is its own.

    Raises:
        BadInputError: the cache holds none, or several of which none is marked as the main branch.
    """
    if not _REPOSITORY.fullmatch(folder.absolute().name) or not (folder / "snapshots").is_dir():
        return folder
    main = folder / "refs" / "main"
    if main.is_file() and (snapshot := folder / "snapshots" / main.read_text(encoding="utf-8").strip()).is_dir():
        return snapshot
    snapshots = sorted(path for path in (folder / "snapshots").iterdir() if path.is_dir())
    if len(snapshots) != 1:
        found = ", ".join(path.name for path in snapshots) or "none"
        raise BadInputError(
            f"{folder}: expected refs/main or a single folder in snapshots, found {found}",
            hint=f"name one of them: {snapshots[0]}" if snapshots else "download the repository again",
        )
    return snapshots[0]


def cached_repository(folder: Path) -> str | None:
    """`ORG/NAME` of a folder in the cache, be it the repository's or one of its snapshots."""
    for part in (folder, folder.parent.parent):
        if match := _REPOSITORY.fullmatch(part.name):
            return f"{match['org']}/{match['name']}"
    return None


def cached_commit(folder: Path) -> str | None:
    """The commit of a snapshot in the cache."""
    return folder.name if folder.parent.name == "snapshots" and cached_repository(folder) else None
