"""The log of a server stays small, and a folder that cannot be written to neither stops nor slows the server."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.serve import server_log
from locum.serve.server_log import FIRST_STAGE, OLDER_FILES, ServerLog

LARGE = """
for number in range(100_000):
    print(f"INFO request {number} {'x' * 80}")
raise MemoryError("no room")
"""


def run(log: ServerLog, code: str) -> int:
    """Let a process write to the log until it ends; returns its exit code."""
    with log.output() as output:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=output, stderr=output)
    ended = process.wait(120)
    log.finish()
    return ended


def test_a_log_of_any_size_is_kept_in_files_of_a_bounded_size_and_its_end_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_log, "FILE_BYTES", 1 << 20)
    log = ServerLog(tmp_path / "logs" / "serve.log", pytest.fail)
    assert run(log, LARGE) == 1
    files = sorted(path.name for path in log.path.parent.iterdir())
    assert files == ["serve.log", *(f"serve.log.{n + 1}" for n in range(OLDER_FILES))]
    assert all(path.stat().st_size <= 1 << 20 for path in log.path.parent.iterdir())
    assert log.path.read_text().endswith("MemoryError: no room\n")
    assert "request 99999 " in log.path.read_text() + log.path.with_name("serve.log.1").read_text()
    assert len(log._tail) <= 2 * server_log.TAIL_BYTES
    assert log.complaint() == f"MemoryError: no room (all of it is in {log.path})"


@given(chunks=st.lists(st.binary(min_size=1, max_size=60)))
def test_the_files_are_bounded_and_hold_the_end_of_what_was_written(chunks: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_log, "FILE_BYTES", 100)
        patch.setattr(server_log, "TAIL_BYTES", 50)
        log = ServerLog(Path(folder) / "serve.log", pytest.fail)
        for chunk in chunks:
            log._take(chunk)
        suffixes = [*(f".{n + 1}" for n in reversed(range(OLDER_FILES))), ""]
        files = [path for suffix in suffixes if (path := log.path.with_name(f"serve.log{suffix}")).exists()]
        kept = b"".join(path.read_bytes() for path in files)
        assert all(path.stat().st_size <= 100 for path in files)
        assert b"".join(chunks).endswith(kept)
        assert len(kept) == len(b"".join(chunks)) or len(files) == 1 + OLDER_FILES
        assert b"".join(chunks).endswith(log._tail) and len(log._tail) <= 100


def test_each_start_has_a_file_of_its_own(tmp_path: Path) -> None:
    log = ServerLog(tmp_path / "serve.log", pytest.fail)
    for number in range(3):
        run(log, f"print({number})")
    texts = [log.path.with_name(f"serve.log{suffix}").read_text() for suffix in ("", ".1", ".2")]
    assert texts == ["2\n", "1\n", "0\n"]


def blocked_by_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.touch()


def that_cannot_be_rotated(path: Path) -> None:
    for suffix in ("", *(f".{n + 1}" for n in range(OLDER_FILES - 1))):
        path.with_name(f"{path.name}{suffix}").write_text("what an earlier start said")
    path.with_name(f"{path.name}.{OLDER_FILES}").mkdir()


def on_a_full_disk(path: Path) -> None:
    path.symlink_to("/dev/full")


FAULTS = [blocked_by_a_file, that_cannot_be_rotated, on_a_full_disk]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_log_that_cannot_be_written_stops_no_server_and_hides_no_complaint(
    tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    said: list[str] = []
    log = ServerLog(tmp_path / "logs" / "serve.log", said.append)
    log.path.parent.mkdir()
    fault(log.path)
    for _ in range(2):
        assert run(log, "print('Starting to load model', flush=True); raise MemoryError('no room')") == 1
    [warning] = said
    assert f"The server's log {log.path} cannot be written: " in warning
    assert log.stage == "loading the base model"
    assert log.complaint().startswith(f"MemoryError: no room ({log.path}: it cannot be written: ")


def test_a_log_that_can_be_written_again_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_log, "RETRY_SECONDS", 0)
    said: list[str] = []
    log = ServerLog(tmp_path / "serve.log", said.append)
    on_a_full_disk(log.path)
    assert run(log, "print('lost')") == 0
    log.path.unlink()
    assert run(log, "print('kept')") == 0
    assert log.path.read_text() == "kept\n"
    assert said[1:] == [f"The server's log is written to {log.path} again."]


def test_the_stage_is_the_latest_that_was_reached_in_this_start(tmp_path: Path) -> None:
    log = ServerLog(tmp_path / "serve.log", pytest.fail)
    assert log.stage == FIRST_STAGE
    run(log, "print('Loading weights took 1 s'); print('Starting to load model')")
    assert log.stage == "preparing the adapter slots"
    run(log, "pass")
    assert log.stage == FIRST_STAGE
