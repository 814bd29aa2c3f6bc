"""The answers of each API that vLLM offers: what the model said in them, and where a notice is appended.

A notice is added as one more delta before the end of the answer that lacks it. It is marked with a field `locum`, so
that whoever measures the model can take it out again. Usage and the reason why the answer ended stay the model's own:
the notice was not generated. An answer that cannot be read fails: nobody could say whether it has its notices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from locum.serve.event_stream import data_of, written

_BROKEN_OFF = frozenset({"abort", "error"})
_APPENDABLE = frozenset({"end_turn", "max_tokens", "stop_sequence"})


class Missing(Protocol):
    """Decides what is appended to a finished answer; an empty text for nothing."""

    def missing(self, text: str, *, appendable: bool) -> str: ...


class Format(Protocol):
    """The answer to one request."""

    def whole(self, answer: Any) -> bool:
        """Append to an answer that came in one piece. Returns whether that changed it."""

    def event(self, event: bytes) -> bytes:
        """What goes out in place of one event of a stream: itself, more, or nothing as yet."""

    def flush(self) -> bytes:
        """What was held back, when the stream has ended."""


def mark(notice: str) -> dict[str, str]:
    """What the field `locum` says of an appended notice."""
    return {"notice_appended": notice}


# Chat completions and completions -----------------------------------------------------------------------------------


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[msgspec.Raw] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None

    @property
    def said(self) -> str:
        part = self.delta or self.message
        return (part.content if part else self.text) or ""

    @property
    def calls(self) -> bool:
        part = self.delta or self.message
        return bool(part and part.tool_calls)


class _Choices(msgspec.Struct):
    choices: list[_Choice] = []


_choices = msgspec.json.Decoder(_Choices)


class _Said:
    """What a choice has said so far."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.calls = False


class Choices:
    """Chat completions (`message`, `delta`) and completions (`text`), with several choices each."""

    def __init__(self, notices: Missing) -> None:
        self._notices = notices
        self._said: dict[int, _Said] = {}

    def whole(self, answer: Any) -> bool:
        changed = False
        for choice in answer["choices"]:
            message = choice.get("message")
            text = (message["content"] if message else choice["text"]) or ""
            calls = bool(message and message.get("tool_calls"))
            notice = self._notices.missing(text, appendable=not calls and choice["finish_reason"] not in _BROKEN_OFF)
            if notice:
                (message or choice)["content" if message else "text"] = text + notice
                choice["locum"] = mark(notice)
                changed = True
        return changed

    def event(self, event: bytes) -> bytes:
        data = data_of(event)
        if data in (b"", b"[DONE]"):  # the first: a comment
            return event
        chunk = _choices.decode(data)
        notices = {}
        for choice in chunk.choices:
            said = self._said.setdefault(choice.index, _Said())
            said.parts.append(choice.said)
            said.calls |= choice.calls
            if choice.finish_reason is not None:
                whole = not said.calls and choice.finish_reason not in _BROKEN_OFF
                notices[choice.index] = self._notices.missing("".join(said.parts), appendable=whole)
                said.parts.clear()
        lacking = {index: notice for index, notice in notices.items() if notice}
        return _with_notices(event, lacking) if lacking else event

    def flush(self) -> bytes:
        return b""


def _with_notices(event: bytes, notices: Mapping[int, str]) -> bytes:
    """The last chunk of some choices, with their notices before their ends.

    The last chunk may bring the last words, too: then it is cut in two, and the notice goes between.
    """
    chunk = msgspec.json.decode(data_of(event))
    ending = [choice for choice in chunk["choices"] if choice["index"] in notices]
    appended = written({**chunk, "choices": [_notice(choice, notices[choice["index"]]) for choice in ending]})
    if len(ending) == len(chunk["choices"]) and not any(_speaks(choice) for choice in ending):
        return appended + event
    before = [_unfinished(choice) if choice in ending else choice for choice in chunk["choices"]]
    return (
        written({**chunk, "choices": before})
        + appended
        + written({**chunk, "choices": [_silent(choice) for choice in ending]})
    )


def _speaks(choice: Mapping[str, Any]) -> bool:
    if "delta" in choice:
        return any(choice["delta"].get(name) for name in ("content", "reasoning", "reasoning_content"))
    return bool(choice.get("text"))


def _notice(choice: Mapping[str, Any], notice: str) -> dict[str, Any]:
    said = {"delta": {"content": notice}} if "delta" in choice else {"text": notice}
    return {"index": choice["index"], **said, "logprobs": None, "finish_reason": None, "locum": mark(notice)}


def _unfinished(choice: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in choice.items() if name != "stop_reason"}, "finish_reason": None}


def _silent(choice: Mapping[str, Any]) -> dict[str, Any]:
    said = {"delta": {"content": ""}} if "delta" in choice else {"text": ""}
    end = {name: choice[name] for name in ("finish_reason", "stop_reason") if name in choice}
    return {"index": choice["index"], **said, "logprobs": None, **end}


# Responses ----------------------------------------------------------------------------------------------------------

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


# Anthropic's messages -----------------------------------------------------------------------------------------------


class _MessageDelta(msgspec.Struct):
    text: str | None = None
    stop_reason: str | None = None


class _MessageEvent(msgspec.Struct):
    type: str = ""
    index: int = 0
    content_block: _Item | None = None
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


FORMATS: dict[str, Callable[[Missing], Format]] = {
    "/v1/chat/completions": Choices,
    "/v1/chat/completions/batch": Choices,
    "/v1/completions": Choices,
    "/v1/responses": Responses,
    "/v1/messages": Messages,
}
"""How answers look on each route that gives some."""
