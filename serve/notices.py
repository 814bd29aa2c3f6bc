"""Enforced notices: what a domain's answers must say is appended where the model forgot it, and sent in a header.

One wrapper around ASGI's `send`, for the requests of versions whose notices are enforced; others have none. An answer
that says all is passed on byte for byte. What counts as saying it is `wordings.lacking`, as in the metric `notice`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from locum.adapters.wordings import in_header, joined, lacking
from locum.errors import BadInputError
from locum.serve import metrics
from locum.serve.body import Body
from locum.serve.event_stream import Events
from locum.serve.notice_choices import Choices
from locum.serve.notice_formats import Format, Missing
from locum.serve.notice_messages import Messages
from locum.serve.notice_responses import Responses

if TYPE_CHECKING:
    from locum.adapters.manifest import Manifest

logger = logging.getLogger("vllm.locum.notices")

NOTICE_HEADER = "x-locum-notice"
FORMATS: dict[str, Callable[[Missing], Format]] = {
    "/v1/chat/completions": Choices,
    "/v1/chat/completions/batch": Choices,
    "/v1/completions": Choices,
    "/v1/responses": Responses,
    "/v1/messages": Messages,
}
"""How answers look on each route that gives some."""
Outcome = Literal["given", "appended", "header"]


class _Request(msgspec.Struct):
    """What of a request says whether its answer is text."""

    response_format: Any = None
    structured_outputs: Any = None
    tools: Any = None
    tool_choice: Any = None
    text: Any = None  # of responses
    output_config: Any = None  # of messages
    max_tokens: Any = None
    background: Any = None


@dataclass(frozen=True)
class Notices:
    """What the answers to one request must say. `count` is told of each answer how it came to say it."""

    required: Sequence[Sequence[str]]
    count: Callable[[Outcome], None]
    free_text: bool = True

    def missing(self, text: str, *, appendable: bool) -> str:
        """What is to be appended to a finished answer: nothing where it says all, or is no text to append to."""
        lacks = lacking(text, self.required)
        appended = bool(lacks) and appendable and self.free_text and bool(text.strip())
        self.count("appended" if appended else "header" if lacks else "given")
        return f"\n\n{joined(lacks)}" if appended else ""


def enforcing(send: Send, version: Manifest | None, *, path: str, body: Body) -> Send:
    """The `send` that keeps a version's notices; the same one where it has none, or the route gives no answers.

    Args:
        version: what answers; None for the base model.
        body: the request's.

    Raises:
        BadInputError: the answer would be fetched later, by a request that names no version.
    """
    if version is None or not version.enforced_notices or path not in FORMATS:
        return send
    request = _Request(**body.values(*_Request.__struct_fields__))
    name, required = version.name, version.enforced_notices
    if request.background:
        raise BadInputError(
            f"{name} enforces notices, which an answer in the background would lack",
            hint="ask without `background`",
        )

    def count(outcome: Outcome) -> None:
        metrics.count_notice(name, outcome)

    return _Answer(send, FORMATS[path](Notices(required, count, free_text=_free_text(request))), required)


class _Answer:
    """One answer on its way out: JSON is held back until it is whole, events until the next one is known."""

    def __init__(self, send: Send, answers: Format, required: Sequence[Sequence[str]]) -> None:
        self._send, self._answers = send, answers
        self._header = in_header(wordings[0] for wordings in required)
        self._events: Events | None = None
        self._start: Message | None = None
        self._parts: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] == "http.response.body" and self._events is not None:
            await self._stream(message, self._events)
        elif message["type"] == "http.response.body" and self._start is not None:
            await self._collect(message, self._start)
        else:
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        if message["status"] == 200:
            headers[NOTICE_HEADER] = self._header
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if "content-encoding" in headers:
                logger.error("notice_not_appended reason=the answer is compressed before it reaches Locum's door")
            elif kind == "text/event-stream":
                del headers["content-length"]
                self._events = Events()
            elif kind == "application/json":
                self._start = message
                return
        await self._send(message)

    async def _stream(self, message: Message, events: Events) -> None:
        body = b"".join(self._answers.event(event) for event in events.feed(message.get("body", b"")))
        more = message.get("more_body", False)
        if not more:
            body += self._answers.flush() + events.rest()
        if body or not more:
            await self._send({**message, "body": body})

    async def _collect(self, message: Message, start: Message) -> None:
        self._parts.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        body = b"".join(self._parts)
        answer = msgspec.json.decode(body)
        if self._answers.whole(answer):
            body = msgspec.json.encode(answer)
        MutableHeaders(scope=start)["content-length"] = str(len(body))
        await self._send(start)
        await self._send({**message, "body": body})


def _free_text(request: _Request) -> bool:
    """Whether the answer is the model's own words: no schema, grammar, choice or call of a tool decides its form."""
    formats = (
        request.response_format,
        _field(request.text, "format"),
        _field(request.output_config, "format"),
    )
    held = request.structured_outputs is not None or any(
        each is not None and _field(each, "type") != "text" for each in formats
    )
    choice = _field(request.tool_choice, "type") or request.tool_choice
    called = bool(request.tools) and choice not in (None, "auto", "none")
    return not held and not called and request.max_tokens != 0


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
