"""Where files lie: beside the card, in buckets, on hubs; found by pattern, and opened, by fsspec."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from locum.errors import LocumError, NotFoundError, UnavailableError

BUFFER = 1 << 16
WORKBOOKS = (".xlsx", ".xlsm", ".xltx", ".xltm", ".ods", ".xls", ".xlsb")


def expand(folder: Path, files: Sequence[str]) -> list[str]:
    """The locations that a card's `files` name: patterns are matched, in `folder` where they are no URLs.

    Raises:
        NotFoundError: a file or pattern matches nothing.
        UnavailableError: the place that a URL's pattern is about does not answer, or needs a package.
    """
    found: list[str] = []
    for name in files:
        path, sheet = without_sheet(name)
        if "://" in name:
            found += [match + sheet for match in (_matching(path) if set("*[") & set(path) else [path])]
            continue
        root = Path("/") if Path(path).is_absolute() else folder
        matches = sorted(str(match) for match in root.glob(path.lstrip("/")))
        if not matches:
            raise NotFoundError(f"there is no file {folder / path}")
        found += [match + sheet for match in matches]
    return list(dict.fromkeys(found))


def _matching(url: str) -> list[str]:
    with _explained(url):
        system, path = _system(url)
        found = [str(system.unstrip_protocol(match)) for match in sorted(system.glob(path))]
        if not found:
            raise NotFoundError(f"there is no file {url}")
        return found


def state(location: str) -> str:
    """What is different when a file has changed, as far as the place that it lies in can tell."""
    path, _ = without_sheet(location)
    with _explained(path):
        system, inside = _system(path)
        return str(system.ukey(inside))


def size(location: str) -> int | None:
    """Bytes of a file, where the place that it lies in says so."""
    path, _ = without_sheet(location)
    with _explained(path):
        system, inside = _system(path)
        found = system.size(inside)
        return None if found is None else int(found)


def without_sheet(location: str) -> tuple[str, str]:
    """A file, and with its mark the sheet of it that a location names."""
    path, mark, sheet = location.rpartition("#")
    return (path, mark + sheet) if mark and path.lower().endswith(WORKBOOKS) else (location, "")


def _system(path: str) -> tuple[Any, str]:
    """The file system that a path lies in, and what it is called there; files are as they are, not as once listed."""
    import fsspec

    system, inside = fsspec.core.url_to_fs(path, use_listings_cache=False)
    return system, str(inside)


class Raw(io.RawIOBase):
    """A file, wherever it lies: tells how far it was read, and what its place says when it does not answer."""

    def __init__(self, file: IO[bytes], path: str, size: int | None) -> None:
        self._file, self._path, self._size = file, path, size

    @property
    def share(self) -> float:
        return self._file.tell() / self._size if self._size else 0.0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def readinto(self, buffer: Any) -> int:
        with _explained(self._path):
            found = self._file.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


@contextmanager
def opened(path: str) -> Iterator[tuple[Raw, IO[bytes]]]:
    """A file as it lies there, and what to read from it: unpacked.

    Raises:
        NotFoundError: there is no such file.
        UnavailableError: its place does not answer, now or while it is read, or needs a package.
    """
    if "://" not in path and not Path(path).is_file():
        raise NotFoundError(f"there is no file {path}")
    with _explained(path):
        system, inside = _system(path)
        file = system.open(inside, "rb")
    with file:
        raw = Raw(file, path, getattr(file, "size", None))
        buffered = io.BufferedReader(raw, BUFFER)
        is_packed = buffered.peek(2)[:2] == b"\x1f\x8b"  # by what it is: downloads lose and keep the name's .gz
        yield raw, gzip.GzipFile(fileobj=buffered) if is_packed else buffered  # type: ignore[misc]


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except LocumError:
        raise
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}") from None
    except ImportError as error:
        extra = "pip install 'locum[s3]'" if path.startswith(("s3://", "s3a://")) else None
        raise UnavailableError(f"{path} needs a package that is not installed: {error}", hint=extra) from error
    except Exception as error:  # each kind of store has errors of its own
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise UnavailableError(f"{path} cannot be read: {reason}", hint=_hint(path, reason)) from error


def _hint(path: str, reason: str) -> str | None:
    """What to look at when a place does not answer."""
    if "OfflineModeIsEnabled" in reason or "offline mode" in reason:
        return "unset HF_HUB_OFFLINE, or name a copy of the file that is on this machine"
    if path.startswith(("s3://", "s3a://")):
        return "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL say whom and where it is asked"
    return "check the address and the network" if "://" in path else None
