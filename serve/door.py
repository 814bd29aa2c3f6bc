"""The door: an ASGI middleware before vLLM that authenticates, and turns an alias into a version once.

vLLM behind it only ever sees immutable version names, so nothing there can be stale; the `model` field of the
answer and the header `x-locum-adapter` say which version spoke.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from locum.errors import LocumError, UnavailableError
from locum.serve import metrics
from locum.serve.auth import require_token
from locum.serve.body import Body
from locum.serve.notices import enforcing
from locum.serve.requests import REQUEST_ID, Asked, accounted

if TYPE_CHECKING:
    from locum.serve.engine import Engine

ADAPTER_HEADER = "x-locum-adapter"
# Paths that anybody may read: liveness, readiness and metrics tell nothing of what is asked or answered.
OPEN_PATHS = frozenset({"/health", "/ready", "/ping", "/version", "/metrics"})
ENGINE_DEAD = "the engine has died, and the server is started again"
FEEDBACK_PATH = "/v1/feedback"  # its `model` is not asked, but told
MAX_BODY_BYTES = 64 * 1024 * 1024


class Door:
    """Wraps vLLM's app. Its state is `app.state.locum`, which the endpoint plugin sets up."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or scope.get("method") == "OPTIONS":
            await self.app(scope, receive, send)
            return
        try:
            await self._enter(scope, receive, send)
        except LocumError as error:
            metrics.count_request(None, "refused" if error.http_status < 500 else "failed")
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": str(error)})
            else:
                await error_response(error)(scope, receive, send)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = getattr(scope["app"].state, "locum", None)
        if state is None:
            raise UnavailableError("Locum's endpoint plugin is not loaded", hint="start vLLM with VLLM_PLUGINS=locum")
        headers = Headers(scope=scope)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if state.api_key and path not in OPEN_PATHS:
            tokens = [state.api_key, state.admin_token]
            require_token(headers.get("authorization"), tokens, what_for="this server")
        asks = scope.get("method") == "POST" and headers.get("content-type", "").startswith("application/json")
        if not asks or path == FEEDBACK_PATH:
            await self.app(scope, receive, send)
            return

        raw = await read_body(receive, limit=MAX_BODY_BYTES)
        body = Body(raw)
        if body.model is None:
            await self.app(scope, _replay(raw, receive), send)
            return
        if state.swap.engine.dead:
            raise UnavailableError(ENGINE_DEAD)
        name = await state.swap.resolve(body.model) or state.swap.engine.base_name
        if name != body.model:
            raw = body.naming(name)
        send = enforcing(send, state.swap.manifest(name), path=path, body=raw)
        with ExitStack() as while_it_runs:
            request = while_it_runs.enter_context(
                accounted(
                    headers.get(REQUEST_ID),
                    name,
                    version_id=state.swap.version_id(name),
                    ids=state.answer_ids,
                    path=path,
                    log=state.log_requests,
                )
            )
            given = {REQUEST_ID: request.id, "content-length": str(len(raw))}
            if state.traces is not None:
                given |= while_it_runs.enter_context(state.traces.span(request, path=path, headers=headers))
            scope = {**scope, "headers": _with(scope["headers"], given)}
            await self.app(scope, _replay(raw, receive), _marked(send, request, state.swap.engine))


def error_response(error: LocumError) -> JSONResponse:
    """An error in the format of OpenAI's API."""
    message = f"{error}" if error.hint is None else f"{error} ({error.hint})"
    param = "model" if error.http_status == 404 else None
    content = {"error": {"message": message, "type": error.type, "param": param, "code": error.http_status}}
    headers = {"www-authenticate": "Bearer"} if error.http_status == 401 else None
    if isinstance(error, UnavailableError):
        headers = {"retry-after": str(error.retry_after)}
    return JSONResponse(content, status_code=error.http_status, headers=headers)


async def explain(request: Request, error: Exception) -> Response:
    """FastAPI's handler for Locum's own errors."""
    assert isinstance(error, LocumError)
    return error_response(error)


async def read_body(receive: Receive, *, limit: int) -> bytes:
    """The whole body of a request.

    Raises:
        TooLargeError: it has more than `limit` bytes.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise TooLargeError(f"the request has more than {_size(limit)}")
        if not message.get("more_body", False):
            break
    return b"".join(parts)


def _size(limit: int) -> str:
    """A limit as people say it: `64 MiB`, `256 KiB`."""
    return f"{limit // 2**20:,} MiB" if limit % 2**20 == 0 else f"{limit // 2**10:,} KiB"


class TooLargeError(LocumError):
    """A request body beyond what a chat could need."""

    exit_code = 2
    http_status = 413
    type = "BadRequestError"


def _replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """A `receive` that gives the body first, and then what the connection says: a client that left is noticed."""
    given = False

    async def replay() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _marked(send: Send, request: Asked, engine: Engine) -> Send:
    """A `send` that names the version and the request in the answer's headers, and notes how the answer went."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers[ADAPTER_HEADER] = request.name
            headers[REQUEST_ID] = request.id
            if message["status"] == 500 and engine.dead:  # it died while it worked on this
                message["status"] = 503
                headers["retry-after"] = str(UnavailableError.retry_after)
            request.status = message["status"]
        elif not message.get("more_body", False):
            request.finished = True
        await send(message)

    return marked


def _with(headers: list[tuple[bytes, bytes]], given: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers that vLLM gets: it names a request, and its span, as they say."""
    new = [(name.encode(), value.encode()) for name, value in given.items()]
    replaced = {name for name, _ in new}
    return [*((name, value) for name, value in headers if name.lower() not in replaced), *new]
