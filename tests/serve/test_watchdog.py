"""An engine that hangs is told from one that is busy."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.serve import watchdog
from locum.serve.watchdog import IDLE_SHARE, EngineHangsError, Sample, why_it_hangs

BUSY = "print(flush=True)\nwhile True: pass"
IDLE = "import time; print(flush=True)\nwhile True: time.sleep(60)"


def samples_of(
    used: list[float], *, stopped: list[bool] | None = None, waiting: list[bool] | None = None
) -> list[Sample]:
    """Samples of an engine that uses so many seconds of CPU in each second."""
    nothing = [False] * (len(used) + 1)
    return [
        Sample(sum(used[:second]), (stopped or nothing)[second], (waiting or nothing)[second])
        for second in range(len(used) + 1)
    ]


seconds_of_work = st.lists(st.floats(0, 4), min_size=1, max_size=60)


@given(seconds_of_work, st.data())
def test_an_engine_that_works_is_never_taken_for_hung_unless_stopped_all_the_time(
    used: list[float], data: st.DataObject
) -> None:
    used[data.draw(st.integers(0, len(used) - 1))] += 0.01 + IDLE_SHARE * len(used)
    stopped = data.draw(st.lists(st.booleans(), min_size=len(used) + 1, max_size=len(used) + 1))
    assert (why_it_hangs(samples_of(used, stopped=stopped)) is not None) == all(stopped)


@given(st.integers(1, 60), st.data())
def test_an_engine_that_waits_for_a_disk_is_not_taken_for_hung(seconds: int, data: st.DataObject) -> None:
    waiting = [False] * (seconds + 1)
    waiting[data.draw(st.integers(0, seconds))] = True
    assert why_it_hangs(samples_of([0.0] * seconds, waiting=waiting)) is None


@given(st.integers(1, 60), st.floats(0, IDLE_SHARE * 0.9))
def test_an_engine_that_does_not_work_hangs(seconds: int, used: float) -> None:
    assert "of CPU in the last" in (why_it_hangs(samples_of([used] * seconds)) or "")


@dataclass(frozen=True)
class Unanswering:
    """An engine of real processes, which does not answer."""

    own: list[psutil.Process]

    async def answers(self) -> None:
        await asyncio.Event().wait()

    def processes(self) -> list[psutil.Process]:
        return self.own


@contextmanager
def running(script: str) -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # what starting it costs is over
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (IDLE, r"has not answered for 2 seconds and its processes used 0\.0\d seconds of CPU in the last 2"),
        (BUSY, r"has not answered for 4 seconds$"),
    ],
)
async def test_a_process_that_does_nothing_is_found_soon_and_one_that_computes_at_the_limit(
    script: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "HANGS_SECONDS", 2)
    monkeypatch.setattr(watchdog, "LIMIT_SECONDS", 4)
    with running(script) as process, pytest.raises(EngineHangsError, match=reason):
        await watchdog._answer(Unanswering([process]))  # type: ignore[arg-type]


async def test_a_stopped_process_is_found_even_beside_one_that_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "HANGS_SECONDS", 2)
    with running(IDLE) as stopped, running(BUSY) as busy:
        stopped.suspend()
        with pytest.raises(EngineHangsError, match=r"for \d+ seconds and one of its processes is stopped"):
            await watchdog._answer(Unanswering([stopped, busy]))  # type: ignore[arg-type]
