"""The door: an ASGI middleware before vLLM that authenticates, and turns an alias into a version once.

It is an allowlist (`access.ROUTES`). vLLM behind it only ever sees immutable version names that were resolved here, so
nothing there can be stale; the `model` field of the answer and the header `x-locum-adapter` say which version spoke.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from locum.errors import LocumError, NotFoundError, UnavailableError
from locum.serve import metrics
from locum.serve.access import ANTHROPIC, Route, find_route
from locum.serve.answer import TOLD, Answer
from locum.serve.auth import require_token, tokens_of
from locum.serve.body import Body
from locum.serve.engine import ENGINE_DEAD
from locum.serve.http_errors import MediaTypeError, error_response
from locum.serve.limits import read_body, replay
from locum.serve.requests import REQUEST_ID, accounted

if TYPE_CHECKING:
    from locum.serve.plugin import ServerState


class Door:
    """Wraps vLLM's app. Its state is `app.state.locum`, which the endpoint plugin sets up."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            await self._enter(scope, receive, send)
        except LocumError as error:
            metrics.count_request(None, "refused" if error.http_status < 500 else "failed")
            await _refuse(error, scope, receive, send)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        state: ServerState | None = getattr(scope["app"].state, "locum", None)
        if state is None:
            raise UnavailableError("Locum's endpoint plugin is not loaded", hint="start vLLM with VLLM_PLUGINS=locum")
        if scope["type"] != "http":
            raise NotFoundError(f"there is no {scope['type']} route {scope['path']}")
        headers = Headers(scope=scope)
        if _is_preflight(scope["method"], headers):
            await self.app(scope, receive, send)  # vLLM's CORS middleware answers it, before any route
            return
        route = find_route(scope["method"], _path(scope))
        _authorize(route, headers, state)
        if route.access == "model":
            await self._ask(route, scope, receive, send, state)
            return
        if not route.streams:
            body = await read_body(receive, headers, limit=route.max_bytes) if route.max_bytes else b""
            receive = replay(body, receive)
        await self.app(scope, receive, send)

    async def _ask(self, route: Route, scope: Scope, receive: Receive, send: Send, state: ServerState) -> None:
        headers = Headers(scope=scope)
        _require_json(headers)
        body = Body(await read_body(receive, headers, limit=route.max_bytes))
        if state.swap.engine.dead:
            raise UnavailableError(ENGINE_DEAD)
        name = await state.swap.resolve(body.model) or state.swap.engine.base_name
        with ExitStack() as while_it_runs:
            request = while_it_runs.enter_context(
                accounted(
                    headers.get(REQUEST_ID),
                    name,
                    version_id=state.swap.version_id(name),
                    ids=state.answer_ids,
                    path=route.path,
                    generates=route.generates,
                    log=state.log_requests,
                )
            )
            fields = {"model": name}
            if route.path == "/v1/responses":
                fields["request_id"] = f"resp_{request.id}"  # which this API does not take from the header
            raw = body.replacing(fields)
            given = {REQUEST_ID: request.id, "content-type": "application/json", "content-length": str(len(raw))}
            if state.traces is not None:
                given |= while_it_runs.enter_context(state.traces.span(request, path=route.path, headers=headers))
            scope = {**scope, "headers": _with(scope["headers"], given)}
            answer = Answer(send, request, state.swap.engine, anthropic=_is_anthropic(route.path))
            await self.app(scope, replay(raw, receive), answer)


def _path(scope: Scope) -> str:
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def _is_anthropic(path: str) -> bool:
    return path.startswith(ANTHROPIC)


def _is_preflight(method: str, headers: Headers) -> bool:
    """Whether it is a browser's question before its request, which carries no key. https://fetch.spec.whatwg.org"""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def _authorize(route: Route, headers: Headers, state: ServerState) -> None:
    if route.access == "admin":
        require_token(tokens_of(headers), [state.admin_token], what_for="this route")
    elif route.access != "open" and state.api_key:
        require_token(tokens_of(headers), [state.api_key, state.admin_token], what_for="this server")


def _require_json(headers: Headers) -> None:
    media_type = headers.get("content-type", "").partition(";")[0].strip()
    if media_type.lower() != "application/json":
        raise MediaTypeError(f"content-type: expected application/json, found {media_type or 'none'}")
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise MediaTypeError(f"content-encoding: expected none, found {encoding}")


async def _refuse(error: LocumError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": str(error)})
        return
    answer: ASGIApp = error_response(error, anthropic=_is_anthropic(_path(scope)))
    if args := getattr(scope["app"].state, "args", None):  # so that a page in a browser can read it, as any answer
        answer = CORSMiddleware(
            answer,
            allow_origins=args.allowed_origins,
            allow_methods=args.allowed_methods,
            allow_headers=args.allowed_headers,
            allow_credentials=args.allow_credentials,
            expose_headers=TOLD.split(", "),
        )
    await answer(scope, receive, send)


def _with(headers: list[tuple[bytes, bytes]], given: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers that vLLM gets: it names a request, and its span, as they say."""
    new = [(name.encode(), value.encode()) for name, value in given.items()]
    replaced = {name for name, _ in new} | {b"transfer-encoding"}
    return [*((name, value) for name, value in headers if name.lower() not in replaced), *new]
