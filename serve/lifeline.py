"""The server ends with its launcher, however that ends.

The launcher holds one end of a pair of sockets and the server's process the other. When the launcher is no more, its
end is closed, and the kernel kills the process group of the server: whatever the API server and the engine are doing
at that moment, importing, computing or hanging.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket

from locum.errors import UnavailableError

LIFELINE = "LOCUM_LIFELINE"  # names the descriptor of the server's end


def tie(line: socket.socket) -> None:
    """Let this process group end when the other end of the line is closed.

    Raises:
        UnavailableError: it is closed already.
    """
    fcntl.fcntl(line, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(line, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(line, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        if not line.recv(1):
            raise UnavailableError("the launcher has ended")
    line.detach()  # it stays open as long as this process, and those that it forks
