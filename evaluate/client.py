"""One question over HTTP, with the patience that a server under load deserves."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from locum.adapters.conversations import Message
from locum.evaluate.endpoint import error_of, message_of

if TYPE_CHECKING:
    from httpx import AsyncClient, Response

ADAPTER_HEADER = "x-locum-adapter"


@dataclass(frozen=True)
class Patience:
    """How long to wait for one answer, and how often to try."""

    timeout_s: float = 120.0
    attempts: int = 6
    backoff_s: float = 0.5  # before the second attempt; doubles with each further one
    backoff_cap_s: float = 20.0
    retry_after_cap_s: float = 120.0  # a server that asks for more than this is as good as absent


@dataclass(frozen=True)
class Reply:
    """An answer as the server gave it."""

    text: str
    answered_by: str
    adapter: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_s: float
    attempts: int


class NoReplyError(Exception):
    """All attempts failed, or the server refused the question for good. `attempts` says how many there were."""

    def __init__(self, message: str, attempts: int) -> None:
        super().__init__(message)
        self.attempts = attempts


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Message(_Part):
    content: str | None = None


class _Choice(_Part):
    message: _Message
    finish_reason: str | None = None


class _Usage(_Part):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(_Part):
    model: str
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


async def ask_until_answered(
    client: AsyncClient,
    url: str,
    *,
    model: str,
    messages: Sequence[Message],
    max_tokens: int,
    temperature: float,
    choices: Sequence[str] | None,
    patience: Patience,
    on_retry: Callable[[], None],
) -> Reply:
    """Ask until there is an answer: again after 429, 5xx, a lost connection, a timeout or half an answer.

    The seed is fixed, so that a temperature above zero can be repeated too.

    Raises:
        NoReplyError: the attempts are used up, or the server says 4xx to this question.
        UnauthorizedError: the server refuses the key: no other question will fare better.
        NotFoundError: the server does not know the model, likewise.
    """
    import httpx

    body: dict[str, object] = {
        "model": model,
        "messages": [message.model_dump() for message in messages],
        "max_tokens": max_tokens,
        "temperature": temperature,
        "seed": 0,
    }
    if choices is not None:
        body["structured_outputs"] = {"choice": list(choices)}
    problem = ""
    for attempt in range(1, patience.attempts + 1):
        asked_to_wait: float | None = None
        start = time.monotonic()
        try:
            async with asyncio.timeout(patience.timeout_s):
                response = await client.post(f"{url}/chat/completions", json=body)
            if response.status_code == 200:
                return _reply(response, time.monotonic() - start, attempt)
            problem = f"{response.status_code}: {message_of(response)}"
            if response.status_code in (401, 403, 404):
                raise error_of(response, url)
            if response.status_code not in (408, 429) and response.status_code < 500:
                raise NoReplyError(problem, attempt)
            asked_to_wait = retry_after(response.headers.get("retry-after"))
        except TimeoutError:
            problem = f"no answer within {patience.timeout_s:g} s"
        except httpx.TransportError as error:
            problem = f"{type(error).__name__}: {error}".rstrip(": ")
        except ValidationError as error:
            problem = f"the answer is not a chat completion: {error.errors()[0]['msg']}"
        if attempt < patience.attempts:
            on_retry()
            await asyncio.sleep(pause(attempt, asked_to_wait, patience))
    raise NoReplyError(problem, patience.attempts)


def pause(attempt: int, asked_to_wait: float | None, patience: Patience) -> float:
    """Seconds to wait after the given failed attempt.

    What the server asked for, if it did; else exponential backoff, of which a random part of up to a half is left
    out, so that clients that failed together do not return together.
    """
    if asked_to_wait is not None:
        return min(asked_to_wait, patience.retry_after_cap_s)
    return min(patience.backoff_cap_s, patience.backoff_s * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)


def retry_after(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date (RFC 9110, 10.2.3); none if unreadable."""
    if header is None:
        return None
    with suppress(ValueError):
        seconds = float(header)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    with suppress(ValueError, TypeError):  # TypeError: a date without a zone
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    return None


def _reply(response: Response, latency_s: float, attempts: int) -> Reply:
    completion = _Completion.model_validate_json(response.content)
    choice = completion.choices[0]
    usage = completion.usage or _Usage()
    return Reply(
        text=choice.message.content or "",
        answered_by=completion.model,
        adapter=response.headers.get(ADAPTER_HEADER),
        finish_reason=choice.finish_reason,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        latency_s=round(latency_s, 4),
        attempts=attempts,
    )
