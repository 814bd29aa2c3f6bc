"""One question over HTTP, with the patience that a server under load deserves.

aiohttp, because an evaluation is thousands of small requests whose cost to the client counts (benchmarks/eval.py).
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from locum.evaluate.endpoint import error_of, is_unservable, message_of
from locum.evaluate.own_words import Mark, own_words
from locum.network import proxy_of
from locum.settings import authorization

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

ADAPTER_HEADER = "x-locum-adapter"
T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long to wait for one answer, and how often to try."""

    timeout_s: float = 120.0
    attempts: int = 6
    backoff_s: float = 0.5  # before the second attempt; doubles with each further one
    backoff_cap_s: float = 20.0
    retry_after_cap_s: float = 120.0  # a server that asks for more than this is as good as absent


class Reply(BaseModel):
    """An answer as the model gave it: without a notice that the server appended."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    answered_by: str
    adapter: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_token_s: float | None = None
    latency_s: float
    attempts: int = 1


class NoReplyError(Exception):
    """All attempts failed, or the server refused the question for good.

    `attempts` says how many there were; `refused` that asking again is no use.
    """

    def __init__(self, message: str, attempts: int, *, refused: bool = False) -> None:
        super().__init__(message)
        self.attempts = attempts
        self.refused = refused


class _TryAgainError(Exception):
    """An attempt failed in a way that another may not. `wait_s` is what the server asked for."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def session(url: str, api_key: str, concurrency: int, *, headers: dict[str, str] | None = None) -> ClientSession:
    """The connections of a run to `url`. Its timeouts are over whole attempts, in `patiently`."""
    import aiohttp

    return aiohttp.ClientSession(
        headers=authorization(api_key) | (headers or {}),
        connector=aiohttp.TCPConnector(limit=concurrency),
        timeout=aiohttp.ClientTimeout(total=None),
        proxy=proxy_of(url),  # aiohttp's `trust_env` asks two threads at every request
    )


async def ask(
    client: ClientSession,
    url: str,
    body: dict[str, Any],
    *,
    timed: bool,
    patience: Patience,
    on_retry: Callable[[], None],
) -> Reply:
    """The answer to a chat request.

    Args:
        timed: stream it, so that the time to its first token is known. Each token is then a packet of its own: a short
            answer takes six times the CPU time, a long one more.

    Raises:
        NoReplyError: the attempts are used up, or the server says 4xx to this question.
        UnauthorizedError: the server refuses the key: no other question will fare better.
        NotFoundError: the server does not know the model, likewise.
        UnservableError: the server cannot hold the version that is asked, likewise.
    """
    request = {**body, "stream": True, "stream_options": {"include_usage": True}} if timed else body
    read = _read_stream if timed else _read_whole

    async def once() -> Reply:
        start = time.monotonic()
        async with client.post(f"{url}/chat/completions", json=request) as response:
            await _require_success(response, url)
            return await read(response, start)

    reply, attempts = await patiently(once, patience=patience, on_retry=on_retry)
    return reply.model_copy(update={"attempts": attempts})


async def post(
    client: ClientSession,
    url: str,
    path: str,
    body: dict[str, Any],
    *,
    patience: Patience,
    on_retry: Callable[[], None],
) -> Any:
    """The JSON that a server answers to a request, with the same patience; raises as `ask` does."""

    async def once() -> Any:
        async with client.post(f"{url}{path}", json=body) as response:
            await _require_success(response, url)
            content = await response.read()
            try:
                answer = json.loads(content)
            except ValueError:
                raise _TryAgainError(f"the answer is not JSON: {content[:100]!r}") from None
            with suppress(KeyError, IndexError, TypeError):
                _require_whole(answer["choices"][0]["finish_reason"])
            return answer

    return (await patiently(once, patience=patience, on_retry=on_retry))[0]


async def patiently(
    once: Callable[[], Awaitable[T]], *, patience: Patience, on_retry: Callable[[], None]
) -> tuple[T, int]:
    """Try until it succeeds: again after 429, 5xx, a lost connection, a timeout or half an answer.

    Returns:
        What `once` gave, and how many attempts it took.

    Raises:
        NoReplyError: as `ask`.
    """
    import aiohttp

    problem = ""
    for attempt in range(1, patience.attempts + 1):
        asked_to_wait: float | None = None
        try:
            async with asyncio.timeout(patience.timeout_s):
                return await once(), attempt
        except _TryAgainError as error:
            problem, asked_to_wait = str(error), error.wait_s
        except TimeoutError:
            problem = f"no answer within {patience.timeout_s:g} s"
        except aiohttp.ClientConnectorError as error:
            problem = f"no server answers at {error.host}:{error.port}"
        except aiohttp.ClientError as error:
            problem = f"{type(error).__name__}: {error}".rstrip(": ")
        except NoReplyError as error:
            raise NoReplyError(str(error), attempt, refused=True) from None
        if attempt < patience.attempts:
            on_retry()
            await asyncio.sleep(pause(attempt, asked_to_wait, patience))
    raise NoReplyError(problem, patience.attempts)


