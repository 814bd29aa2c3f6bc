"""A model at the network's edge: an HTTP server that speaks chat completions, as some model elsewhere would."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class FakeModel:
    """Answers as `says` decides, to requests for `model`; what it was asked is in `requests` and `keys`.

    `next` are answers to be given first: a status, or what the model says. `answers_as` is the model that it names.
    """

    def __init__(self, model: str, *, answers_as: str | None = None) -> None:
        self.model, self.answers_as = model, answers_as or model
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.next: list[int | str] = []
        self.finish_reason = "stop"
        self._lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # headers and body in one packet: in two, each answer would wait for an acknowledgement

            def do_GET(self) -> None:
                self._send(200, {"object": "list", "data": [{"id": model, "object": "model"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._send(*fake._answer(body, self.headers.get("Authorization")))

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

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def says(self, body: dict[str, Any]) -> int | str:
        """What it answers to a request: a status, or text."""
        raise NotImplementedError

    def refuses_to(self, body: dict[str, Any], authorization: str | None) -> tuple[int, str] | None:
        """The status and the sentence by which it refuses a request; none if it takes it."""
        return None

    @contextmanager
    def answering(self) -> Iterator[Self]:
        """It answers until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def _answer(self, body: dict[str, Any], authorization: str | None) -> tuple[int, dict[str, Any]]:
        with self._lock:
            self.requests.append(body)
            self.keys.append(authorization)
            if body["model"] != self.model:
                return 404, _error(f"there is no model {body['model']}")
            if refusal := self.refuses_to(body, authorization):
                return refusal[0], _error(refusal[1])
            said = self.next.pop(0) if self.next else self.says(body)
        if isinstance(said, int):
            return said, _error("out of order")
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        given = {"id": "1", "object": "chat.completion", "created": 1, "model": self.answers_as}
        return 200, {**given, "choices": [choice], "usage": usage}


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "BadRequestError"}}
