"""What vLLM's server shows a model of a conversation is what trainings, probes and previews show it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from locum.adapters.chat_template import ChatTemplate, as_handed_over, tool_definitions
from locum.adapters.conversations import Message
from tests.train.families import FAMILIES, tokenizer_of

FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {"town": {"type": "string"}}}}
TOOLS = [{"type": "function", "function": {**FUNCTION, "beyond": 1}}]
TALK = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "The weather in Ulm?"},
    {"role": "assistant", "content": "", "tool_calls": [{"name": "weather", "arguments": {"town": "Ulm", "days": 2}}]},
    {"role": "tool", "content": "12", "name": "weather"},
    {"role": "assistant", "content": "12 degrees. "},
    {"role": "user", "content": "And now?"},
]


def as_clients_send(messages: list[Message]) -> list[dict[str, Any]]:
    """Messages as OpenAI's API has them: arguments are JSON in a text, and a call without text has no content."""
    sent = as_handed_over(messages)
    for message in sent:
        for call in message.get("tool_calls", []):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
            message["content"] = None
    return sent


def shown_by_vllm(tokenizer: Any, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
    """The text that vLLM makes of a request."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.renderers.chat_utils import parse_chat_messages
    from vllm.renderers.hf import resolve_chat_template_content_format, safe_apply_chat_template

    config: Any = SimpleNamespace(
        enable_prompt_embeds=False, multimodal_config=None, revision=None, code_revision=None, trust_remote_code=False,
        tokenizer_revision=None, tokenizer="t", model="m", hf_config=SimpleNamespace(model_type="llama"),
        allowed_local_media_path="", allowed_media_domains=None,
    )  # fmt: skip
    request = ChatCompletionRequest.model_validate({"model": "m", "messages": messages, "tools": tools})
    dumped = [tool.model_dump() for tool in request.tools] if request.tools else None
    form = ChatTemplate(tokenizer).content_format  # what `locum serve` passes on
    assert form == resolve_chat_template_content_format(None, dumped, form, tokenizer, model_config=config)
    conversation, _, _ = parse_chat_messages(request.messages, config, content_format=form)
    text = safe_apply_chat_template(
        config, tokenizer, conversation, tools=dumped, tokenize=False, add_generation_prompt=True
    )
    return str(text)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_conversation_is_shown_as_vllm_shows_it(tiny_base: Path, name: str) -> None:
    family = FAMILIES[name]
    template = ChatTemplate(tokenizer_of(tiny_base, family))
    talk = [Message.model_validate(message) for message in TALK]
    given = talk if family.tools else [talk[1], talk[4], talk[5]]
    if family.system and not family.tools:
        given = [talk[0], *given]
    tools = TOOLS if family.tools else None
    ours = template.render(
        as_handed_over(given), tools=tool_definitions(tools) if tools else None, add_generation_prompt=True
    )
    assert ours == shown_by_vllm(template.tokenizer, as_clients_send(given), tools)


def test_text_in_parts_is_shown_as_data_joins_it(tiny_base: Path) -> None:
    """A template that takes text and parts alike is given text: parts of their own would be joined without a break."""
    for name in ("gemma3", "qwen2.5"):
        tokenizer = tokenizer_of(tiny_base, FAMILIES[name])
        parts = [{"type": "text", "text": "Read this:"}, {"type": "text", "text": "Form A-12"}]
        joined = shown_by_vllm(tokenizer, [{"role": "user", "content": parts}], None)
        assert joined == shown_by_vllm(tokenizer, [{"role": "user", "content": "Read this:\nForm A-12"}], None)
