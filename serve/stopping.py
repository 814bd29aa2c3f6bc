"""Stop gently: let nobody in any more, wait for the requests that run, and only then let vLLM close.

vLLM by itself ends what its request handlers need first, and answers whoever comes after that with a 500.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from locum.errors import UnavailableError

if TYPE_CHECKING:
    from starlette.datastructures import State

logger = logging.getLogger("vllm.locum.stopping")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
CLOSE_SECONDS = 5  # that answers have to reach their clients when no request runs any more
WAITING_FOR = "running requests, then stops"  # what `/ready` says meanwhile


class StoppingError(UnavailableError):
    """The server lets running requests finish and takes no new ones."""

    def __init__(self) -> None:
        super().__init__("the server is stopping and takes no new requests")

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        """With what makes the client open another connection, perhaps to another server."""
        return {**super().headers, "connection": "close"}


class Drain:
    """Which requests run, and whether new ones are let in."""

    def __init__(self) -> None:
        self.stopping = False
        self.running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """A request while it runs.

        Raises:
            StoppingError: the server takes no new requests, or has cut this one off.
        """
        if self.stopping:
            raise StoppingError
        self.running += 1
        self._idle.clear()
        try:
            yield
        except asyncio.CancelledError:
            if self.stopping:
                raise StoppingError from None
            raise
        finally:
            self.running -= 1
            if not self.running:
                self._idle.set()

    async def finish(self, *, timeout: float) -> bool:
        """Wait until no request runs, for up to `timeout` seconds; says whether that is so."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout)
        return not self.running


def stop_on_signals(state: State) -> None:
    """From now on SIGTERM and SIGINT stop the server gently, in the place of vLLM's handlers."""
    loop = asyncio.get_running_loop()
    drain = state.locum.drain
    stop: asyncio.Task[None] | None = None

    def begin() -> None:
        nonlocal stop
        drain.stopping = True
        stop = stop or loop.create_task(_stop(state))

    for each in SIGNALS:
        loop.add_signal_handler(each, begin)


async def _stop(state: State) -> None:
    drain, engine = state.locum.drain, state.locum.swap.engine
    seconds = engine.shutdown_seconds
    logger.info("stopping: %d requests have up to %d seconds to finish", drain.running, seconds)
    if not await drain.finish(timeout=seconds):
        logger.warning("stopping: %d requests have not finished and are cut off", drain.running)
        engine.kill()
        await drain.finish(timeout=CLOSE_SECONDS)
    state.server.config.timeout_graceful_shutdown = CLOSE_SECONDS
    state.server.should_exit = True  # uvicorn closes the port and the connections; then vLLM ends its engine
