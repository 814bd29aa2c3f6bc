"""An answer on its way back through the door: whose it is, whether its id is signed, and how it went."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from locum.errors import UnavailableError
from locum.serve.engine import ENGINE_DEAD, Engine
from locum.serve.http_errors import as_anthropic_error, error_response
from locum.serve.requests import REQUEST_ID, Asked

ADAPTER_HEADER = "x-locum-adapter"
TOLD = f"{ADAPTER_HEADER}, {REQUEST_ID}, retry-after"  # what a page in a browser may read beside the body


class Answer:
    """A `send` for one request.

    The head of an answer waits for its first words: by then it is known what the engine was asked for. The body of an
    error is short, and waits too, so that it can be put into the format of the API that was asked.
    """

    def __init__(self, send: Send, request: Asked, engine: Engine, *, anthropic: bool) -> None:
        self._send = send
        self._request = request
        self._engine = engine
        self._anthropic = anthropic
        self._head: Message | None = None
        self._error = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._head = message
            return
        last = not message.get("more_body", False)
        if self._head is not None:
            if self._head["status"] >= 400:
                self._error += message.get("body", b"")
                if not last:
                    return
                message = self._explained(self._head)
            await self._send(self._marked(self._head))
            self._head = None
        self._request.finished = last
        await self._send(message)

    def _marked(self, head: Message) -> Message:
        request = self._request
        request.status = head["status"]
        if request.status != 200:
            request.unsign()
        headers = MutableHeaders(scope=head)
        headers[ADAPTER_HEADER] = request.name
        headers[REQUEST_ID] = request.id
        headers["access-control-expose-headers"] = TOLD
        return head

    def _explained(self, head: Message) -> Message:
        """The body of an error as its client expects it; the head is made to fit."""
        headers = MutableHeaders(scope=head)
        body = self._error
        if head["status"] >= 500 and self._engine.dead:  # it died while it worked on this
            answer = error_response(UnavailableError(ENGINE_DEAD), anthropic=self._anthropic)
            body = bytes(answer.body)
            head["status"] = answer.status_code
            headers["retry-after"] = answer.headers["retry-after"]
        elif self._anthropic:
            body = as_anthropic_error(body, head["status"])
        headers["content-length"] = str(len(body))
        return {"type": "http.response.body", "body": body, "more_body": False}
