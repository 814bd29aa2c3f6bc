"""Which registry holds which artifact, recorded in the store itself: an empty file `.owners/REGISTRY/DIGEST` for each.

Registries that share a store share no lock, so each announces what it does before it looks at what the others do: who
registers an artifact marks it, and then looks whether somebody removes it; who removes one announces it, and then
looks whether anybody has marked it. Of two that meet, at least one sees the other and gives way. Whatever comes of
that, and whoever is killed in between, an artifact may stay that nobody needs; none that is marked goes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from locum.errors import UnavailableError

OWNERS = ".owners"
# Holds what was in the store before registries marked what they hold: nobody knows who else has a version of it.
UNKNOWN = "unknown"
REMOVING = ".removing"  # DIGEST.removing: this registry removes the artifact


class Owners:
    """The marks in one store."""

    def __init__(self, fs: Any, root: str, *, has_folders: bool) -> None:
        """`fs` and `root` are fsspec's; buckets have no folders."""
        self._fs = fs
        self._root = f"{root}/{OWNERS}"
        self._has_folders = has_folders

    def of(self, digest: str) -> set[str]:
        """The registries that hold this artifact, and `UNKNOWN` where others may."""
        return {registry for registry in self._registries() if self._fs.exists(f"{self._root}/{registry}/{digest}")}

    def claim(self, digest: str, registry: str, *, is_there: Callable[[], bool]) -> None:
        """Mark an artifact as this registry's, before it is put in its place or used. One process of a registry at a
        time.

        Raises:
            UnavailableError: another registry is removing it.
        """
        # looked at twice: whoever put it there in between has marked it first
        if self._is_unmarked(digest) and is_there() and self._is_unmarked(digest):
            self._mark(UNKNOWN, [digest])
        self._mark(registry, [digest])
        self._unmark(registry, digest + REMOVING)  # left by a process that was killed
        if removers := sorted(self.of(digest + REMOVING)):
            raise UnavailableError(
                f"the artifact {digest[:12]} is just being removed from the store by the registry {removers[0]}",
                hint="try again; if it stays so, that registry's process was killed: what it registers or deletes next "
                f"ends this, or, where that registry is no more, removing {self._root}/{removers[0]}",
            )

    def adopt(self, digests: Collection[str], registry: str, *, there: Collection[str]) -> None:
        """Mark what this registry's versions hold and no mark tells of yet.

        Args:
            there: the names in the store. What is there and nobody's was put there before there were marks.
        """
        held = self._held()
        new = set(digests) - held.get(registry, set())
        known = {name.removesuffix(REMOVING) for names in held.values() for name in names}
        self._mark(UNKNOWN, (new & set(there)) - known)
        self._mark(registry, new)

    def release(self, digests: Collection[str], registry: str, *, remove: Callable[[str], None]) -> None:
        """Give up what this registry holds of these artifacts, and remove what nobody else holds. One process of a
        registry at a time.

        What others may hold unknown to the store is not removed and stays marked, so that it goes when that is settled.
        """
        held = self._held()
        for digest in {name.removesuffix(REMOVING) for name in held.get(registry, ())} & set(digests):
            if _others(held, digest, registry) == {UNKNOWN}:
                continue
            self._mark(registry, [digest + REMOVING])
            self._unmark(registry, digest)
            if not self.of(digest):
                remove(digest)
            self._unmark(registry, digest + REMOVING)

    def _is_unmarked(self, digest: str) -> bool:
        return not self.of(digest) and not self.of(digest + REMOVING)

    def _registries(self) -> list[str]:
        with suppress(FileNotFoundError):
            return [_name(path) for path in self._fs.ls(self._root, detail=False)]
        return []

    def _held(self) -> dict[str, set[str]]:
        held: dict[str, set[str]] = {}
        for path in self._fs.find(self._root):
            held.setdefault(_name(path.rpartition("/")[0]), set()).add(_name(path))
        return held

    def _mark(self, registry: str, names: Collection[str]) -> None:
        if names:
            if self._has_folders:
                self._fs.makedirs(f"{self._root}/{registry}", exist_ok=True)
            self._fs.pipe({f"{self._root}/{registry}/{name}": b"" for name in names})

    def _unmark(self, registry: str, name: str) -> None:
        path = f"{self._root}/{registry}/{name}"
        if self._fs.exists(path):
            self._fs.rm_file(path)


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _others(held: Mapping[str, set[str]], digest: str, registry: str) -> set[str]:
    return {other for other, names in held.items() if digest in names and other != registry}
