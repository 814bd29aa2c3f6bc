"""Chat completions and completions: what each choice says, and its notice before its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from locum.serve.event_stream import data_of, written
from locum.serve.notice_formats import Missing, mark

_BROKEN_OFF = frozenset({"abort", "error"})


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
