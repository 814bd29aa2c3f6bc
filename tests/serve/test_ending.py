"""Whatever ends `locum serve`, nothing of its server is left: neither a process nor the port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from locum.adapters.base import pull
from locum.errors import UnavailableError
from locum.serve.launcher import _listen
from locum.settings import Settings
from tests.conftest import environment_of, free_port


@dataclass(frozen=True)
class Starting:
    """A `locum serve` that is not ready yet."""

    process: psutil.Popen
    output: Path
    port: int

    @property
    def api_server(self) -> psutil.Process:
        [found] = [child for child in self.process.children() if "locum.serve.api_server" in child.cmdline()]
        return found

    def engine(self) -> psutil.Process | None:
        return next((child for child in self.process.children(recursive=True) if "EngineCore" in child.name()), None)

    def until(self, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 300
        while not holds():
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.05)

    def says(self, text: str) -> bool:
        return text in self.output.read_text()


@pytest.fixture
def starting(tiny_base: Path, tmp_path: Path) -> Iterator[Starting]:
    """Its log cannot be written, which is no reason not to start."""
    settings = Settings(home=tmp_path / "home", domains=tmp_path, base="tiny-llama", port=free_port(), user="tester")
    pull(str(tiny_base), settings.bases)
    settings.logs.touch()
    output = tmp_path / "serve.out"
    with output.open("wb") as file:
        command = [sys.executable, "-m", "locum", "serve", "--", "--enforce-eager"]
        process = psutil.Popen(command, env=environment_of(settings, "token"), stdout=file, stderr=file)
    started = Starting(process, output, settings.port)
    started.until(lambda: started.says("waiting: ") and process.children())
    yield started
    with suppress(psutil.NoSuchProcess):
        process.terminate()
    process.wait(120)


@contextmanager
def nothing_left_of(starting: Starting) -> Iterator[None]:
    """What happens in the block ends the server and all that belongs to it."""
    group = starting.api_server.pid
    yield
    starting.until(lambda: not members(group))
    starting.until(lambda: is_free(starting.port))


def is_free(port: int) -> bool:
    try:
        _listen("127.0.0.1", port).close()
    except UnavailableError:
        return False
    return True


def members(group: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def test_a_killed_launcher_takes_a_server_with_it_that_imports_vllm(starting: Starting) -> None:
    with nothing_left_of(starting):
        starting.process.kill()


def test_a_killed_launcher_takes_an_engine_with_it_that_hangs(starting: Starting) -> None:
    starting.until(starting.engine)
    with nothing_left_of(starting):
        engine = starting.engine()
        assert engine is not None
        engine.suspend()
        starting.process.kill()


def test_a_second_ctrl_c_ends_at_once_what_the_first_has_not_ended(starting: Starting) -> None:
    with nothing_left_of(starting):
        starting.api_server.suspend()  # so that it would take until the time for stopping is over
        starting.process.send_signal(signal.SIGINT)
        starting.until(lambda: starting.says("Press Ctrl-C again to end at once"))
        for _ in range(3):  # impatient
            starting.process.send_signal(signal.SIGINT)
        assert starting.process.wait(120) == 130
    assert starting.says("Ended at once")
    assert starting.says(f"serve-{starting.port}.log cannot be written: ")
    assert not starting.says("Traceback") and not starting.says("Aborted")


def test_a_server_that_is_started_after_its_launcher_has_ended_does_not_go_on(tmp_path: Path) -> None:
    code = """
import os, socket, sys
from locum.serve.lifeline import tie
mine, theirs = socket.socketpair()
if os.fork():
    os._exit(0)
mine.close()
tie(theirs)
"""
    output = tmp_path / "output"
    with output.open("wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, stderr=file, start_new_session=True, check=True)
    deadline = time.monotonic() + 120
    while "the launcher has ended" not in output.read_text():
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.05)
