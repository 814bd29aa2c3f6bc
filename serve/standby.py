"""Who answers at the port while vLLM starts: 503 with `Retry-After`, in the format of OpenAI's errors.

One thread holds all connections, a bounded number of them and each for a bounded time, so that nothing that comes to
the port keeps the launcher from starting the server again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import threading
from collections.abc import Coroutine
from functools import partial
from http import HTTPStatus
from typing import Any

import h11

from locum.errors import UnavailableError

RETRY_SECONDS = 10
NAME = "locum-standby"
CONNECTIONS = 512  # at the same time; for one more, the oldest is closed
CONNECTION_SECONDS = 30.0  # for head, answer and body together
HEAD_BYTES = 64 * 1024
BODY_BYTES = 64 * 1024 * 1024
PAUSE_SECONDS = 0.1  # until the next attempt to accept where the system has no descriptor left
CHUNK = 1 << 16


class Standby:
    """Answers at a listening socket that is another process' too. `reason` is what it says vLLM waits for."""

    def __init__(self, listener: socket.socket) -> None:
        self.reason = "starting"
        self._listener = listener
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._line: socket.socket | None = None
        self._accepting = False
        self._connections: dict[asyncio.Task[None], None] = {}  # the oldest first
        # the rest of the launcher needs descriptors, too, not least to start the server again
        self._limit = min(CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)

    def start(self, reason: str) -> socket.socket:
        """Answer until `take_over` is called with the returned socket, by whom it has been passed on to."""
        self.reason = reason
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop.run_forever, name=NAME, daemon=True)
            self._thread.start()
        mine, theirs = socket.socketpair()
        mine.setblocking(False)
        self._run(self._begin(mine))
        return theirs

    def stop(self) -> None:
        """Accept no more connections; those that are there get their answer."""
        if self._thread is not None:
            self._run(self._stop())

    def _run(self, action: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(action, self._loop).result()

    async def _begin(self, line: socket.socket) -> None:
        self._line = line
        self._loop.add_reader(line, self._hand_over, line)
        self._accepting = True
        self._loop.add_reader(self._listener, self._accept)

    async def _stop(self) -> None:
        self._leave()

    def _leave(self) -> None:
        self._accepting = False
        self._loop.remove_reader(self._listener)

    def _hand_over(self, line: socket.socket) -> None:
        self._loop.remove_reader(line)
        with line, contextlib.suppress(ConnectionError):
            if not line.recv(1):
                return  # that process has ended
            if self._line is line:  # else the next process is starting already
                self._leave()
            line.send(b".")

    def _accept(self) -> None:
        """Accept one connection; the loop comes back as long as more are waiting."""
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):  # vLLM has accepted it, or it is gone
            return
        except OSError:  # no descriptor or no memory left
            self._close_oldest()
            self._loop.remove_reader(self._listener)
            self._loop.call_later(PAUSE_SECONDS, self._resume)
            return
        if len(self._connections) >= self._limit:
            self._close_oldest()
        client.setblocking(False)
        connection = self._loop.create_task(_answer(client, self.reason))
        self._connections[connection] = None
        connection.add_done_callback(partial(self._ended, client))

    def _ended(self, client: socket.socket, connection: asyncio.Task[None]) -> None:
        client.close()
        self._connections.pop(connection, None)

    def _resume(self) -> None:
        if self._accepting:
            self._loop.add_reader(self._listener, self._accept)

    def _close_oldest(self) -> None:
        if self._connections:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.cancel()


def take_over(line: socket.socket) -> None:
    """Ask the standby to leave the port; returns when it has, so that whoever is told "ready" is answered from then on.

    Connections that come before anybody else accepts them wait.

    Raises:
        UnavailableError: the launcher has ended, perhaps while it started this very process, which nobody would stop.
    """
    left = b""
    with line, contextlib.suppress(ConnectionError):
        line.send(b".")
        left = line.recv(1)
    if not left:
        raise UnavailableError("the launcher has ended")


async def _answer(client: socket.socket, reason: str) -> None:
    """Answer one request; returns when its connection can be closed, or has been open for too long."""
    with contextlib.suppress(OSError):  # the client is gone, or it is late
        async with asyncio.timeout(CONNECTION_SECONDS):
            http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
            try:
                await _exchange(http, client, reason)
            except h11.RemoteProtocolError as error:
                if http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:  # else it has its answer
                    status = error.error_status_hint
                    await _send(http, client, status, _error(status, "The request is not valid HTTP."))
            client.shutdown(socket.SHUT_WR)
            await _discard(client)  # closing a socket with something unread resets it, and the answer may be lost


async def _exchange(http: h11.Connection, client: socket.socket, reason: str) -> None:
    """Answer as soon as the head is there, and read the body to its end, as clients send theirs whole before they read.

    Raises:
        h11.RemoteProtocolError: it is not HTTP.
    """
    received = 0
    while received <= HEAD_BYTES + BODY_BYTES:
        event = http.next_event()
        if event is h11.NEED_DATA:
            data = await asyncio.get_running_loop().sock_recv(client, CHUNK)
            received += len(data)
            http.receive_data(data)
        elif isinstance(event, h11.Request):
            await _send(http, client, 503, _waiting(event.target, reason), method=event.method)
        elif not isinstance(event, h11.Data):  # the request has ended, or the connection
            return


async def _send(
    http: h11.Connection, client: socket.socket, status: int, content: dict[str, Any], *, method: bytes = b"GET"
) -> None:
    body = json.dumps(content).encode()
    headers = [("server", NAME), ("content-type", "application/json"), ("content-length", str(len(body)))]
    headers += [("connection", "close")] + ([("retry-after", str(RETRY_SECONDS))] if status == 503 else [])
    answer = http.send(h11.Response(status_code=status, reason=HTTPStatus(status).phrase, headers=headers)) or b""
    await asyncio.get_running_loop().sock_sendall(client, answer if method == b"HEAD" else answer + body)


async def _discard(client: socket.socket) -> None:
    left = BODY_BYTES
    while left > 0 and (data := await asyncio.get_running_loop().sock_recv(client, CHUNK)):
        left -= len(data)


def _waiting(target: bytes, reason: str) -> dict[str, Any]:
    if target.partition(b"?")[0] == b"/ready":
        return {"ready": False, "waiting_for": reason}
    return _error(503, f"The server is starting ({reason}). Try again in {RETRY_SECONDS} seconds.")


def _error(code: int, message: str) -> dict[str, Any]:
    kind = "ServiceUnavailableError" if code == 503 else "BadRequestError"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
