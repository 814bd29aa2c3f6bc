"""Who answers at the port while vLLM starts: 503 with `Retry-After`, in the format of OpenAI's errors."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from locum.errors import UnavailableError

RETRY_SECONDS = 10
NAME = "locum-standby"
CHUNK = 1 << 16


class Standby:
    """Answers at a listening socket that is another process' too. `reason` is what it says vLLM waits for."""

    def __init__(self, listener: socket.socket) -> None:
        self.reason = "starting"
        self._listener = listener
        self._server: ThreadingHTTPServer | None = None
        self._line: socket.socket | None = None
        self._change = threading.Lock()

    def start(self, reason: str) -> socket.socket:
        """Answer until `take_over` is called with the returned socket, by whom it has been passed on to."""
        self.reason = reason
        mine, theirs = socket.socketpair()
        with self._change:
            self._line = mine
            if self._server is None:
                self._server = _server(self)
                self._server.socket.close()
                self._server.socket = self._listener
                threading.Thread(target=self._server.serve_forever, args=(0.05,), name=NAME, daemon=True).start()
        threading.Thread(target=self._hand_over, args=(mine,), name=f"{NAME}-line", daemon=True).start()
        return theirs

    def stop(self) -> None:
        """Accept no more connections; those that are there get their answer."""
        with self._change:
            self._stop()

    def _hand_over(self, line: socket.socket) -> None:
        with line:
            if not line.recv(1):
                return  # that process has ended
            with self._change:
                if self._line is line:  # else the next process is starting already
                    self._stop()
            with contextlib.suppress(BrokenPipeError):
                line.send(b".")

    def _stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None


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


def _server(standby: Standby) -> ThreadingHTTPServer:
    class Answer(BaseHTTPRequestHandler):
        server_version = NAME
        sys_version = ""
        timeout = 10

        def answer(self) -> None:
            left = int(self.headers.get("content-length") or 0)
            while left > 0 and (read := self.rfile.read(min(left, CHUNK))):  # else the client sees a reset connection
                left -= len(read)
            if self.path.partition("?")[0] == "/ready":
                content: dict[str, object] = {"ready": False, "waiting_for": standby.reason}
            else:
                message = f"The server is starting ({standby.reason}). Try again in {RETRY_SECONDS} seconds."
                content = {"error": {"message": message, "type": "ServiceUnavailableError", "param": None, "code": 503}}
            body = json.dumps(content).encode()
            self.send_response(503)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.send_header("retry-after", str(RETRY_SECONDS))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):  # whatever the method
                return self.answer
            raise AttributeError(name)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: vLLM has the log."""

    return ThreadingHTTPServer(("", 0), Answer, bind_and_activate=False)