def pause(attempt: int, asked_to_wait: float | None, patience: Patience) -> float:
    """Seconds to wait after the given failed attempt.

    What the server asked for, if that is more than nothing; else exponential backoff, of which a random part of up to
    a half is left out, so that clients that failed together do not return together.
    """
    if asked_to_wait:
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


async def _require_success(response: ClientResponse, url: str) -> None:
    """Raises what the status means: for all questions, for this one, or for this attempt."""
    status = response.status
    if status == 200:
        return
    content = await response.read()
    if status in (401, 403, 404) or is_unservable(status, content):
        raise error_of(status, content, url)
    problem = f"{status}: {message_of(content)}"
    if status not in (408, 429) and status < 500:
        raise NoReplyError(problem, 1, refused=True)
    raise _TryAgainError(problem, retry_after(response.headers.get("retry-after")))


def _require_whole(finish_reason: str | None) -> None:
    """Raises _TryAgainError for an answer that the server itself broke off, as vLLM says when it is stopped."""
    if finish_reason == "abort":
        raise _TryAgainError("the server broke the answer off")


class _Delta(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    delta: _Delta
    finish_reason: str | None = None
    locum: Mark | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(BaseModel):
    model: str
    choices: list[_Choice] = []
    usage: _Usage | None = None


class _Answered(BaseModel):
    message: _Delta
    finish_reason: str | None = None
    locum: Mark | None = None


class _Completion(BaseModel):
    model: str
    choices: list[_Answered] = Field(min_length=1)
    usage: _Usage | None = None


async def _read_whole(response: ClientResponse, start: float) -> Reply:
    """A chat completion that comes in one piece."""
    content = await response.read()
    try:
        completion = _Completion.model_validate_json(content)
    except ValidationError as error:
        raise _TryAgainError(_not_an_answer(content, error)) from None
    [choice, *_], usage = completion.choices, completion.usage or _Usage()
    _require_whole(choice.finish_reason)
    return Reply(
        text=_own_words(choice.message.content, choice.locum),
        answered_by=completion.model,
        adapter=response.headers.get(ADAPTER_HEADER),
        finish_reason=choice.finish_reason,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        latency_s=round(time.monotonic() - start, 4),
    )


async def _read_stream(response: ClientResponse, start: float) -> Reply:
    """The parts of a streamed chat completion put together. Without a [DONE] at its end it is half an answer."""
    text: list[str] = []
    first_token_s: float | None = None
    finish_reason: str | None = None
    model, usage, done = "", _Usage(), False
    async for line in response.content:
        data = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:"):
            continue
        if data == b"[DONE]":
            done = True
            break
        try:
            chunk = _Chunk.model_validate_json(data)
        except ValidationError as error:
            raise _TryAgainError(_not_an_answer(data, error)) from None
        model, usage = chunk.model, chunk.usage or usage
        for choice in chunk.choices:
            finish_reason = choice.finish_reason or finish_reason
            said = _own_words(choice.delta.content, choice.locum)
            if said:
                first_token_s = first_token_s or time.monotonic() - start
                text.append(said)
    if not done or not model:
        raise _TryAgainError("the answer broke off before its end")
    _require_whole(finish_reason)
    return Reply(
        text="".join(text),
        answered_by=model,
        adapter=response.headers.get(ADAPTER_HEADER),
        finish_reason=finish_reason,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        first_token_s=None if first_token_s is None else round(first_token_s, 4),
        latency_s=round(time.monotonic() - start, 4),
    )


def _own_words(text: str | None, mark: Mark | None) -> str:
    try:
        return own_words(text or "", mark)
    except ValueError as error:
        raise _TryAgainError(str(error)) from None


def _not_an_answer(data: bytes, error: ValidationError) -> str:
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(data)["error"]["message"])
    return f"the answer is not a chat completion: {error.errors()[0]['msg']}"
