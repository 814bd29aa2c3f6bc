"""How large a body may be, and how long it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from locum.serve.access import size
from locum.serve.http_errors import TooLargeError, TooSlowError

BODY_SECONDS = 60.0


async def read_body(receive: Receive, headers: Headers, *, limit: int, seconds: float = BODY_SECONDS) -> bytes:
    """The whole body of a request.

    Raises:
        TooLargeError: it has more than `limit` bytes, or says so.
        TooSlowError: it is not there within `seconds`.
    """
    check_length(headers, limit=limit)
    parts: list[bytes] = []
    left = limit
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    break
                parts.append(message.get("body", b""))
                left -= len(parts[-1])
                if left < 0:
                    raise _too_large(limit)
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise TooSlowError(f"the request's body was not there within {seconds:g} seconds") from None
    return b"".join(parts)


def check_length(headers: Headers, *, limit: int) -> None:
    """Refuse a body by what its `content-length` says, before any of it is read.

    Raises:
        TooLargeError: it is more than `limit` bytes.
    """
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)


def bounded(receive: Receive, *, limit: int, seconds: float) -> Receive:
    """The same body, part by part, as long as it keeps within `limit` bytes and `seconds` from now.

    Raises, when it does not:
        TooLargeError, TooSlowError
    """
    deadline = asyncio.get_running_loop().time() + seconds
    left = limit

    async def part() -> Message:
        nonlocal left
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise TooSlowError(f"the request's body was not there within {seconds:g} seconds") from None
        left -= len(message.get("body", b""))
        if left < 0:
            raise _too_large(limit)
        return message

    return part


def replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """A `receive` that gives the body first, and then what the connection says: a client that left is noticed."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the request has more than {size(limit)}")
