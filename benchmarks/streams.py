"""Chats that are streamed, as an application would, with the times at which they began, spoke and ended."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import aiohttp


@dataclass(frozen=True)
class Answer:
    """One request and its answer; times in seconds of `time.perf_counter`."""

    asked: str
    status: int
    started: float
    first: float
    ended: float
    body: bytes
    named: str
    """Who answered, by the answer's header."""

    @property
    def seconds(self) -> float:
        return self.ended - self.started

    @property
    def to_first(self) -> float:
        return self.first - self.started

    @cached_property
    def chunks(self) -> list[dict[str, Any]]:
        """The events of the stream. Empty when the request failed."""
        lines = [line[6:] for line in self.body.splitlines() if line.startswith(b"data: ")]
        return [json.loads(line) for line in lines if line != b"[DONE]"]

    @property
    def whole(self) -> bool:
        """Whether the answer came to its proper end."""
        ends = [choice.get("finish_reason") for chunk in self.chunks for choice in chunk.get("choices", [])]
        return self.status == 200 and self.body.rstrip().endswith(b"data: [DONE]") and "length" in ends

    @property
    def version(self) -> str:
        """Who answered, by the answer itself."""
        return str(self.chunks[0]["model"]) if self.chunks else ""

    @property
    def token_ids(self) -> list[int]:
        """What was said, where the body asked for `return_token_ids`."""
        choices = [choice for chunk in self.chunks for choice in chunk.get("choices", [])]
        return [token for choice in choices for token in choice.get("token_ids") or []]


def session(key: str = "") -> aiohttp.ClientSession:
    """A client without a limit of its own to how many requests run at once."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    timeout = aiohttp.ClientTimeout(total=300)
    return aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0), timeout=timeout)


def chat(model: str, question: str, tokens: int, **more: Any) -> bytes:
    """The body of a chat that generates exactly so many tokens, greedily."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        **more,
    }
    return json.dumps(body).encode()


async def ask(
    client: aiohttp.ClientSession, url: str, body: bytes, *, asked: str = "", path: str = "/v1/chat/completions"
) -> Answer:
    """Send one chat and read its stream. `asked` is the caller's name for it."""
    started = time.perf_counter()
    first = 0.0
    parts = []
    headers = {"Content-Type": "application/json"}
    async with client.post(f"{url}{path}", data=body, headers=headers) as answer:
        async for part in answer.content.iter_any():
            first = first or time.perf_counter()
            parts.append(part)
    named = answer.headers.get("x-locum-adapter", "")
    return Answer(asked, answer.status, started, first, time.perf_counter(), b"".join(parts), named)
