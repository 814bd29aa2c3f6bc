"""What `locum chat` shows of what a model says, whatever that is."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.commands.conftest import Ran


class _Rude(BaseHTTPRequestHandler):
    """A model that clears the screen, and turns what follows round."""

    says = "a\x1b[2Jb\u202ec\nd"

    def do_POST(self) -> None:  # the name that http.server calls
        self.rfile.read(int(self.headers["content-length"]))
        chunk = {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "rude",
            "choices": [{"index": 0, "delta": {"content": self.says}, "finish_reason": "stop"}],
        }
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def rude() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Rude)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_a_model_says_is_no_command_to_the_terminal(locum: Callable[..., Ran], rude: str) -> None:
    ran = locum("chat", "rude", "Well?", "--endpoint", rude)
    assert (ran.code, ran.out) == (0, "a␛[2Jb[U+202E]c\nd\n")


def test_a_notice_that_the_answer_has_is_not_said_again(
    locum: Callable[..., Ran], rude: str, domain_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert locum("chat", "legal", "Well?", "--endpoint", rude).err.splitlines() == ["rude", "This is a test."]
    monkeypatch.setattr(_Rude, "says", "Well. this is a TEST")
    assert locum("chat", "legal", "Well?", "--endpoint", rude).err.splitlines() == ["rude"]
