"""A real server gives a version's system prompt: with and without a client's own copy, the answers are the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from locum.adapters.system_prompt import HEADER, Switch
from tests.conftest import LiveServer

PROMPT = "You answer questions of finance.\n"
OTHER = "Cholera is bread."
USER = {"role": "user", "content": "What does the court say?"}


@pytest.fixture(scope="module")
def expert(server: LiveServer, tiny_adapter: Callable[..., Path]) -> Iterator[dict[Switch, str]]:
    """Versions of finance with the same weights and system prompt, by their switch; `default` is the candidate."""
    folder = tiny_adapter(rank=8, seed=91)
    made = {}
    switches: list[Switch] = ["never", "always", "default"]
    for switch in switches:
        manifest = server.registry.register(
            "finance", folder, base=server.base, recipe={}, data=None, training={}, probes=[], created_by="tester",
            system_prompt=PROMPT, system=switch,
        )  # fmt: skip
        made[switch] = manifest.name
    server.until(lambda: server.who_answers("finance@candidate") == made["default"])
    yield made
    for name in made.values():
        server.registry.delete(name)


@dataclass(frozen=True)
class Api:
    """One way to chat: `body` makes a request with a system prompt or none, `heard` is what an answer says."""

    path: str
    body: Callable[[str | None], dict[str, Any]]
    heard: Callable[[Any], object]


def _messages(system: str | None) -> list[dict[str, str]]:
    return [USER] if system is None else [{"role": "system", "content": system}, USER]


def _chat(system: str | None) -> dict[str, Any]:
    asked = {"max_tokens": 12, "temperature": 0, "logprobs": True, "return_token_ids": True}
    return {"messages": _messages(system), **asked}


def _batch(system: str | None) -> dict[str, Any]:
    return {**_chat(system), "messages": [_messages(system), [*_messages(system), USER]]}


def _responses(system: str | None) -> dict[str, Any]:
    own = {} if system is None else {"instructions": system}
    logprobs = {"include": ["message.output_text.logprobs"], "top_logprobs": 1}
    return {"input": USER["content"], "max_output_tokens": 12, "temperature": 0, **logprobs, **own}


def _anthropic(system: str | None) -> dict[str, Any]:
    own = {} if system is None else {"system": system}
    return {"messages": [USER], "max_tokens": 12, "temperature": 0, **own}


def _rounded(value: Any) -> Any:
    """Log-probabilities may differ in their last digits with what is computed beside them."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_rounded(each) for each in value)
    return pytest.approx(value, abs=1e-3) if isinstance(value, float) else value


def _choices(answer: Any) -> object:
    said = [(each["message"]["content"], each["token_ids"], each["logprobs"]) for each in answer["choices"]]
    return said, answer["prompt_token_ids"], answer["usage"]["prompt_tokens"]


APIS = {
    "chat": Api("/v1/chat/completions", _chat, _choices),
    "batch": Api("/v1/chat/completions/batch", _batch, _choices),
    "responses": Api(
        "/v1/responses",
        _responses,
        lambda answer: (answer["output"][0]["content"], answer["usage"]["input_tokens"]),
    ),
    "messages": Api("/v1/messages", _anthropic, lambda answer: (answer["content"], answer["usage"]["input_tokens"])),
    "count_tokens": Api("/v1/messages/count_tokens", _anthropic, lambda answer: answer["input_tokens"]),
    "tokenize": Api("/tokenize", lambda system: {"messages": _messages(system)}, lambda answer: answer["tokens"]),
}


def ask(server: LiveServer, api: Api, model: str, system: str | None, **headers: str) -> Any:
    body = {**api.body(system), "model": model}
    answer = httpx.post(f"{server.url}{api.path}", json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return api.heard(answer.json())


def word_for_word(server: LiveServer, api: Api, model: str, system: str | None) -> Any:
    return ask(server, api, model, system, **{HEADER: "never"})


@pytest.mark.parametrize("api", APIS.values(), ids=APIS)
def test_with_and_without_the_clients_own_copy_the_answers_are_the_same(
    server: LiveServer, expert: dict[Switch, str], api: Api
) -> None:
    own = ask(server, api, expert["default"], PROMPT)
    bare = word_for_word(server, api, expert["default"], None)
    assert bare != _rounded(own)
    for name in ("finance@candidate", expert["default"], expert["always"]):
        assert ask(server, api, name, None) == _rounded(own)
        assert ask(server, api, name, PROMPT) == _rounded(own)
    assert ask(server, api, expert["never"], None) == _rounded(bare)


@pytest.mark.parametrize("api", APIS.values(), ids=APIS)
def test_a_clients_own_other_prompt_stays_and_follows_where_the_versions_always_stands_first(
    server: LiveServer, expert: dict[Switch, str], api: Api
) -> None:
    for switch in ("default", "never"):
        other = word_for_word(server, api, expert[switch], OTHER)
        assert ask(server, api, expert[switch], OTHER) == _rounded(other)
    both = word_for_word(server, api, expert["always"], f"{PROMPT}\n\n{OTHER}")
    assert ask(server, api, expert["always"], OTHER) == _rounded(both)


@pytest.mark.parametrize("api", APIS.values(), ids=APIS)
def test_the_base_model_and_versions_from_before_are_given_nothing(server: LiveServer, api: Api) -> None:
    for name in (server.base.name, "medical"):
        assert ask(server, api, name, None) == _rounded(word_for_word(server, api, name, None))


def streamed(server: LiveServer, api: Api, model: str, system: str | None) -> tuple[str, Any]:
    """The text and the number of the prompt's tokens that a stream tells."""
    options = {"stream_options": {"include_usage": True}} if api is APIS["chat"] else {}
    body = {**api.body(system), "model": model, "stream": True, **options}
    text, tokens = "", None
    with httpx.stream("POST", f"{server.url}{api.path}", json=body, timeout=60) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            delta = event.get("delta") or "".join(
                each["delta"].get("content") or "" for each in event.get("choices", [])
            )
            text += delta if isinstance(delta, str) else delta.get("text") or ""
            told = event.get("usage") or (event.get("response") or event.get("message") or {}).get("usage") or {}
            tokens = told.get("prompt_tokens") or told.get("input_tokens") or tokens
    return text, tokens


@pytest.mark.parametrize("name", ["chat", "responses", "messages"])
def test_streamed_answers_are_the_same_too(server: LiveServer, expert: dict[Switch, str], name: str) -> None:
    own = streamed(server, APIS[name], expert["default"], PROMPT)
    assert own[0] and own[1]
    assert streamed(server, APIS[name], "finance@candidate", None) == own
    assert streamed(server, APIS[name], expert["default"], OTHER) != own


def test_models_say_the_prompt_and_when_it_is_given(server: LiveServer, expert: dict[Switch, str]) -> None:
    listed = {model.id: model.model_dump()["locum"] for model in server.client.models.list()}
    for switch, name in expert.items():
        assert (listed[name]["system"], listed[name]["system_prompt"]) == (switch, PROMPT)
    assert listed["finance@candidate"]["system_prompt"] == PROMPT
    assert "system" not in listed["medical@1"]


def test_a_header_that_is_not_known_is_refused_by_name(server: LiveServer) -> None:
    answer = httpx.post(
        f"{server.endpoint}/chat/completions", json={"model": "medical", "messages": [USER]}, headers={HEADER: "off"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("x-locum-system: expected never, found 'off'")
