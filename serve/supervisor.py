"""Start a server again that ended by itself, and give up on one that keeps ending."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from locum.errors import UnavailableError
from locum.serve import launcher
from locum.serve.launcher import Server

RESTARTS = 5
WINDOW_SECONDS = 1800
BACKOFF_SECONDS = (0, 1, 5, 15, 30)


def supervise(server: Server, say: Callable[[str], None]) -> None:
    """Keep the server up until the caller is interrupted; its port answers 503 while it is down.

    Raises:
        UnavailableError: it ended for the sixth time within half an hour; says why.
    """
    ends: deque[float] = deque()
    cause = _end(server)
    while True:
        ended = time.monotonic()
        ends.append(ended)
        while ends[0] < ended - WINDOW_SECONDS:
            ends.popleft()
        if len(ends) > RESTARTS:
            raise UnavailableError(
                f"the server ended {len(ends)} times within {WINDOW_SECONDS // 60} minutes and is given up; "
                f"the last time: {cause}"
            )
        say(f"The server ended by itself: {cause}. It is started again ({len(ends)} of at most {RESTARTS} times).")
        time.sleep(BACKOFF_SECONDS[len(ends) - 1])
        try:
            launcher.restart(server)
            launcher.wait_until_ready(server, lambda reason: None)
        except UnavailableError as error:
            cause = str(error)
            continue
        say(f"Ready again after {time.monotonic() - ended:.0f} s.")
        cause = _end(server)


def _end(server: Server) -> str:
    """Wait for the server's end, and end what is left of it; says what the log complains of."""
    code = server.process.wait()
    launcher.end(server)
    return f"code {code}, {launcher.last_complaint(server)}"
