"""A judge at the network's edge.

It judges by rule: the more words of the reference an answer has, the better. It reads only what its prompt's fences
hold, so a prompt that is built wrong is judged wrong.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import AbstractContextManager
from typing import Any

from tests.chat import FakeModel

MODEL = "judge-7b"


class FakeJudge(FakeModel):
    """Grades and compares by the words that an answer shares with its reference.

    `always` is what it says instead, if anything. `bias` is added to the share of the first place: 1 prefers it
    whatever it says. What `refuses` names is answered with 400 where a request has it. `key` is the only one it takes.
    """

    def __init__(self) -> None:
        super().__init__(MODEL, answers_as=f"{MODEL}-0101")
        self.always: int | str | None = None
        self.bias = 0.0
        self.refuses: set[str] = set()
        self.key: str | None = None

    @property
    def materials(self) -> list[list[tuple[str, str]]]:
        """The pieces between fences, request by request."""
        return [pieces_of(request["messages"][1]["content"]) for request in self.requests]

    def refuses_to(self, body: dict[str, Any], authorization: str | None) -> tuple[int, str] | None:
        if self.key is not None and authorization != f"Bearer {self.key}":
            return 401, "the key is wrong"
        return next(((400, f"{name} is not supported") for name in sorted(self.refuses & body.keys())), None)

    def says(self, body: dict[str, Any]) -> int | str:
        return self._verdict(body) if self.always is None else self.always

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


def judging() -> AbstractContextManager[FakeJudge]:
    """A judge that answers until the block ends."""
    return FakeJudge().answering()
