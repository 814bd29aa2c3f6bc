"""Server-sent events in a body that arrives in pieces: cut into whole ones, read, and written as vLLM writes them."""

from __future__ import annotations

import re
from typing import Any

import msgspec

_END = re.compile(rb"\r?\n\r?\n")


class Events:
    """Cuts the pieces of a body into whole events. They are the bytes that arrived, their blank lines included."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The events that end in this piece."""
        self._rest += piece
        events, start = [], 0
        for end in _END.finditer(self._rest):
            events.append(self._rest[start : end.end()])
            start = end.end()
        self._rest = self._rest[start:]
        return events

    def rest(self) -> bytes:
        """What came after the last whole event."""
        rest, self._rest = self._rest, b""
        return rest


def data_of(event: bytes) -> bytes:
    """An event's data; nothing for a comment."""
    lines = (line.removeprefix(b"data:") for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(lines).strip()


def written(content: dict[str, Any], *, name: str | None = None) -> bytes:
    """An event with this JSON, and with a name where its API names events."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + msgspec.json.encode(content) + b"\n\n"
