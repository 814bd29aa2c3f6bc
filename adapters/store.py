"""Artifacts by their digest, behind fsspec: a local folder by default, an object store by URL."""

from __future__ import annotations

import errno
import hashlib
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from locum.adapters.owners import Owners
from locum.errors import BadInputError, CheckFailedError, DiskFullError, LocumError, StoreError

FILES = ("adapter_config.json", "adapter_model.safetensors")
SUMS = "SHA256SUMS"  # as sha256sum writes and checks it; its own SHA-256 is the artifact's digest
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
S3 = ("s3://", "s3a://")
KEYS = "is the bucket there, and do AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL fit it?"
PART = ".part-"  # what is being written; the name goes on with the time of its beginning
PART_SECONDS = 24 * 3600  # no process writes for longer: a part older than this belongs to one that was killed


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
        """`cache` holds local copies of artifacts from a remote store; a local store is served in place.

        Raises:
            StoreError: it needs a package that is not installed.
            BadInputError: it is of no kind that there is.
        """
        import fsspec

        self._fs: Any
        self._root: str
        try:
            # what other processes put there is seen at once
            self._fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise StoreError(
                f"the artifact store {url} needs a package that is not installed: {error}",
                hint="pip install 'locum[s3]'" if url.startswith(S3) else None,
            ) from error
        except ValueError as error:
            raise BadInputError(
                f"the artifact store {url} is of no kind that there is: {error}",
                hint="the setting `artifacts` names a folder, or a URL such as s3://bucket/artifacts",
            ) from error
        self._is_bucket = url.startswith(S3)
        self._local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))
        self._cache = cache
        self._owners = Owners(self._fs, self._root, has_folders=not self._is_bucket)

    @property
    def root(self) -> str:
        """Where it is: a folder, or a bucket and the path in it."""
        return self._root

    def claim(self, digest: str, owner: str) -> None:
        """Mark the artifact as this registry's, before it is put in its place; under the registry's lock.

        Raises:
            UnavailableError: another registry is removing the artifact.
        """
        with self._explained():
            self._owners.claim(digest, owner, is_there=lambda: self.has(digest))

    def owners(self, digest: str) -> set[str]:
        """The registries that hold this artifact, and `UNKNOWN` where others may."""
        with self._explained():
            return self._owners.of(digest)

    @contextmanager
    def staged(self, folder: Path, digest: str) -> Iterator[Callable[[], None]]:
        """Copy the artifact in `folder` next to its place; the block calls what it is given to put it there.

        The copy takes its time. Putting it in its place is short and replaces what is damaged there, so it is done
        under the registry's lock: nobody takes away what another has just put there. Nothing is copied when the
        artifact is there and whole.

        Raises:
            CheckFailedError: `folder` changed since its digest was taken.
            DiskFullError: there is no room.
            StoreError: the store does not answer.
        """
        part = f"{self._root}/{part_name()}"

        def place() -> None:
            with self._explained():
                if not self._holds(folder, digest):
                    if not self._fs.exists(part):  # it was there when we looked, and was deleted or damaged meanwhile
                        self._copy(folder, part, digest)
                    self._replace(part, f"{self._root}/{digest}")

        try:
            with self._explained():
                if not self._holds(folder, digest):
                    self._copy(folder, part, digest)
            yield place
        finally:
            with suppress(Exception):  # what cannot be removed now is swept; nothing hides why it came to this
                if self._fs.exists(part):
                    self._fs.rm(part, recursive=True)

    def put(self, folder: Path, digest: str) -> None:
        """Keep the artifact in `folder` under its digest; for one process at a time.

        Raises:
            CheckFailedError: `folder` changed since its digest was taken.
        """
        with self.staged(folder, digest) as place:
            place()

    def has(self, digest: str) -> bool:
        """Whether there is such an artifact; a look at the name alone."""
        with self._explained():
            return bool(self._fs.exists(f"{self._root}/{digest}"))

    def fetch(self, digest: str) -> Path:
        """A local folder with the artifact, checked against its digest.

        Raises:
            CheckFailedError: a file is missing, truncated or changed; says which.
            DiskFullError: there is no room for a copy.
            StoreError: the store does not answer.
        """
        if self._local:
            if not Path(self._root).is_dir():
                raise StoreError(f"the artifact store {self._root} is not there")
            _check(Path(self._root) / digest, digest)
            return Path(self._root) / digest
        folder = self._cache / digest
        try:
            _check(folder, digest)
        except CheckFailedError:  # not here yet, or the local copy is damaged
            with self._explained():
                self._download(digest, folder)
            _check(folder, digest)
        return folder

    def delete(self, digest: str) -> None:
        """Remove the artifact, whoever holds it; nothing happens when there is none."""
        while self.has(digest):
            with self._explained(), suppress(FileNotFoundError):  # another registry removes it at the same time
                self._fs.rm(f"{self._root}/{digest}", recursive=True)

    def sweep(self, owner: str, *, wanted: Collection[str], unwanted: Collection[str]) -> None:
        """Mark the artifacts that this registry's versions need, give up those that none needs any more, and remove
        what processes that were killed left half written; under the registry's lock.

        Raises:
            StoreError: the store does not answer, or is not there.
        """
        with self._explained():
            if not self._fs.exists(self._root):
                if wanted:
                    raise StoreError(f"the artifact store {self._root} is not there")
                return
            names = {path.rstrip("/").rsplit("/", 1)[-1] for path in self._fs.ls(self._root, detail=False)}
            for name in filter(_is_abandoned, names):
                self._fs.rm(f"{self._root}/{name}", recursive=True)
            self._owners.adopt(wanted, owner, there=names)
            self._owners.release(unwanted, owner, remove=self.delete)

    def _holds(self, folder: Path, digest: str) -> bool:
        if not self.has(digest):
            return False
        if not self._local:
            try:
                return all(
                    self._fs.size(f"{self._root}/{digest}/{name}") == (folder / name).stat().st_size for name in FILES
                )
            except FileNotFoundError:
                return False
        try:
            _check(Path(self._root) / digest, digest)
        except CheckFailedError:
            return False
        return True

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except LocumError:
            raise
        except Exception as error:  # each kind of store has errors of its own
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                raise DiskFullError(f"there is no room for the artifact: {error}") from error
            reason = str(error) or type(error).__name__
            raise StoreError(
                f"the artifact store {self._root} does not answer: {reason}", hint=KEYS if self._is_bucket else None
            ) from error

    def _copy(self, folder: Path, part: str, digest: str) -> None:
        self._make_folder(part)
        for name in FILES:
            self._fs.put_file(str(folder / name), f"{part}/{name}")
        sums = checksums(Path(part) if self._local else folder)
        if _digest_of(sums) != digest:
            raise CheckFailedError(f"{folder} changed while it was copied: expected the digest {digest[:12]}")
        self._fs.pipe_file(f"{part}/{SUMS}", sums.encode())

    def _make_folder(self, path: str) -> None:
        if not self._is_bucket:  # which has no folders; asked for one, it would be made itself where there is none
            self._fs.makedirs(path)

    def _replace(self, part: str, target: str) -> None:
        """Another registry may put the same artifact there at the same time, so what is there is mended file by file:
        at no time is less there than before."""
        if not self._local:
            if not self._fs.exists(target):
                self._make_folder(target)
            for name in (*FILES, SUMS):  # each by itself: a bucket holds files, and no folder that could be moved
                self._fs.cp_file(f"{part}/{name}", f"{target}/{name}")
            return
        try:
            Path(part).rename(target)
        except OSError:  # there is something already
            for name in (*FILES, SUMS):
                (Path(part) / name).replace(Path(target) / name)

    def _download(self, digest: str, folder: Path) -> None:
        part = self._cache / part_name()
        part.mkdir(parents=True)
        try:
            for name in (*FILES, SUMS):
                self._fs.get_file(f"{self._root}/{digest}/{name}", str(part / name))
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        except FileNotFoundError as error:
            if self._is_bucket and not self._fs.exists(self._root.partition("/")[0]):
                raise  # there is no bucket
            raise CheckFailedError(f"the artifact {digest[:12]} is not whole in the store: {error}") from None
        except OSError:  # another process downloaded the same artifact meanwhile
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
            for left in self._cache.glob(f"{PART}*"):
                if _is_abandoned(left.name):
                    shutil.rmtree(left, ignore_errors=True)


def part_name() -> str:
    """A name for what is not whole yet; what is still called so when it is old is swept."""
    return f"{PART}{int(time.time())}-{uuid.uuid4().hex}"


def _is_abandoned(name: str) -> bool:
    began = name.removeprefix(PART).partition("-")[0]
    return name.startswith(PART) and not (began.isdigit() and time.time() - int(began) < PART_SECONDS)


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
