"""A teacher at the network's edge."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from tests.chat import FakeModel

MODEL = "teacher-7b"


class FakeTeacher(FakeModel):
    """Writes as many items as it is asked for, from a hash of what it is told; or says what `reply` does."""

    def __init__(self) -> None:
        super().__init__(MODEL)
        self.reply: Callable[[str, str], str | int] = items_for
        self.structured = True

    @property
    def asked(self) -> list[str]:
        """What it was told about, request by request."""
        return [request["messages"][1]["content"] for request in self.requests]

    def refuses_to(self, body: dict[str, Any], authorization: str | None) -> tuple[int, str] | None:
        if "response_format" in body and not self.structured:
            return 400, "response_format is not supported"
        return None

    def says(self, body: dict[str, Any]) -> int | str:
        system, user = (message["content"] for message in body["messages"])
        return self.reply(system, user)


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


def teaching() -> AbstractContextManager[FakeTeacher]:
    """A teacher that answers until the block ends."""
    return FakeTeacher().answering()
