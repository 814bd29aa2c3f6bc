"""uvicorn's HTTP/1.1 with an end to what a connection may cost before a request is understood.

uvicorn bounds neither the time nor the size of a request's head, nor how long it goes on reading a body that nobody
wants. Used by `locum serve`; behind another launcher, a reverse proxy has to do it.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_SECONDS = 15.0
HEAD_BYTES = 64 * 1024
MESSAGE_SECONDS = 660.0  # head and body; the longest that any route allows, and a margin
UNWANTED_SECONDS = 15.0  # that a body may go on after its answer


class BoundedHttp(HttpToolsProtocol):
    """One connection. A request that is late or too large at its head gets an answer, if it began, and the end."""

    _deadline: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._end_in(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, "the head of the request is too large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._end_in(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._end_in(MESSAGE_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._unset()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.cycle.more_body and self._deadline is not None:
            self._end_in(UNWANTED_SECONDS)
        super().on_response_complete()

    def _end_in(self, seconds: float) -> None:
        self._unset()
        self._deadline = self.loop.call_later(seconds, self._late)

    def _unset(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        if self._in_head and self._head_bytes:
            self._refuse(408, "the head of the request was not there in time")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        """Answer in OpenAI's format without the app, which has not heard of the request, and close."""
        if self.cycle is not None and not self.cycle.response_complete:  # an answer to an earlier request goes on here
            self.transport.close()
            return
        body = b'{"error":{"message":"%s","type":"BadRequestError","param":null,"code":%d}}' % (
            message.encode(),
            status,
        )
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()
