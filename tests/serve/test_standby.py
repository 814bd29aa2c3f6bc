"""The standby answers until somebody takes the port over, and tells whoever is left alone."""

from __future__ import annotations

import socket
import subprocess
import sys

import httpx
import pytest

from locum.errors import UnavailableError
from locum.serve.launcher import _listen
from locum.serve.standby import Standby, take_over
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
