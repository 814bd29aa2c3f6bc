"""Artifacts by their digest, behind fsspec: a local folder by default, an object store by URL."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Any

from locum.errors import CheckFailedError

FILES = ("adapter_config.json", "adapter_model.safetensors")


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of an artifact."""
    found = {}
    for name in FILES:
        with (folder / name).open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def artifact_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of an artifact's files: what an adapter version is known by."""
    listing = "".join(f"{digest}  {name}\n" for name, digest in sorted(file_digests(folder).items()))
    return hashlib.sha256(listing.encode()).hexdigest()


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
        """Keep the artifact in `folder` under its digest; nothing to do when it is there and whole."""
        target = f"{self._root}/{digest}"
        if self._fs.exists(target):
            try:
                self.fetch(digest)
                return
            except CheckFailedError:
                self._fs.rm(target, recursive=True)
        part = f"{self._root}/.part-{uuid.uuid4().hex}"
        self._fs.makedirs(part, exist_ok=True)
        for name in FILES:
            self._fs.put_file(str(folder / name), f"{part}/{name}")
        self._fs.mv(part, target, recursive=True)

    def fetch(self, digest: str) -> Path:
        """A local folder with the artifact, checked against its digest.

        Raises:
            CheckFailedError: a file is missing, truncated or changed.
        """
        folder = Path(self._root) / digest if self._local else self._cache / digest
        if not self._local and not folder.is_dir():
            part = self._cache / f".part-{uuid.uuid4().hex}"
            part.mkdir(parents=True)
            for name in FILES:
                self._fs.get_file(f"{self._root}/{digest}/{name}", str(part / name))
            part.rename(folder)
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise CheckFailedError(f"the artifact {digest[:12]} has no {missing[0]} (expected in {folder})")
        found = artifact_digest(folder)
        if found != digest:
            size = (folder / FILES[1]).stat().st_size
            raise CheckFailedError(
                f"the artifact {digest[:12]} was changed: adapter_config.json and adapter_model.safetensors "
                f"({size} bytes) in {folder} give the digest {found[:12]}",
                hint="restore the folder from a backup, or delete this version and register the adapter anew",
            )
        return folder

    def delete(self, digest: str) -> None:
        """Remove the artifact; nothing happens when there is none."""
        if self._fs.exists(f"{self._root}/{digest}"):
            self._fs.rm(f"{self._root}/{digest}", recursive=True)
