"""The door and every route of the real vLLM app behind it: what was resolved is what answers, or nothing does."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY
from starlette.routing import Mount, Route

from locum.serve.access import CLOSED, ROUTES, find_route
from locum.serve.answer_ids import BASE_ID
from tests.serve.inside import TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="session")
REQUESTS, AT_ONCE = 5000, 32
CHAT = [{"role": "user", "content": "Well?"}]
ASKING = {route.path: route for route in ROUTES if route.access == "model"}
MEANT = {"medical": "medical@1", "legal": "legal@1", "legal@candidate": "legal@2"}
MEANT |= {name: name for name in ("tiny-llama", "medical@1", "legal@1", "legal@2")}


def body_of(path: str, **fields: Any) -> dict[str, Any]:
    """A short question in the way of this route."""
    asks: dict[str, dict[str, Any]] = {
        "/v1/completions": {"prompt": "Well?", "max_tokens": 2},
        "/v1/chat/completions/batch": {"messages": [CHAT, CHAT], "max_tokens": 2},
        "/v1/responses": {"input": "Well?", "max_output_tokens": 2},
        "/tokenize": {"prompt": "Well?"},
        "/detokenize": {"tokens": [5, 6, 7]},
    }
    return {**asks.get(path, {"messages": CHAT, "max_tokens": 2}), **fields}


def total(sample: str, **labels: str) -> float:
    return sum(
        each.value
        for family in REGISTRY.collect()
        for each in family.samples
        if each.name == sample and labels.items() <= each.labels.items()
    )


def speakers(answer: httpx.Response) -> set[str]:
    """Every model that an answer names, in its body or its chunks."""
    return set(re.findall(r'"model": ?"([^"]*)"', answer.text))


def signed_for(app: FastAPI, answer: httpx.Response) -> int | None:
    found: int | None = app.state.locum.answer_ids.version_id(answer.headers.get("x-request-id", ""))
    return found


async def row_of(app: FastAPI, name: str) -> int:
    """The row of a version in the registry, as ids have it."""
    entry = await app.state.locum.swap.resolve(name)
    return entry.id if entry else BASE_ID


async def settled(app: FastAPI) -> None:
    """Until vLLM's statistics of the last request are in."""
    while app.state.engine_client.output_processor.has_unfinished_requests():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0)


async def test_each_route_of_vllms_app_is_in_the_table(app: FastAPI) -> None:
    offered = {(route.method, route.path) for route in ROUTES}
    there_is = set()
    for route in app.routes:
        if isinstance(route, Mount):
            there_is |= {("GET", route.path)}
        else:
            assert isinstance(route, Route), f"{route} is of a new kind"
            there_is |= {(method, route.path) for method in (route.methods or set()) - {"HEAD"}}
    unknown = {(method, path) for method, path in there_is - offered if path not in CLOSED}
    assert not unknown, f"each needs an entry in ROUTES, or in CLOSED with the reason: {sorted(unknown)}"
    assert offered - there_is == {("GET", "/metrics/")}
    assert set(CLOSED) <= {path for _, path in there_is}, "what vLLM has no more needs no reason"


