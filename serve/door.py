"""The door: an ASGI middleware before vLLM that authenticates, and turns an alias into a version once.

It is an allowlist (`access.ROUTES`). vLLM behind it only ever sees immutable version names that were resolved here, so
nothing there can be stale; the `model` field of the answer and the header `x-locum-adapter` say which version spoke.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from locum.adapters.system_prompt import HEADER as SYSTEM_HEADER
from locum.errors import LocumError, NotFoundError, UnavailableError
from locum.serve import metrics
from locum.serve.access import ANTHROPIC, Route, find_route
from locum.serve.answer import TOLD, Answer
from locum.serve.answer_ids import BASE_ID
from locum.serve.auth import require_token, tokens_of
from locum.serve.body import Body
from locum.serve.engine import ENGINE_DEAD
from locum.serve.http_errors import MediaTypeError, error_response
from locum.serve.limits import read_body, replay
from locum.serve.notices import enforcing
from locum.serve.parsers import refuse_tools
from locum.serve.requests import REQUEST_ID, Asked, accounted
from locum.serve.system_prompt import give_system_prompt

if TYPE_CHECKING:
    from locum.serve.plugin import ServerState

JSON = {"content-type": "application/json"}


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
        if route.access == "open":
            await self.app(scope, replay(b"", receive), send)
            return
        _authorize(route, headers, state)
        with state.drain.admitted():
            await self._admit(route, scope, receive, send, state)

    async def _admit(self, route: Route, scope: Scope, receive: Receive, send: Send, state: ServerState) -> None:
        if route.access == "model":
            await self._ask(route, scope, receive, send, state)
            return
        if not route.streams:
            body = await read_body(receive, Headers(scope=scope), limit=route.max_bytes) if route.max_bytes else b""
            receive = replay(body, receive)
        await self.app(scope, receive, send)

    async def _ask(self, route: Route, scope: Scope, receive: Receive, send: Send, state: ServerState) -> None:
        headers = Headers(scope=scope)
        _require_json(headers)
        raw = await read_body(receive, headers, limit=route.max_bytes)
        engine = state.swap.engine
        body = Body(raw, otherwise=engine.base_name if route.may_name_none else None)
        if engine.dead:
            raise UnavailableError(ENGINE_DEAD)
        if route.generates and state.tools.parser is None:
            refuse_tools(body.values("tools", "tool_choice"), state.tools)
        entry = await state.swap.resolve(body.model)
        version = entry.manifest if entry else None
        name = version.name if version else engine.base_name
        fields = give_system_prompt(route.path, body.fields, version, header=headers.get(SYSTEM_HEADER))
        send = enforcing(send, version, path=route.path, body=body)
        accounting = accounted(
            *(headers.get(REQUEST_ID), name),
            version_id=entry.id if entry else BASE_ID,
            ids=state.answer_ids,
            path=route.path,
            generates=route.generates,
            log=state.log_requests,
        )
        with accounting as request, _span(state, request, headers) as named:
            raw = body.replacing({**fields, "model": name, **_id_in_body(request)})
            given = {REQUEST_ID: request.id, **JSON, "content-length": str(len(raw)), **named}
            answer = Answer(send, request, state, anthropic=_is_anthropic(route.path))
            await self.app({**scope, "headers": _with(scope["headers"], given)}, replay(raw, receive), answer)


def _span(state: ServerState, request: Asked, headers: Headers) -> AbstractContextManager[dict[str, str]]:
    """A span while the request runs, and the headers that name it."""
    return nullcontext({}) if state.traces is None else state.traces.span(request, headers=headers)


def _id_in_body(request: Asked) -> dict[str, str]:
    """The id where vLLM does not take it from the header."""
    return {"request_id": f"resp_{request.id}"} if request.path == "/v1/responses" else {}


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
    elif state.api_key:
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
