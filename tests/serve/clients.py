"""Run a section of docs/clients.md, and check what its client received.

The clients' own Python runs this, which has neither Locum nor pytest:

    .venv-clients/bin/python -P tests/serve/clients.py docs/clients.md LangChain http://127.0.0.1:8000

A connection to anything but this machine ends it at once, whatever the client would make of an exception.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

VERSION = "medical@1"  # what `medical` means on the tests' server
LOOPBACK = {"127.0.0.1", "::1", "localhost", None}
CHAPTERS = {"infections", "injuries"}
CODES = {"A00", "S02"}
ENDS = {"length", "stop"}
LEFT_THE_MACHINE = 70


def openai(seen: Any) -> None:
    content = seen.answer.choices[0].message.content
    usage = seen.answer.usage
    assert seen.answer.model == VERSION
    assert seen.answer.choices[0].finish_reason in ENDS
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens

    *deltas, last = seen.chunks
    assert {chunk.model for chunk in seen.chunks} == {VERSION}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in deltas) == content
    assert deltas[-1].choices[0].finish_reason == seen.answer.choices[0].finish_reason
    assert last.usage.total_tokens == usage.total_tokens

    assert seen.response.model == VERSION
    assert seen.response.output_text == content
    assert seen.response.usage.total_tokens == usage.total_tokens
    assert seen.events[0].type == "response.created"
    assert "".join(event.delta for event in seen.events if event.type == "response.output_text.delta") == content
    assert seen.events[-1].response.model == VERSION
    assert seen.events[-1].response.usage.total_tokens == usage.total_tokens

    assert seen.completion.model == VERSION
    assert [choice.index for choice in seen.completion.choices] == [0, 1]
    assert {choice.finish_reason for choice in seen.completion.choices} <= ENDS
    assert 0 < seen.completion.usage.completion_tokens <= 32

    assert seen.parsed.choices[0].message.parsed.chapter in CHAPTERS
    assert seen.parsed_response.output_parsed.chapter in CHAPTERS
    [call] = seen.called.choices[0].message.tool_calls
    assert call.function.name == "LookUp"
    assert call.function.parsed_arguments.code in CODES


def anthropic(seen: Any) -> None:
    assert seen.answer.model == VERSION
    assert seen.answer.stop_reason in {"max_tokens", "end_turn"}
    assert "".join(seen.deltas) == seen.streamed.content[0].text == seen.answer.content[0].text
    assert seen.streamed.model == VERSION
    assert seen.streamed.stop_reason == seen.answer.stop_reason
    assert seen.streamed.usage.output_tokens == seen.answer.usage.output_tokens > 0
    assert seen.counted.input_tokens == seen.answer.usage.input_tokens > 0
    assert seen.called.stop_reason == "tool_use"
    [block] = seen.called.content
    assert (block.type, block.name) == ("tool_use", "look_up")
    assert block.input["code"] in CODES


def langchain(seen: Any) -> None:
    assert seen.answer.response_metadata["model_name"] == VERSION
    assert seen.answer.response_metadata["finish_reason"] in ENDS
    streamed = sum(seen.chunks[1:], start=seen.chunks[0])
    assert len(seen.chunks) > 1
    assert streamed.content == seen.answer.content
    assert streamed.usage_metadata["total_tokens"] == seen.answer.usage_metadata["total_tokens"] > 0
    assert seen.structured.chapter in CHAPTERS
    [call] = seen.called.tool_calls
    assert call["name"] == "look_up"
    assert call["args"]["code"] in CODES


def llama_index(seen: Any) -> None:
    assert seen.answer.raw.model == VERSION
    assert {chunk.raw.model for chunk in seen.chunks} == {VERSION}
    assert "".join(chunk.delta or "" for chunk in seen.chunks) == seen.answer.message.content
    assert seen.chunks[-1].raw.usage.total_tokens == seen.answer.raw.usage.total_tokens > 0
    assert seen.structured.chapter in CHAPTERS


def litellm(seen: Any) -> None:
    assert seen.answer.model.removeprefix("hosted_vllm/") == VERSION
    assert seen.answer.choices[0].finish_reason in ENDS
    deltas = [chunk.choices[0].delta.content or "" for chunk in seen.chunks if chunk.choices]
    assert "".join(deltas) == seen.answer.choices[0].message.content
    assert seen.chunks[-1].usage.total_tokens == seen.answer.usage.total_tokens > 0
    assert seen.Diagnosis.model_validate_json(seen.structured.choices[0].message.content).chapter in CHAPTERS


def instructor(seen: Any) -> None:
    assert seen.answer.model == VERSION
    assert seen.answer.usage.completion_tokens > 0
    assert seen.structured.chapter in CHAPTERS


def pydantic_ai(seen: Any) -> None:
    assert seen.answer.response.model_name == VERSION
    assert seen.answer.response.finish_reason in ENDS
    assert "".join(seen.deltas) == seen.answer.output
    assert seen.stream.usage.total_tokens == seen.answer.usage.total_tokens > 0
    assert seen.structured.output.chapter in CHAPTERS
    assert seen.called.output.chapter in CHAPTERS


def openai_agents(seen: Any) -> None:
    streamed = seen.events[-1].response
    assert streamed.model == VERSION
    assert "".join(event.delta for event in seen.events if event.type == "response.output_text.delta")
    assert streamed.usage.total_tokens == seen.answer.context_wrapper.usage.total_tokens > 0
    assert seen.structured.final_output.chapter in CHAPTERS
    assert seen.called.final_output in CODES


def dspy(seen: Any) -> None:
    assert [call["response"].model for call in seen.lm.history] == [VERSION, VERSION]
    assert all(call["usage"]["completion_tokens"] > 0 for call in seen.lm.history)
    assert seen.structured.chapter in CHAPTERS


CHECKS = {
    "OpenAI": openai,
    "Anthropic": anthropic,
    "LangChain": langchain,
    "LlamaIndex": llama_index,
    "LiteLLM": litellm,
    "Instructor": instructor,
    "Pydantic AI": pydantic_ai,
    "OpenAI Agents": openai_agents,
    "DSPy": dspy,
}


def program(page: str, section: str) -> str:
    """The Python of a section."""
    [text] = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: end the process when it looks up or addresses another machine."""
    if event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        host = arguments[0]
    elif event in {"socket.connect", "socket.sendto"} and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if host not in LOOPBACK:
        traceback.print_stack()
        print(f"asked another machine: {host}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(LEFT_THE_MACHINE)


if __name__ == "__main__":
    page, section, url = sys.argv[1:]
    sys.addaudithook(stay_here)
    source = program(Path(page).read_text(encoding="utf-8"), section).replace("http://localhost:8000", url)
    seen: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, f"{page}, {section}", "exec", dont_inherit=True), seen)
    CHECKS[section](SimpleNamespace(**seen))
