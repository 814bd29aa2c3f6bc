"""Tell an engine that hangs from one that is busy, and end it, so that the server is started again.

A step over a long prompt can keep an engine on a CPU from answering for minutes, but not without computing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from locum.errors import UnavailableError

if TYPE_CHECKING:
    from locum.serve.engine import Engine

logger = logging.getLogger("vllm.locum.watchdog")

PING_SECONDS = 5  # between an answer and the next question
HANGS_SECONDS = 30  # without an answer and without work
LIMIT_SECONDS = 1800  # without an answer, whatever the engine does
IDLE_SHARE = 0.01  # of one core, at most, that an engine uses which does nothing


class EngineHangsError(UnavailableError):
    """The engine's process lives, and neither answers nor works."""


@dataclass(frozen=True)
class Sample:
    """What the engine's processes do, all of them together: seconds of CPU so far, and what state one of them is in."""

    cpu_seconds: float
    stopped: bool
    waits_for_disk: bool


async def end_when_it_hangs(engine: Engine) -> None:
    """Watch the engine for as long as it lives, and kill it when it hangs."""
    while not engine.dead:
        await asyncio.sleep(PING_SECONDS)
        try:
            await _answer(engine)
        except EngineHangsError:
            logger.exception("engine_hangs: it is ended")
            engine.kill()


async def _answer(engine: Engine) -> None:
    """Wait for the engine's answer to a question that costs it nothing.

    Seconds are counted, not measured: this process may itself have been stopped for a while, or the whole machine.

    Raises:
        EngineHangsError: none will come; says why.
    """
    answer = asyncio.ensure_future(engine.answers())
    processes = engine.processes()
    samples: deque[Sample] = deque(maxlen=HANGS_SECONDS + 1)
    for seconds in range(LIMIT_SECONDS):
        samples.append(_sample(processes))
        if processes and len(samples) > HANGS_SECONDS and (reason := why_it_hangs(samples)):
            raise EngineHangsError(f"the engine has not answered for {seconds} seconds and {reason}")
        done, _ = await asyncio.wait({answer}, timeout=1)
        if done:
            return
    raise EngineHangsError(f"the engine has not answered for {LIMIT_SECONDS} seconds")


def why_it_hangs(samples: Sequence[Sample]) -> str | None:
    """Why an engine hangs of which these were the samples, one a second, since it last answered; None if it is busy."""
    if all(sample.stopped for sample in samples):
        return "one of its processes is stopped"
    used = samples[-1].cpu_seconds - samples[0].cpu_seconds
    if used < IDLE_SHARE * (len(samples) - 1) and not any(sample.waits_for_disk for sample in samples):
        return f"its processes used {used:.2f} seconds of CPU in the last {len(samples) - 1}"
    return None


def _sample(processes: Sequence[psutil.Process]) -> Sample:
    seconds = 0.0
    states = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess), process.oneshot():
            times = process.cpu_times()
            seconds += times.user + times.system
            states.add(process.status())
    stopped = bool(states & {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP})
    return Sample(seconds, stopped, psutil.STATUS_DISK_SLEEP in states)
