"""What the server process writes: kept in files of a bounded size, and read for what it is doing and why it ended."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from io import FileIO
from itertools import pairwise
from pathlib import Path

FILE_BYTES = 32 * 1024 * 1024
OLDER_FILES = 4
TAIL_BYTES = 256 * 1024
OVERLAP_BYTES = 256
PIPE_BYTES = 1024 * 1024
CHUNK = 1 << 16
RETRY_SECONDS = 10.0
JOIN_SECONDS = 5.0
# What vLLM's log says, and what it means to somebody who waits; the latest stage first.
STAGES = (
    (re.compile(r"Application startup complete"), "opening the port"),
    (re.compile(r"Starting vLLM server on|Supported tasks"), "setting up the routes"),
    (re.compile(r"init engine|KV cache size|CPU KV cache"), "making room for keys and values"),
    (re.compile(r"Warming up model for the compilation"), "compiling the model for this CPU"),
    (re.compile(r"Loading weights took|Model loading took"), "preparing the adapter slots"),
    (re.compile(r"Starting to load model|Loading safetensors"), "loading the base model"),
    (re.compile(r"Initializing a V1 LLM engine|EngineCore"), "starting the engine"),
    (re.compile(r"compiling Locum's CPU kernels"), "compiling Locum's kernels for this CPU (later starts reuse them)"),
)
FIRST_STAGE = "importing vLLM"
LOG_PREFIX = re.compile(r"^(\([\w-]+ pid=\d+\) )?(ERROR [\d-]+ [\d:]+ \[[^]]*\] )?")
EXCEPTION = re.compile(r"[\w.]*(Error|Exception)\b: ")


class ServerLog:
    """The log of a server and of those that are started in its place.

    It never stands in the server's way: what cannot be written is dropped, which `say` is told once, and again when it
    can be written. The last of it stays in memory, so that a full disk does not hide why a server ended.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self.path = path
        self._say = say
        self._file: FileIO | None = None
        self._size = 0
        self._problem: str | None = None
        self._retry_at = 0.0
        self._tail = bytearray()
        self._stage = len(STAGES)
        self._reader: threading.Thread | None = None
        self._change = threading.Lock()

    @contextlib.contextmanager
    def output(self) -> Iterator[int]:
        """The descriptor that a new process writes to. What the one before has written is moved aside."""
        with self._change:
            self._tail.clear()
            self._stage = len(STAGES)
            self._open(room=0)
        reading, writing = os.pipe()
        with contextlib.suppress(OSError):  # else it is smaller
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._reader = threading.Thread(target=self._read, args=(reading,), name="locum-server-log", daemon=True)
        self._reader.start()
        try:
            yield writing
        finally:
            os.close(writing)

    def finish(self) -> None:
        """Wait until all is read that a server wrote which has ended."""
        if self._reader is not None:
            self._reader.join(JOIN_SECONDS)

    @property
    def stage(self) -> str:
        """What the server is doing until it is ready."""
        return STAGES[self._stage][1] if self._stage < len(STAGES) else FIRST_STAGE

    def complaint(self) -> str:
        """What a server that has ended says of its end, and where the rest is."""
        rest = f"all of it is in {self.path}" if self._problem is None else f"{self.path}: {self._problem}"
        return f"{complaint_in(self._tail.decode(errors='replace'))} ({rest})"

    def _read(self, descriptor: int) -> None:
        with FileIO(descriptor) as pipe:
            while chunk := pipe.read(CHUNK):
                with self._change:
                    self._take(chunk)

    def _take(self, chunk: bytes) -> None:
        self._tail += chunk
        if len(self._tail) > 2 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]
        recent = self._tail[-len(chunk) - OVERLAP_BYTES :].decode(errors="replace")
        later = enumerate(STAGES[: self._stage])
        self._stage = next((index for index, (pattern, _) in later if pattern.search(recent)), self._stage)
        self._write(chunk)

    def _write(self, chunk: bytes) -> None:
        full = self._size + len(chunk) > FILE_BYTES
        if full if self._file is not None else time.monotonic() >= self._retry_at:
            self._open(room=FILE_BYTES - len(chunk))
        if self._file is None:
            return
        try:
            self._size += self._file.write(chunk)
        except OSError as error:
            self._fail(error)
            return
        if self._problem is not None:
            self._problem = None
            self._tell(f"The server's log is written to {self.path} again.")

    def _open(self, *, room: int) -> None:
        """Open the file at its end, a new one if it has more than `room` bytes."""
        if self._file is not None:
            self._file.close()
            self._file = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size > room:
                self._rotate()
            self._file = FileIO(self.path, "ab")
            self._size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            self._fail(error)

    def _rotate(self) -> None:
        files = [self.path, *(self.path.with_name(f"{self.path.name}.{n + 1}") for n in range(OLDER_FILES))]
        for newer, older in reversed([*pairwise(files)]):
            if newer.exists():
                newer.replace(older)

    def _fail(self, error: OSError) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._retry_at = time.monotonic() + RETRY_SECONDS
        if self._problem is None:
            self._problem = f"it cannot be written: {error.strerror}"
            self._tell(
                f"The server's log {self.path} cannot be written: {error.strerror}. The server goes on without it; "
                f"Locum tries again every {RETRY_SECONDS:.0f} seconds. With --verbose the log is shown here instead."
            )

    def _tell(self, message: str) -> None:
        # who reads the terminal may have left, which rich takes for a reason to end the program
        with contextlib.suppress(OSError, ValueError, SystemExit):
            self._say(message)


def complaint_in(log: str) -> str:
    """The line of a log that says why its process ended."""
    lines = [LOG_PREFIX.sub("", line).strip() for line in _plain(log).splitlines()]
    errors = [line for line in lines if EXCEPTION.match(line)]
    # the first exception is the cause; each process that depends on the one that failed adds its own after it
    return errors[0] if errors else next(filter(None, reversed(lines)), "it said nothing")


def _plain(log: str) -> str:
    """A log as text: with `--log-format json` its messages, and the exceptions that they are about."""

    def plain(line: str) -> str:
        try:
            entry = json.loads(line) if line.startswith("{") else None
        except ValueError:
            entry = None
        return f"{entry.get('message', '')}\n{entry.get('exc_info', '')}" if isinstance(entry, dict) else line

    return "\n".join(plain(line) for line in log.splitlines())
