"""Anthropic's messages: what their blocks of text say, and a notice in the last of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from locum.serve.event_stream import data_of, written
from locum.serve.notice_formats import Missing, mark

_APPENDABLE = frozenset({"end_turn", "max_tokens", "stop_sequence"})


class _Block(msgspec.Struct):
    type: str = ""


class _MessageDelta(msgspec.Struct):
    text: str | None = None
    stop_reason: str | None = None


class _MessageEvent(msgspec.Struct):
    type: str = ""
    index: int = 0
    content_block: _Block | None = None
    delta: _MessageDelta | None = None


_message_event = msgspec.json.Decoder(_MessageEvent)


class Messages:
    """A message of Anthropic's API, or its events. The end of a block of text is held back until the next event."""

    def __init__(self, notices: Missing) -> None:
        self._notices = notices
        self._parts: list[str] = []
        self._calls = False
        self._block = ""
        self._held: tuple[int, bytes] | None = None

    def whole(self, answer: Any) -> bool:
        texts = [block for block in answer["content"] if block["type"] == "text"]
        calls = any(block["type"] == "tool_use" for block in answer["content"])
        notice = self._decide([block["text"] for block in texts], calls=calls, reason=answer.get("stop_reason"))
        if notice:
            texts[-1]["text"] += notice
            answer["locum"] = mark(notice)
        return bool(notice)

    def event(self, event: bytes) -> bytes:
        data = data_of(event)
        if not data:  # a comment
            return event
        read = _message_event.decode(data)
        if read.content_block is not None:
            self._block = read.content_block.type
            self._calls |= self._block == "tool_use"
        elif read.type == "content_block_delta" and read.delta is not None:
            self._parts.append(read.delta.text or "")
        elif read.type == "content_block_stop" and self._block == "text":
            released = self.flush()
            self._held = (read.index, event)
            return released
        elif read.type == "message_delta":
            return self._ended(read.delta.stop_reason if read.delta else None) + event
        return self.flush() + event

    def flush(self) -> bytes:
        held, self._held = self._held, None
        return held[1] if held else b""

    def _ended(self, reason: str | None) -> bytes:
        notice = self._decide(self._parts, calls=self._calls or self._held is None, reason=reason)
        if not notice or self._held is None:
            return self.flush()
        delta = {"type": "text_delta", "text": notice}
        content = {"type": "content_block_delta", "index": self._held[0], "delta": delta, "locum": mark(notice)}
        return written(content, name="content_block_delta") + self.flush()

    def _decide(self, parts: Iterable[str], *, calls: bool, reason: str | None) -> str:
        return self._notices.missing("".join(parts), appendable=not calls and reason in _APPENDABLE)
