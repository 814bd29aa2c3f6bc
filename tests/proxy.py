"""A company's proxy: an HTTP server that notes what it is asked for, and says that it cannot be had."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@contextmanager
def company_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The URLs that a proxy is asked for, which the environment names without an exception until the block ends."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def note(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(404, "not by this proxy")
            self.send_header("content-length", "0")
            self.end_headers()

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):  # whatever the method
                return self.note
            raise AttributeError(name)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    with monkeypatch.context() as environment:
        for name in VARIABLES:
            environment.setenv(name, f"http://127.0.0.1:{server.server_address[1]}")
        for name in ("NO_PROXY", "no_proxy"):
            environment.delenv(name, raising=False)
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def ipv6_loopback() -> bool:
    """Whether this machine has `::1`: containers often have not."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