@pytest.mark.parametrize("path", sorted(CLOSED))
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_is_closed_is_a_404_even_for_who_administers(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await client.request(
        method, path, json=body_of(path, model="medical"), headers={"authorization": f"Bearer {TOKEN}"}
    )
    assert answer.status_code == 404
    kind = "not_found_error" if path.startswith("/v1/messages") else "NotFoundError"
    assert answer.json()["error"]["type"] == kind


@pytest.mark.parametrize("path", sorted(ASKING))
@pytest.mark.parametrize("model", sorted(MEANT))
async def test_what_was_resolved_answers_and_is_accounted_and_signed_for(
    app: FastAPI, client: httpx.AsyncClient, path: str, model: str
) -> None:
    domain, _, number = MEANT[model].partition("@")
    of = {"domain": domain, "version": number} if number else {"domain": "base"}
    before = [total(f"locum_{name}_total", **of) for name in ("requests", "prompt_tokens", "completion_tokens")]
    answer = await client.post(path, json=body_of(path, model=model, ignore_eos=True))
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-locum-adapter"] == MEANT[model]
    assert speakers(answer) <= {MEANT[model]}
    await settled(app)
    after = [total(f"locum_{name}_total", **of) for name in ("requests", "prompt_tokens", "completion_tokens")]
    asked, prompt, completion = (new - old for new, old in zip(after, before, strict=True))
    assert asked == 1
    version_id = await row_of(app, MEANT[model])
    if ASKING[path].generates:
        usage = answer.json()["usage"]
        assert prompt == usage.get("prompt_tokens", usage.get("input_tokens"))
        assert completion == usage.get("completion_tokens", usage.get("output_tokens"))
        assert completion == (4 if path.endswith("/batch") else 2)
        assert signed_for(app, answer) == version_id
        assert app.state.locum.answer_ids.version_id(answer.json()["id"]) == version_id
    else:
        assert (prompt, completion, signed_for(app, answer)) == (0, 0, None)


@pytest.mark.parametrize("path", sorted(path for path, route in ASKING.items() if route.generates))
@pytest.mark.parametrize("wrong", [{"temperature": "hot"}, {"max_tokens": -1, "max_output_tokens": -1}])
async def test_a_refused_request_has_an_id_that_vouches_for_nothing(
    app: FastAPI, client: httpx.AsyncClient, path: str, wrong: dict[str, Any]
) -> None:
    answer = await client.post(path, json=body_of(path, model="medical", **wrong))
    assert answer.status_code == 400
    assert len(answer.headers["x-request-id"]) == 40
    assert signed_for(app, answer) is None


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize"])
@pytest.mark.parametrize("fields", [{}, {"model": None}])
async def test_tokens_are_the_base_models_where_no_model_is_named(
    client: httpx.AsyncClient, path: str, fields: dict[str, Any]
) -> None:
    answer = await client.post(path, json=body_of(path, **fields))
    assert (answer.status_code, answer.headers["x-locum-adapter"]) == (200, "tiny-llama")


@pytest.mark.parametrize("path", sorted(path for path, route in ASKING.items() if not route.may_name_none))
@pytest.mark.parametrize("fields", [{}, {"model": None}, {"model": 7}, {"model": ["medical"]}])
async def test_without_the_name_of_a_model_nothing_is_asked(
    client: httpx.AsyncClient, path: str, fields: dict[str, Any]
) -> None:
    answer = await client.post(path, json=body_of(path, **fields))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert "model: expected the name of a model" in error["message"]
    assert error["type"] == ("invalid_request_error" if path.startswith("/v1/messages") else "BadRequestError")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_would_use_another_adapter_answers_nothing_and_it_is_counted(
    app: FastAPI, client: httpx.AsyncClient, path: str, stream: bool
) -> None:
    lora_requests = app.state.openai_serving_models.lora_requests
    right = lora_requests["medical@1"]
    before = total("locum_answers_by_another_version_total", domain="legal", version="1")
    try:
        lora_requests["medical@1"] = lora_requests["legal@1"]
        answer = await client.post(path, json=body_of(path, model="medical", stream=stream))
    finally:
        lora_requests["medical@1"] = right
    assert total("locum_answers_by_another_version_total", domain="legal", version="1") == 1 + before
    assert "completed" not in answer.text and '"finish_reason":"' not in answer.text
    assert "error" in answer.text or "event: response.created" in answer.text
    if "event: response.created" not in answer.text:  # said before the engine is asked
        assert signed_for(app, answer) is None


async def test_what_the_registry_warns_of_is_logged_in_a_server(app: FastAPI) -> None:
    assert logging.getLogger("locum.registry").isEnabledFor(logging.WARNING)


async def test_the_engine_is_asked_nothing_behind_the_door(app: FastAPI) -> None:
    from vllm import SamplingParams
    from vllm.v1.engine.exceptions import EngineGenerateError

    before = total("locum_answers_by_another_version_total")
    asking = app.state.engine_client.generate({"prompt_token_ids": [5]}, SamplingParams(max_tokens=1), "behind")
    with pytest.raises(EngineGenerateError):
        async for _ in asking:
            pass
    assert total("locum_answers_by_another_version_total") == 1 + before


@dataclass(frozen=True)
class Question:
    """A request of the fuzz test. `meant` is what must answer it, None where it is not clear from its body."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes


MODELS = [
    *MEANT,
    *MEANT,
    *MEANT,
    "medical@9",
    "astrology",
    "Medical",
    "",
    " medical",
    "medical\n",
    None,
    7,
    ["medical"],
]
HEADERS = [
    {},
    {},
    {"x-amzn-sagemaker-adapter-identifier": "legal@1"},
    {"x-amzn-sagemaker-session-id": "NEW_SESSION"},
    {"x-request-id": "visit"},
    {"x-request-id": "0" * 40},
    {"authorization": f"Bearer {TOKEN}"},
    {"authorization": "Bearer wrong"},
    {"x-api-key": TOKEN},
    {"origin": "https://page.example"},
    {"origin": "https://page.example", "access-control-request-method": "POST"},
    {"content-encoding": "gzip"},
    {"x-session-id": "one", "x-data-parallel-rank": "0"},
    {"upgrade": "websocket", "connection": "upgrade"},
    {"x-http-method-override": "POST"},
    {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
]
MEDIA_TYPES = [
    *["application/json"] * 6,
    *["Application/JSON", "application/json; charset=utf-8", "APPLICATION/JSON;charset=utf-16", " application/json "],
    *["application/json, text/plain", "application/vnd.api+json", "text/plain", "text/json", "*/*", "", None],
    *["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"],
]
FIELDS: list[dict[str, Any]] = [
    *[{}, {}, {}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}, {"n": 2}],
    *[{"prompt": ["Well?", "And?"]}, {"stop": ["e", "a"]}, {"use_beam_search": True, "n": 2}, {"echo": True}],
    *[{"request_id": "mine"}, {"lora_request": {"lora_name": "legal@1"}}, {"adapter": "legal@1"}, {"Model": "legal@1"}],
    *[{"background": True, "store": True}, {"previous_response_id": "resp_1"}, {"instructions": "Be brief."}],
    *[{"priority": 3}, {"cache_salt": "salt"}, {"kv_transfer_params": {"do_remote_decode": True}}, {"system": "Hm."}],
    *[{"logprobs": True, "top_logprobs": 1}, {"prompt_logprobs": 1}, {"temperature": "hot"}, {"max_tokens": 0}],
    *[{"tool_choice": "auto", "tools": []}, {"response_format": {"type": "json_object"}}, {"messages": []}],
]
ELSEWHERE = [
    *["/", "/v1", "/v1/embeddings", "/pooling", "/score", "/v1/realtime", "/v1/audio/transcriptions", "/rerank"],
    *["/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/pause", "/sleep", "/collective_rpc", "/server_info"],
    *["/inference/v1/generate", "/inference/v1/abort_requests", "/abort_requests", "/v1/chat/completions/render"],
    *["/v1/completions/derender", "/cohere/v2/chat", "/start_profile", "/reset_prefix_cache", "/update_weights"],
    *["/fault_tolerance/apply", "/is_paused", "/v1/models/legal@1", "/v1/models/tiny-llama", "/v1/models/none"],
]


def fuzzed(chance: random.Random) -> Question:
    path = chance.choice([*ASKING, *ASKING, *ASKING, *CLOSED, *ELSEWHERE, *(route.path for route in ROUTES)])
    path = re.sub(r"\{[^}]*\}", "medical", path)
    body = body_of(path, **chance.choice(FIELDS), **chance.choice([{"ignore_eos": True}, {}]))
    if chance.random() < 0.95:
        body["model"] = chance.choice(MODELS)
    if chance.random() < 0.08:
        path = chance.choice([f"{path}/", f"/{path}", path.upper(), f"/x/..{path}", path.replace("/", "/./", 1)])
    headers = {**chance.choice(HEADERS), **chance.choice(HEADERS)}
    if media_type := chance.choice(MEDIA_TYPES):
        headers["content-type"] = media_type
    methods = ["POST"] * 12 + ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"]
    return Question(chance.choice(methods), path, headers, _written(body, chance))


def _written(body: dict[str, Any], chance: random.Random) -> bytes:
    """A body as it may be written, right or wrong."""
    text = json.dumps(body)
    ways: list[Callable[[], bytes]] = [
        *[text.encode] * 12,
        lambda: text.encode("utf-16"),
        lambda: text.encode("utf-8-sig"),
        lambda: (text[:-1] + ', "model": "legal@2"}').encode(),
        lambda: ('{"model": "legal@2", ' + text[1:]).encode(),
        lambda: text.replace('"model"', '"mod\\u0065l"').encode(),
        lambda: (text[:-1] + ', "top_p": NaN}').encode(),
        lambda: f"[{text}]".encode(),
        lambda: text[: chance.randrange(len(text))].encode(),
        lambda: b"",
        lambda: b"\xff\xfe" + text.encode(),
        lambda: f"model=medical&body={text}".encode(),
    ]
    return chance.choice(ways)()


async def test_thousands_of_odd_requests_find_no_answer_by_another_version_without_an_account_or_a_signature(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    chance = random.Random(20261201)
    questions = [fuzzed(chance) for _ in range(REQUESTS)]
    names = ("locum_answers_by_another_version_total", "locum_completion_tokens_total", "vllm:generation_tokens_total")
    await settled(app)
    before = [*(total(name) for name in names), total("locum_requests_total", outcome="ok")]
    places = asyncio.Semaphore(AT_ONCE)
    answered: set[str] = set()

    async def ask(question: Question) -> int:
        async with places:
            answer = await client.request(
                question.method, question.path, headers=question.headers, content=question.content
            )
        path = answer.request.url.path  # without the dots
        signed = signed_for(app, answer)
        speaker = answer.headers.get("x-locum-adapter")
        problem = f"{question}\n{answer.status_code} {answer.headers}\n{answer.text[:500]}"
        if speaker is None:
            assert signed is None and not speakers(answer) & {*MEANT.values()}, problem
            return 0
        assert answer.status_code < 500, problem
        assert ASKING[path] is find_route(question.method, path), problem
        if answer.status_code != 200 or not ASKING[path].generates:
            assert signed is None, problem
            return int(answer.status_code == 200)
        assert speakers(answer) <= {speaker}, problem
        if answer.headers["x-request-id"] != question.headers.get("x-request-id"):
            assert signed == await row_of(app, speaker), problem
        assert MEANT[json.loads(question.content)["model"]] == speaker, problem
        answered.add(f"{path} {speaker}")
        return 1

    counted = sum(await asyncio.gather(*(ask(question) for question in questions)))
    await settled(app)
    after = [*(total(name) for name in names), total("locum_requests_total", outcome="ok")]
    by_another, ours, vllms, requests = (new - old for new, old in zip(after, before, strict=True))
    assert by_another == 0
    assert ours == vllms > 0, "tokens that are in no version's account"
    assert requests == counted
    generating = [path for path, route in ASKING.items() if route.generates]
    assert answered == {f"{path} {name}" for path in generating for name in MEANT.values()}, "the fuzz reaches them all"
