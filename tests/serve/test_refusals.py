"""Refusals: in the format of the API that was asked, readable by a page, and before a byte of a body is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message

from locum.errors import UnavailableError
from locum.serve import uploads
from locum.serve.access import ROUTES, Route
from locum.serve.own_command import run_locum
from tests.serve.inside import PAGE, TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="session")
ADMIN = {"authorization": f"Bearer {TOKEN}"}
CHAT = {"model": "medical", "messages": [{"role": "user", "content": "Well?"}], "max_tokens": 2}


@pytest.fixture
def with_a_key(app: FastAPI) -> Any:
    before = app.state.locum
    app.state.locum = replace(before, api_key="sk-1")
    yield
    app.state.locum = before


async def status_without_reading(app: FastAPI, method: str, path: str, headers: dict[str, str]) -> int:
    """The status that a request gets whose body nobody may touch."""

    async def receive() -> Message:
        raise AssertionError("the body was read")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw, "query_string": b"", "root_path": ""}
    await app(scope, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize("route", [route for route in ROUTES if route.access != "open"])
@pytest.mark.parametrize("token", [{}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}])
@pytest.mark.usefixtures("with_a_key")
async def test_who_may_not_is_told_before_a_byte_of_the_body_is_read(
    app: FastAPI, route: Route, token: dict[str, str]
) -> None:
    path = route.path.replace("{model:path}", "medical").replace("{domain}", "medical")
    headers = {**token, "content-type": "application/json"}
    assert await status_without_reading(app, route.method, path, headers) == 401


@pytest.mark.parametrize("route", [route for route in ROUTES if route.max_bytes or route.streams])
async def test_what_says_that_it_is_too_large_is_refused_before_a_byte_is_read(app: FastAPI, route: Route) -> None:
    headers = {**ADMIN, "content-type": "application/json", "content-length": str(1 << 40)}
    path = route.path.replace("{domain}", "medical")
    assert await status_without_reading(app, route.method, path, headers) == 413


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("POST", "/v1/chat/completions", {"json": {**CHAT, "model": "astrology"}}, 404),
        ("POST", "/v1/chat/completion", {"json": CHAT}, 404),
        ("GET", "/v1/chat/completions", {}, 405),
        ("PUT", "/v1/models", {}, 405),
        ("GET", "/v1/models/astrology", {}, 404),
        ("POST", "/v1/chat/completions", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
        ("POST", "/v1/chat/completions", {"content": b"model=medical"}, 415),
        ("POST", "/v1/chat/completions", {"json": CHAT, "headers": {"content-encoding": "gzip"}}, 415),
        ("POST", "/v1/chat/completions", {"json": {**CHAT, "temperature": "hot"}}, 400),
        ("POST", "/v1/feedback", {"content": bytes(300 << 10)}, 413),
        ("POST", "/v1/domains/medical/release", {"json": {"unknown": 1}, "headers": ADMIN}, 400),
        ("POST", "/v1/domains/medical/release", {"json": {"version": 9}, "headers": ADMIN}, 404),
        ("POST", "/v1/domains/medical/release", {"json": {"version": 1}}, 401),
        ("POST", "/v1/adapters", {"content": b"x", "headers": ADMIN}, 400),
        ("GET", "/docs", {}, 404),
    ],
)
async def test_each_refusal_is_in_openais_format_and_a_page_can_read_it(
    client: httpx.AsyncClient, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    headers = {**options.pop("headers", {}), "origin": PAGE}
    answer = await client.request(method, path, headers=headers, **options)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["code"] == status
    assert answer.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({"model": "astrology"}, 404, "not_found_error"),
        ({"model": None}, 400, "invalid_request_error"),
        ({"temperature": "hot"}, 400, "invalid_request_error"),  # refused by vLLM, by its validation
        ({"max_tokens": 10**6}, 400, "invalid_request_error"),  # by its handler
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_refusals_of_anthropics_api_are_in_its_format(
    client: httpx.AsyncClient, path: str, fields: dict[str, Any], status: int, kind: str
) -> None:
    if path.endswith("count_tokens") and "model" not in fields:
        fields, status = {"messages": 7}, 400
    answer = await client.post(path, json={**CHAT, **fields})
    assert answer.status_code == status, answer.text
    content = answer.json()
    assert (content["type"], content["error"]["type"]) == ("error", kind)
    assert content["error"]["message"]


async def test_a_page_may_ask_before_it_asks_and_read_what_an_answer_says_beside_its_body(
    client: httpx.AsyncClient,
) -> None:
    asks = {"origin": PAGE, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    assert (await client.options("/v1/chat/completions", headers=asks)).status_code == 200
    answer = await client.post("/v1/chat/completions", json=CHAT, headers={"origin": PAGE})
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "x-locum-adapter" in answer.headers["access-control-expose-headers"]
    assert (await client.options("/v1/chat/completions")).status_code == 405


@pytest.mark.parametrize("name", ["medical", "medical@1", "legal@candidate", "tiny-llama"])
async def test_a_model_is_found_by_any_of_its_names(client: httpx.AsyncClient, name: str) -> None:
    listed = (await client.get("/v1/models")).json()["data"]
    assert (await client.get(f"/v1/models/{name}")).json() in listed


def files(**changes: Any) -> dict[str, Any]:
    return {"adapter_config": ("a.json", b"{}"), "adapter_model": ("m.safetensors", b"x"), **changes}


@pytest.mark.parametrize(
    ("data", "given", "complaint"),
    [
        ({"domain": "medical", "colour": "red"}, files(), "Too many fields"),
        ({"domain": "medical"}, {**files(), "third": ("x", b"x")}, "Too many files"),
        ({"colour": "red"}, files(), "colour: expected the parts domain, adapter_config and adapter_model alone"),
        ({}, files(), "domain: expected a domain's name"),
        ({"domain": "Not A Name"}, files(), "Not A Name"),
        ({"domain": "medical"}, {"adapter_config": ("a.json", b"{}")}, "adapter_model: expected"),
        ({"domain": "medical"}, files(), "adapter_config.json"),
    ],
)
async def test_an_upload_that_is_wrong_is_refused_with_what_is_wrong(
    client: httpx.AsyncClient, data: dict[str, str], given: dict[str, Any], complaint: str
) -> None:
    answer = await client.post("/v1/adapters", data=data, files=given, headers=ADMIN)
    assert answer.status_code == 400, answer.text
    assert complaint in answer.json()["error"]["message"]


async def test_an_upload_that_goes_on_beyond_its_limit_is_refused(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="adapter_model"; filename="m"\r\n\r\n'
        while True:
            yield bytes(1 << 20)

    headers = {**ADMIN, "content-type": "multipart/form-data; boundary=x"}
    answer = await client.post("/v1/adapters", content=endless(), headers=headers)
    assert answer.status_code == 413


async def test_an_upload_that_there_is_no_room_for_is_refused_before_it_is_read(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    headers = {**ADMIN, "content-type": "multipart/form-data; boundary=x", "content-length": "1000"}
    assert await status_without_reading(app, "POST", "/v1/adapters", headers) == 503


async def test_no_more_adapters_are_registered_at_once_than_the_stated_number(app: FastAPI) -> None:
    async with asyncio.TaskGroup() as group:
        held = [group.create_task(uploads._registering.acquire()) for _ in range(uploads.AT_ONCE)]
    assert all(task.result() for task in held)
    try:
        assert await status_without_reading(app, "POST", "/v1/adapters", ADMIN) == 429
    finally:
        for _ in held:
            uploads._registering.release()


async def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(UnavailableError, match=r"`locum adapters list` took over 0\.01 seconds, and was ended"):
        await run_locum("adapters", "list", seconds=0.01)
