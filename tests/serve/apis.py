"""The same question by each API that the server speaks, and the text of each one's answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def chat_body(model: str, question: str, tokens: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": model, "messages": messages, "max_tokens": tokens, "temperature": 0}


def batch_body(model: str, question: str, tokens: int) -> dict[str, Any]:
    body = chat_body(model, question, tokens)
    return {**body, "messages": [body["messages"]] * 2}


def response_body(model: str, question: str, tokens: int) -> dict[str, Any]:
    return {"model": model, "input": question, "max_output_tokens": tokens, "temperature": 0}


def choices(answer: dict[str, Any]) -> list[str]:
    return [choice["message"]["content"] or "" for choice in answer["choices"]]


def output(answer: dict[str, Any]) -> list[str]:
    return ["".join(part["text"] for item in answer["output"] for part in item["content"])]


def content(answer: dict[str, Any]) -> list[str]:
    return ["".join(part["text"] for part in answer["content"])]


Ask = Callable[[str, str, int], dict[str, Any]]
Read = Callable[[dict[str, Any]], list[str]]
APIS: dict[str, tuple[Ask, Read]] = {
    "/v1/chat/completions": (chat_body, choices),
    "/v1/chat/completions/batch": (batch_body, choices),
    "/v1/responses": (response_body, output),
    "/v1/messages": (chat_body, content),
}


def tokens_of(answer: dict[str, Any]) -> int:
    """Tokens generated for an answer, by its own count."""
    usage = answer["usage"]
    return int(usage.get("completion_tokens", usage.get("output_tokens")))
