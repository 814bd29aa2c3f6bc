"""Responses: what their messages say, and a notice on which all events agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from locum.serve.event_stream import data_of, written
from locum.serve.notice_formats import Missing, mark

_TEXT_ITEMS = frozenset({"message", "reasoning"})


class _Item(msgspec.Struct):
    type: str = ""


class _ResponseEvent(msgspec.Struct):
    type: str = ""
    delta: str = ""
    item: _Item | None = None


_response_event = msgspec.json.Decoder(_ResponseEvent)


class Responses:
    """A response, or its events. What ends a message is held back until it is clear that no tool is called after it."""

    def __init__(self, notices: Missing) -> None:
        self._notices = notices
        self._parts: list[str] = []
        self._calls = False
        self._held: list[bytes] = []

    def whole(self, answer: Any) -> bool:
        parts = [part for item in answer["output"] if item["type"] == "message" for part in _texts(item)]
        calls = any(item["type"] not in _TEXT_ITEMS for item in answer["output"])
        notice = self._decide([part["text"] for part in parts], calls=calls, status=answer["status"])
        if notice:
            parts[-1]["text"] += notice
            answer["locum"] = mark(notice)
        return bool(notice)

    def event(self, event: bytes) -> bytes:
        data = data_of(event)
        if not data:  # a comment
            return event
        read = _response_event.decode(data)
        if read.type == "response.output_text.delta":
            self._parts.append(read.delta)
        elif read.item is not None and read.item.type not in _TEXT_ITEMS:
            self._calls = True
        ends_a_part = read.type in {"response.content_part.done", "response.output_item.done"}
        if read.type == "response.output_text.done" or (self._held and ends_a_part):
            self._held.append(event)
            return b""
        if read.type in {"response.completed", "response.incomplete"}:
            return self._completed(event)
        return self.flush() + event

    def flush(self) -> bytes:
        held, self._held = b"".join(self._held), []
        return held

    def _completed(self, event: bytes) -> bytes:
        last = msgspec.json.decode(data_of(event))
        calls = self._calls or not self._held  # without a message at its end there is nothing to append to
        notice = self._decide(self._parts, calls=calls, status=last["response"]["status"])
        if not notice:
            return self.flush() + event
        ends = [msgspec.json.decode(data_of(held)) for held in self._held]
        self._held = []
        where = {name: ends[0][name] for name in ("item_id", "output_index", "content_index", "sequence_number")}
        delta = {"type": "response.output_text.delta", **where, "delta": notice, "logprobs": [], "locum": mark(notice)}
        for each in (*ends, last):
            each["sequence_number"] += 1
            _append_to_end(each, where["item_id"], notice)
        return b"".join(written(each, name=each["type"]) for each in (delta, *ends, last))

    def _decide(self, parts: list[str], *, calls: bool, status: str) -> str:
        appendable = not calls and status in {"completed", "incomplete"}
        return self._notices.missing("".join(parts), appendable=appendable)


def _append_to_end(event: dict[str, Any], item_id: str, notice: str) -> None:
    """One of the events that repeat a message's text, with the notice after it."""
    if "text" in event:
        event["text"] += notice
    elif "part" in event:
        event["part"]["text"] += notice
    elif "item" in event:
        _texts(event["item"])[-1]["text"] += notice
    else:
        event["response"]["locum"] = mark(notice)
        [message] = [item for item in event["response"]["output"] if item.get("id") == item_id]
        _texts(message)[-1]["text"] += notice


def _texts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [part for part in message["content"] if part["type"] == "output_text"]
