"""The parts of the door that need no server: tokens, bodies and routes."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.types import Message

from locum.errors import NotFoundError, UnauthorizedError
from locum.serve.access import ROUTES, Route, find_route
from locum.serve.auth import require_token, tokens_of
from locum.serve.http_errors import MethodNotAllowedError, TooLargeError, TooSlowError
from locum.serve.limits import bounded, check_length, read_body

NO_HEADERS = Headers({})


@given(st.lists(st.text()))
def test_no_token_but_the_right_one_opens(tokens: list[str]) -> None:
    with pytest.raises(UnauthorizedError):
        require_token(tokens, ["right-token"], what_for="this route")


@pytest.mark.parametrize(
    "headers", [{"authorization": "Bearer one"}, {"authorization": "bearer two"}, {"x-api-key": "two"}]
)
def test_any_of_the_accepted_tokens_opens_as_openais_or_anthropics_clients_send_it(headers: dict[str, str]) -> None:
    require_token(tokens_of(headers), ["one", "two"], what_for="this route")


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer "}, {"x-api-key": ""}, {"authorization": "Basic one"}]
)
def test_an_empty_token_is_none(headers: dict[str, str]) -> None:
    with pytest.raises(UnauthorizedError):
        require_token(tokens_of(headers), ["one", ""], what_for="this route")


@pytest.mark.parametrize(("limit", "said"), [(64 << 20, "64 MiB"), (256 << 10, "256 KiB")])
async def test_a_body_that_is_too_large_is_told_the_limit_in_the_unit_that_it_is_given_in(
    limit: int, said: str
) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": bytes(limit // 2), "more_body": True}

    with pytest.raises(TooLargeError, match=f"^the request has more than {said}$"):
        await read_body(receive, NO_HEADERS, limit=limit)
    within = bounded(receive, limit=limit, seconds=60)
    with pytest.raises(TooLargeError):
        while True:
            await within()


async def test_of_a_body_that_says_that_it_is_too_large_nothing_is_read() -> None:
    async def receive() -> Message:
        raise AssertionError("it was read")

    for length in ("101", "1" * 100):
        with pytest.raises(TooLargeError):
            await read_body(receive, Headers({"content-length": length}), limit=100)
    check_length(Headers({"content-length": "100"}), limit=100)


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(TooSlowError, match=r"not there within 0\.01 seconds"):
        await read_body(receive, NO_HEADERS, limit=100, seconds=0.01)
    with pytest.raises(TooSlowError):
        await bounded(receive, limit=100, seconds=0.01)()


@pytest.mark.parametrize("route", ROUTES)
def test_each_route_is_found_by_its_method_and_path_alone(route: Route) -> None:
    path = route.path.replace("{model:path}", "org/name@3").replace("{domain}", "medical")
    assert find_route(route.method, path) is route
    with pytest.raises(MethodNotAllowedError) as caught:
        find_route("DELETE", path)
    assert route.method in caught.value.headers["allow"]


@given(st.text().filter(lambda path: not path.startswith(("/v1/models/", "/v1/domains/"))))
def test_any_other_path_is_a_404(path: str) -> None:
    if path not in {route.path for route in ROUTES}:
        with pytest.raises(NotFoundError):
            find_route("POST", path)


def test_a_path_without_its_v1_is_told_what_it_lacks() -> None:
    with pytest.raises(NotFoundError) as caught:
        find_route("POST", "/chat/completions")
    assert caught.value.hint is not None and "ends in /v1" in caught.value.hint


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/v1/model", "/v1/models"),
        ("/v1/adapter", "/v1/adapters"),
    ],
)
def test_a_mistyped_path_is_told_what_was_meant(asked: str, meant: str) -> None:
    with pytest.raises(NotFoundError, match=rf"no route {asked}: did you mean {meant}\?"):
        find_route("POST", asked)
