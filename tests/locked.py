"""A process that keeps everybody out of a registry."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The lock of SQLite's readers and writers in WAL mode, as its own recovery takes it: bytes 120 to 127 of the -shm file.
HOLD = """
import fcntl, sys, time
file, hold, leave = open(sys.argv[1] + "-shm", "r+b"), float(sys.argv[2]), float(sys.argv[3])
while True:
    fcntl.lockf(file, fcntl.LOCK_EX, 8, 120)
    print("held", flush=True)
    time.sleep(hold)
    fcntl.lockf(file, fcntl.LOCK_UN, 8, 120)
    time.sleep(leave)
"""


@contextmanager
def locked(database: Path, *, hold: float = 600, leave: float = 0) -> Iterator[None]:
    """Another process keeps everybody out of it for `hold` seconds, lets them in for `leave`, and so on."""
    command = [sys.executable, "-c", HOLD, str(database), str(hold), str(leave)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield
        finally:
            holder.kill()
