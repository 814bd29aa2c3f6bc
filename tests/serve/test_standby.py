"""The standby answers until somebody takes the port over, and tells whoever is left alone."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from locum.errors import UnavailableError
from locum.serve import standby as standby_module
from locum.serve.launcher import _listen
from locum.serve.standby import HEAD_BYTES, Standby, take_over
from tests.conftest import free_port


def test_after_the_port_was_taken_over_the_standby_answers_nobody() -> None:
    listener = _listen("127.0.0.1", port := free_port())
    standby = Standby(listener)
    url = f"http://127.0.0.1:{port}/ready"
    line = standby.start("starting")
    assert httpx.get(url, timeout=60).json() == {"ready": False, "waiting_for": "starting"}
    take_over(line)
    with pytest.raises(httpx.TimeoutException):  # it waits for whoever accepts it
        httpx.get(url, timeout=1)
    standby.stop()
    again = standby.start("starting again")
    assert httpx.get(url, timeout=60).json()["waiting_for"] == "starting again"
    standby.stop()
    again.close()
    listener.close()


def test_a_process_that_ends_late_does_not_take_the_port_from_the_next_one() -> None:
    listener = _listen("127.0.0.1", port := free_port())
    standby = Standby(listener)
    first = standby.start("starting")
    second = standby.start("starting again")
    take_over(first)
    assert httpx.get(f"http://127.0.0.1:{port}/ready", timeout=60).status_code == 503
    take_over(second)
    listener.close()


def test_a_server_whose_launcher_has_ended_does_not_start() -> None:
    mine, theirs = socket.socketpair()
    script = "import socket, sys, time; line = socket.socket(fileno=int(sys.argv[1])); time.sleep(0.2)"
    with subprocess.Popen([sys.executable, "-c", script, str(mine.fileno())], pass_fds=[mine.fileno()]):
        mine.close()
        with pytest.raises(UnavailableError, match="the launcher has ended"):
            take_over(theirs)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where a standby answers."""
    with _listen("127.0.0.1", port := free_port()) as listener:
        standby = Standby(listener)
        with standby.start("starting"):
            yield port
        standby.stop()


def said(port: int, request: bytes) -> bytes:
    """All that the standby says before it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while received := client.recv(1 << 16):
                answer += received
    return answer


POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
REQUESTS = {
    "a body": (POST + b"content-length: 2\r\n\r\n{}", 503),
    "a body of chunks": (POST + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 503),
    "a body that waits to be asked for": (POST + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n", 503),
    "a body that ends early": (POST + b"content-length: 2000\r\n\r\n{", 503),
    "a wrong chunk": (POST + b"transfer-encoding: chunked\r\n\r\nxyz\r\n", 503),
    "HTTP/1.0": (b"GET /ready HTTP/1.0\r\n\r\n", 503),
    "HEAD": (b"HEAD /ready HTTP/1.1\r\nhost: x\r\n\r\n", 503),
    "another method": (b"BREW /pot HTTP/1.1\r\nhost: x\r\n\r\n", 503),
    "a tunnel": (b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n", 503),
    "a length that is no number": (POST + b"content-length: abc\r\n\r\n", 400),
    "a negative length": (POST + b"content-length: -1\r\n\r\n", 400),
    "two lengths": (POST + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}", 400),
    "an unknown coding": (POST + b"transfer-encoding: gzip\r\n\r\n", 501),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "a giant head": (POST + b"x: " + b"x" * 2 * HEAD_BYTES, 431),
    "a head that ends early": (POST, 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 503),
    "TLS": (bytes.fromhex("16030100e0010000dc0303") + bytes(range(200)), 400),
    "nothing": (b"", None),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_whatever_comes_to_the_port_is_answered_or_closed(port: int, case: str) -> None:
    request, status = REQUESTS[case]
    head, _, body = said(port, request).partition(b"\r\n\r\n")
    if status is None:
        assert head == b""
        return
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    assert (b"retry-after: 10" in head) == (status == 503)
    assert b"connection: close" in head.lower()
    if case == "HEAD":
        assert body == b""
    else:
        content = json.loads(body)
        assert content.get("ready") is False or content["error"]["code"] == status


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: POST + rest))
def test_no_bytes_stop_the_standby(port: int, request: bytes) -> None:
    answer = said(port, request)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
    assert said(port, REQUESTS["HTTP/1.0"][0]).startswith(b"HTTP/1.1 503 ")


def test_who_sends_a_body_slowly_has_its_answer_before_the_end_of_it(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(POST + b"content-length: 100\r\n\r\n{")
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 503 ")
        client.sendall(b" " * 99)
        assert client.recv(1) == b""


@pytest.mark.parametrize("request_", [b"", b"GET /rea", POST + b"content-length: 100\r\n\r\n"])
def test_a_connection_that_is_held_is_closed_after_a_while_and_no_thread_stays(
    port: int, request_: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby_module, "CONNECTION_SECONDS", 0.1)
    before = threading.active_count()
    with contextlib.ExitStack() as held:
        clients = [held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)) for _ in range(20)]
        for client in clients:
            client.sendall(request_)
        assert threading.active_count() == before
        for client in clients:
            while client.recv(1 << 16):
                pass


FLOODED = """
import os, resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from locum.serve.launcher import _listen
from locum.serve.standby import Standby
standby = Standby(_listen("127.0.0.1", int(sys.argv[1])))
line = standby.start("starting again")
print("up", flush=True)
for _ in sys.stdin:
    subprocess.run([sys.executable, "-c", "print('started')"], check=True)
"""


def test_more_held_connections_than_descriptors_keep_nobody_from_an_answer_nor_the_launcher_from_a_start() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/ready"
    command = [sys.executable, "-uc", FLOODED, str(port)]
    with (
        contextlib.ExitStack() as held,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "up\n"
        for _ in range(600):
            client = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            client.sendall(POST)
        assert httpx.get(url, timeout=60).json()["waiting_for"] == "starting again"
        process.stdin.write("start\n")
        process.stdin.flush()
        assert process.stdout.readline() == "started\n"
        assert httpx.get(url, timeout=60).status_code == 503
        process.stdin.close()
