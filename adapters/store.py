"""Artifacts by their digest, behind fsspec: a local folder by default, an object store by URL."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from pathlib import Path
from typing import Any

from locum.errors import CheckFailedError

FILES = ("adapter_config.json", "adapter_model.safetensors")
SUMS = "SHA256SUMS"  # as sha256sum writes and checks it; its own SHA-256 is the artifact's digest


def checksums(folder: Path) -> str:
    """A line for each of an artifact's files: its SHA-256 and its name."""
    lines = []
    for name in FILES:
        with (folder / name).open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
    return "".join(lines)


def artifact_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of an artifact's files: what an adapter version is known by."""
    return _digest_of(checksums(folder))


class ArtifactStore:
    """Folders named by their digest. What is in place is whole; what is being written has another name."""

    def __init__(self, url: str, *, cache: Path) -> None:
        """`cache` holds local copies of artifacts from a remote store; a local store is served in place."""
        import fsspec

        self._fs: Any
        self._fs, self._root = fsspec.core.url_to_fs(url)
        self._local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))
        self._cache = cache

    def put(self, folder: Path, digest: str) -> None:
        """Keep the artifact in `folder` under its digest; nothing to do when it is there and whole.

        Raises:
            CheckFailedError: `folder` changed since its digest was taken.
        """
        if self._holds(folder, digest):
            return
        self.delete(digest)
        part = f"{self._root}/.part-{uuid.uuid4().hex}"
        try:
            self._fs.makedirs(part)
            for name in FILES:
                self._fs.put_file(str(folder / name), f"{part}/{name}")
            sums = checksums(Path(part) if self._local else folder)
            if _digest_of(sums) != digest:
                raise CheckFailedError(f"{folder} changed while it was copied: expected the digest {digest[:12]}")
            self._fs.pipe_file(f"{part}/{SUMS}", sums.encode())
            self._move(part, f"{self._root}/{digest}")
        finally:
            if self._fs.exists(part):
                self._fs.rm(part, recursive=True)

    def has(self, digest: str) -> bool:
        """Whether there is such an artifact; a look at the name alone."""
        return bool(self._fs.exists(f"{self._root}/{digest}"))

    def fetch(self, digest: str) -> Path:
        """A local folder with the artifact, checked against its digest.

        Raises:
            CheckFailedError: a file is missing, truncated or changed; says which.
        """
        if self._local:
            _check(Path(self._root) / digest, digest)
            return Path(self._root) / digest
        folder = self._cache / digest
        try:
            _check(folder, digest)
        except CheckFailedError:  # not here yet, or the local copy is damaged
            self._download(digest, folder)
            _check(folder, digest)
        return folder

    def delete(self, digest: str) -> None:
        """Remove the artifact; nothing happens when there is none."""
        if self.has(digest):
            self._fs.rm(f"{self._root}/{digest}", recursive=True)

    def _holds(self, folder: Path, digest: str) -> bool:
        if not self.has(digest):
            return False
        if not self._local:
            kept = {name: f"{self._root}/{digest}/{name}" for name in FILES}
            return all(
                self._fs.exists(path) and self._fs.size(path) == (folder / name).stat().st_size
                for name, path in kept.items()
            )
        try:
            _check(Path(self._root) / digest, digest)
        except CheckFailedError:
            return False
        return True

    def _move(self, part: str, target: str) -> None:
        if not self._local:
            self._fs.mv(part, target, recursive=True)
            return
        try:
            Path(part).rename(target)
        except OSError:  # another process put the same artifact there meanwhile
            if not Path(target).is_dir():
                raise

    def _download(self, digest: str, folder: Path) -> None:
        part = self._cache / f".part-{uuid.uuid4().hex}"
        part.mkdir(parents=True)
        try:
            for name in (*FILES, SUMS):
                self._fs.get_file(f"{self._root}/{digest}/{name}", str(part / name))
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        except FileNotFoundError as error:
            raise CheckFailedError(f"the artifact {digest[:12]} is not whole in the store: {error}") from None
        except OSError:  # another process downloaded the same artifact meanwhile
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _check(folder: Path, digest: str) -> None:
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise CheckFailedError(
            f"the artifact {digest[:12]} has no {missing[0]} (expected in {folder})",
            hint="restore the folder from a backup, or delete this version and register the adapter anew",
        )
    found = checksums(folder)
    if _digest_of(found) != digest:
        raise CheckFailedError(
            f"the artifact {digest[:12]} was changed: {_changed(folder, found, digest)} in {folder}",
            hint="restore the folder from a backup, or delete this version and register the adapter anew",
        )


def _changed(folder: Path, found: str, digest: str) -> str:
    """Which file is not what it was, as far as the checksums that lie beside them can be trusted."""
    written = (folder / SUMS).read_text(encoding="utf-8") if (folder / SUMS).is_file() else ""
    if _digest_of(written) != digest:
        return f"{' or '.join(FILES)} (and {SUMS})"
    [(before, now), *_] = [
        pair for pair in zip(written.splitlines(), found.splitlines(), strict=True) if pair[0] != pair[1]
    ]
    name = now.split()[1]
    size = (folder / name).stat().st_size
    return f"{name} ({size} bytes): expected SHA-256 {before[:12]}, found {now[:12]}"


def _digest_of(sums: str) -> str:
    return hashlib.sha256(sums.encode()).hexdigest()
