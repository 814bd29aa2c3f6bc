"""What a connection may cost before its request is understood: real uvicorn, real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from locum.serve import http_protocol
from locum.serve.http_protocol import BoundedHttp


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that wants no body, or waits for all of it if the path says so."""
    while scope["path"] == "/body":
        message = await receive()
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"no"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    for name in ("HEAD_SECONDS", "MESSAGE_SECONDS", "UNWANTED_SECONDS"):
        monkeypatch.setattr(http_protocol, name, 0.2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(refusing, http=BoundedHttp, ws="none", lifespan="off", log_level="critical")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def said_until_closed(port: int, sent: bytes) -> bytes:
    """What the server answers before it closes the connection, which stays open on this side."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(sent)
        answer = b""
        while part := client.recv(1 << 16):
            answer += part
    return answer


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ", b"HTTP/1.1 408 "),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000, b"HTTP/1.1 431 "),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nhalf", b"HTTP/1.1 401 "),
        (b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nhalf", b""),
        (b"POST /body HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", b""),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: abc\r\n\r\n", b"HTTP/1.1 400 "),
    ],
)
def test_what_does_not_become_a_request_ends(port: int, sent: bytes, answer: bytes) -> None:
    assert said_until_closed(port, sent).startswith(answer)


def test_a_request_that_is_whole_is_answered_and_so_is_the_next(port: int) -> None:
    request = b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"
    assert said_until_closed(port, request + request).count(b"HTTP/1.1 401 ") == 2
