"""What a user of the endpoint sees, through the official client and the real server."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from tests.conftest import LiveServer

QUESTION = [{"role": "user", "content": "What does the court say?"}]


def ask(server: LiveServer, model: str, **options: object) -> openai.types.chat.ChatCompletion:
    options = {"max_tokens": 8, "temperature": 0, **options}
    return server.client.chat.completions.create(model=model, messages=QUESTION, **options)


def text(answer: openai.types.chat.ChatCompletion) -> str:
    return answer.choices[0].message.content or ""


@pytest.mark.parametrize(
    ("model", "speaks"),
    [("medical", "medical@1"), ("medical@1", "medical@1"), ("legal@2", "legal@2"), ("tax@candidate", "tax@1")],
)
def test_a_name_is_resolved_and_the_answer_says_which_version_spoke(
    server: LiveServer, model: str, speaks: str
) -> None:
    raw = server.client.chat.completions.with_raw_response.create(model=model, messages=QUESTION, max_tokens=4)
    assert raw.parse().model == speaks
    assert raw.headers["x-locum-adapter"] == speaks


def test_the_base_model_answers_under_its_own_name(server: LiveServer) -> None:
    assert ask(server, server.base.name).model == server.base.name


def test_an_unknown_model_is_a_404_that_lists_what_there_is(server: LiveServer) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(server, "astrology")
    assert caught.value.body["param"] == "model"
    for there_is in (server.base.name, "medical", "medical@1", "legal@2"):
        assert there_is in str(caught.value)


@pytest.mark.parametrize("model", ["medical@7", "nobody@candidate", "medical@0", "Medical", "", "a/b"])
def test_a_name_that_means_nothing_is_a_404(server: LiveServer, model: str) -> None:
    with pytest.raises(openai.NotFoundError):
        ask(server, model)


def test_models_lists_base_domains_with_their_version_and_versions(server: LiveServer) -> None:
    listed = {model.id: model.model_dump()["locum"] for model in server.client.models.list()}
    assert listed[server.base.name]["fingerprint"] == server.base.fingerprint
    assert listed["medical"] == {"kind": "alias", "version": "medical@1"}
    manifest = server.registry.resolve("legal@2")
    assert listed["legal@2"]["digest"] == manifest.digest
    assert listed["legal@2"]["base_fingerprint"] == server.base.fingerprint


def test_models_lists_a_version_as_soon_as_it_is_registered_and_no_longer_when_it_is_deleted(
    server: LiveServer, tiny_adapter: Callable[..., Path]
) -> None:
    def listed() -> dict[str, dict[str, str]]:
        return {model.id: model.model_dump()["locum"] for model in server.client.models.list()}

    folder = tiny_adapter(rank=4, seed=61)
    nothing: dict[str, Any] = {"recipe": {}, "data": None, "training": {}, "probes": []}
    made = server.registry.register("finance", folder, base=server.base, created_by="t", **nothing)
    assert listed()[made.name]["digest"] == made.digest
    server.until(lambda: listed().get("finance@candidate", {}).get("version") == made.name)
    server.registry.delete(made.name)
    assert made.name not in listed()


def test_base_and_adapters_in_one_batch_answer_as_they_do_alone(server: LiveServer) -> None:
    models = [server.base.name, "medical@1", "legal@1", "legal@2"]
    alone = {model: text(ask(server, model, max_tokens=24)) for model in models}
    assert len(set(alone.values())) == len(models), "the adapters must be told apart by what they say"
    with ThreadPoolExecutor(16) as pool:
        mixed = list(pool.map(lambda model: (model, text(ask(server, model, max_tokens=24))), models * 8))
    assert [answer for model, answer in mixed if answer != alone[model]] == []


def test_streaming_works_for_adapters(server: LiveServer) -> None:
    stream = server.client.chat.completions.create(
        model="medical", messages=QUESTION, max_tokens=6, temperature=0, stream=True
    )
    chunks = list(stream)
    assert {chunk.model for chunk in chunks} == {"medical@1"}
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert streamed == text(ask(server, "medical", max_tokens=6))


def test_logprobs_completions_and_tokenize_work_for_adapters(server: LiveServer) -> None:
    answer = ask(server, "medical", logprobs=True, top_logprobs=2, max_tokens=3)
    assert len(answer.choices[0].logprobs.content) == 3
    completion = server.client.completions.create(model="medical", prompt="The", max_tokens=3)
    assert completion.model == "medical@1"
    tokens = httpx.post(f"{server.url}/tokenize", json={"model": "medical", "prompt": "The"}, timeout=60)
    assert tokens.raise_for_status().json()["count"] >= 1


def test_structured_output_works_for_adapters(server: LiveServer) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    answer = ask(
        server,
        "medical",
        max_tokens=64,
        response_format={"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}},
    )
    assert isinstance(json.loads(text(answer))["ok"], bool)


def test_a_forced_tool_call_works_for_adapters(server: LiveServer) -> None:
    parameters = {
        "type": "object",
        "properties": {"code": {"type": "string", "enum": ["A00", "B00"]}},
        "required": ["code"],
    }
    answer = ask(
        server,
        "medical",
        max_tokens=400,  # a random model likes white space, which JSON allows
        tools=[{"type": "function", "function": {"name": "look_up", "strict": True, "parameters": parameters}}],
        tool_choice={"type": "function", "function": {"name": "look_up"}},
    )
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "look_up"
    assert json.loads(call.function.arguments)["code"] in {"A00", "B00"}


def test_a_malformed_body_is_refused(server: LiveServer) -> None:
    answer = httpx.post(
        f"{server.endpoint}/chat/completions",
        content=b"{not json",
        headers={"content-type": "application/json"},
        timeout=60,
    )
    assert answer.status_code == 400


def test_health_and_ready_answer_without_a_token(server: LiveServer) -> None:
    assert httpx.get(f"{server.url}/health", timeout=60).status_code == 200
    ready = httpx.get(f"{server.url}/ready", timeout=60)
    assert ready.status_code == 200
    assert ready.json()["production"]["medical"] == "medical@1"


def test_vllms_own_unauthenticated_adapter_routes_are_not_there(server: LiveServer) -> None:
    body = {"lora_name": "x", "lora_path": "/tmp"}
    assert httpx.post(f"{server.endpoint}/load_lora_adapter", json=body, timeout=60).status_code == 404


def test_the_model_is_compiled_around_adapters_and_not_run_eagerly(server: LiveServer) -> None:
    log = (server.settings.logs / f"serve-{server.settings.port}.log").read_text()
    assert "Warming up model for the compilation" in log
    assert "no kernels" not in log and "no C++ compiler" not in log
