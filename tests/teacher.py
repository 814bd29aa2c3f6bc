"""A teacher at the network's edge: an HTTP server that speaks chat completions, as some model elsewhere would."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "teacher-7b"


class FakeTeacher:
    """Writes as many items as it is asked for, from a hash of what it is told.

    `next` are answers to be given first: a status, or what the model says. `reply` says what to answer else.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.next: list[int | str] = []
        self.reply: Callable[[str, str], str | int] = items_for
        self.structured = True
        self.finish_reason = "stop"
        self._lock = threading.Lock()
        teacher = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = teacher._answer(body, self.headers.get("Authorization"))
                self._send(status, answer)

            def _send(self, status: int, answer: dict[str, Any]) -> None:
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("retry-after-ms", "1")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    @property
    def asked(self) -> list[str]:
        """What it was told about, request by request."""
        return [request["messages"][1]["content"] for request in self.requests]

    def _answer(self, body: dict[str, Any], key: str | None) -> tuple[int, dict[str, Any]]:
        with self._lock:
            self.requests.append(body)
            self.keys.append(key)
            if body["model"] != MODEL:
                return 404, _error(f"there is no model {body['model']}")
            if "response_format" in body and not self.structured:
                return 400, _error("response_format is not supported")
            system, user = (message["content"] for message in body["messages"])
            said = self.next.pop(0) if self.next else self.reply(system, user)
        if isinstance(said, int):
            return said, _error("out of order")
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return 200, {"id": "1", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice]}


def items_for(system: str, user: str) -> str:
    """As many items as the prompt asks for, with the fields that it asks for."""
    found = re.search(r"\b(?:Write|in|question in|answer in) (\d+) ", system)
    assert found is not None, system
    fields = re.findall(r'"(question|answer)": "…"', system)
    mark = hashlib.sha256(f"{system}{user}".encode()).hexdigest()[:12]
    items = [
        {name: f"{name} {mark} {number}, {' '.join(mark * 2)}" for name in fields} for number in range(int(found[1]))
    ]
    return json.dumps({"items": items})


@contextmanager
def teaching() -> Iterator[FakeTeacher]:
    """A teacher that answers until the block ends."""
    teacher = FakeTeacher()
    thread = threading.Thread(target=teacher.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield teacher
    finally:
        teacher.server.shutdown()
        thread.join()
        teacher.server.server_close()


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "BadRequestError"}}
