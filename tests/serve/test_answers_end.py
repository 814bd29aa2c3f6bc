"""A real server ends answers at the end of its chat template's turn, which its base model's files do not name."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

pytestmark = pytest.mark.asyncio(loop_scope="session")
END = 2  # <|im_end|>; the tokenizer's and generation_config.json's is 0
SAYS_END = {"logit_bias": {str(END): 100}, "max_tokens": 8, "temperature": 0}
QUESTION = [{"role": "user", "content": "Well?"}]


@pytest.mark.parametrize("model", ["tiny-llama", "medical", "legal@2"])
@pytest.mark.parametrize(
    ("path", "asked"), [("/v1/chat/completions", {"messages": QUESTION}), ("/v1/completions", {"prompt": "Well?"})]
)
async def test_an_answer_ends_where_the_turn_does(
    app: FastAPI, client: httpx.AsyncClient, path: str, asked: dict[str, Any], model: str
) -> None:
    answer = await client.post(path, json={"model": model, **asked, **SAYS_END})
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["finish_reason"] == "stop"
    assert answer.json()["usage"]["completion_tokens"] == 1
    on = await client.post(path, json={"model": model, **asked, **SAYS_END, "ignore_eos": True})
    assert on.json()["usage"]["completion_tokens"] == 8


async def test_text_in_parts_is_what_data_makes_of_it(app: FastAPI, client: httpx.AsyncClient) -> None:
    parts = [{"type": "text", "text": "Read this:"}, {"type": "text", "text": "Form A-12"}]
    shown = [
        (
            await client.post(
                "/tokenize", json={"model": "medical", "messages": [{"role": "user", "content": content}]}
            )
        ).json()
        for content in (parts, "Read this:\nForm A-12")
    ]
    assert shown[0]["tokens"] == shown[1]["tokens"]
