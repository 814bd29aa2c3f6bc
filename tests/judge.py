"""A judge at the network's edge: an HTTP server that speaks chat completions, as some judge model elsewhere would.

It judges by rule: the more words of the reference an answer has, the better. It reads only what its prompt's fences
hold, so a prompt that is built wrong is judged wrong.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "judge-7b"


class FakeJudge:
    """Grades and compares by the words that an answer shares with its reference.

    `next` are replies to be given first: a status, or what the model says. `always` is what it says else, if anything.
    `bias` is added to the share of the first place: 1 prefers it whatever it says. What `refuses` names is answered
    with 400 where a request has it.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.next: list[int | str] = []
        self.always: int | str | None = None
        self.bias = 0.0
        self.refuses: set[str] = set()
        self.key: str | None = None
        self.finish_reason = "stop"
        self._lock = threading.Lock()
        judge = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # headers and body in one packet: in two, each answer would wait for an acknowledgement

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = judge._answer(body, self.headers.get("Authorization"))
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    @property
    def materials(self) -> list[list[tuple[str, str]]]:
        """The pieces between fences, request by request."""
        return [pieces_of(request["messages"][1]["content"]) for request in self.requests]

    def _answer(self, body: dict[str, Any], authorization: str | None) -> tuple[int, dict[str, Any]]:
        with self._lock:
            self.requests.append(body)
            self.keys.append(authorization)
            if self.key is not None and authorization != f"Bearer {self.key}":
                return 401, _error("the key is wrong")
            if body["model"] != MODEL:
                return 404, _error(f"there is no model {body['model']}")
            for name in sorted(self.refuses & body.keys()):
                return 400, _error(f"{name} is not supported")
            said = self.next.pop(0) if self.next else self.always
        if said is None:
            said = self._verdict(body)
        if isinstance(said, int):
            return said, _error("out of order")
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        return 200, {"object": "chat.completion", "model": f"{MODEL}-0101", "choices": [choice], "usage": usage}

    def _verdict(self, body: dict[str, Any]) -> str:
        system, user = (message["content"] for message in body["messages"][:2])
        pieces = dict(pieces_of(user))
        if "answer" in pieces:
            grade = 1 + round(4 * share(pieces["answer"], pieces["reference"]))
            dimensions = re.findall(r"\((accuracy|relevance|completeness|helpfulness|safety)\)", system)
            return json.dumps({"reason": f"worth a {grade}", **dict.fromkeys(dimensions, grade)})
        first, second = (share(pieces[name], pieces["reference"]) for name in ("answer-A", "answer-B"))
        first += self.bias
        return json.dumps({"reason": "by words", "winner": "A" if first > second else "B" if second > first else "tie"})


def pieces_of(user: str) -> list[tuple[str, str]]:
    """What stands between the fences of a prompt, by their names."""
    mark = re.search(r"[0-9a-f]{16}", user)
    assert mark is not None, user
    return re.findall(rf"^<([\w-]+) {mark[0]}>\n(.*?)\n</\1 {mark[0]}>$", user, re.DOTALL | re.MULTILINE)


def share(answer: str, reference: str) -> float:
    """Which share of the reference's words the answer has, a Chinese character being a word."""
    words = Counter(re.findall(r"[a-z]+|[\u4e00-\u9fff]", reference.lower()))
    found = Counter(re.findall(r"[a-z]+|[\u4e00-\u9fff]", answer.lower()))
    return (words & found).total() / max(1, words.total())


@contextmanager
def judging() -> Iterator[FakeJudge]:
    """A judge that answers until the block ends."""
    judge = FakeJudge()
    thread = threading.Thread(target=judge.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield judge
    finally:
        judge.server.shutdown()
        thread.join()
        judge.server.server_close()


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "BadRequestError"}}
