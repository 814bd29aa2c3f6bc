"""Every route of the server, and what it takes to use it. What is not in this table is a 404.

docs/serving.md is written from it, and a test holds the routes of the real vLLM app against it, so that an upgrade of
vLLM opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from starlette.routing import compile_path

from locum.errors import NotFoundError
from locum.serve.http_errors import MethodNotAllowedError
from locum.settings import NO_SUCH_PATH
from locum.text import closest

Access = Literal["open", "read", "model", "admin"]
"""Open to anybody; read with a key; asks the model that its body names, with a key; with the admin token alone."""

KIB, MIB = 1 << 10, 1 << 20
ANTHROPIC = "/v1/messages"


@dataclass(frozen=True)
class Route:
    """One method of one path, and how large a request's body may be; 0 where none is read.

    A route that asks a model `generates` an answer, whose id is signed, or only counts and converts tokens; one that
    `may_name_none` asks the base model then, whose tokenizer all versions have.
    `streams` its body to the route where it is too large to be held in memory; the route sets the limit itself.
    """

    method: str
    path: str
    access: Access
    about: str
    max_bytes: int = 0
    generates: bool = False
    may_name_none: bool = False
    streams: bool = False


def _asks(path: str, about: str, *, generates: bool = True, may_name_none: bool = False) -> Route:
    return Route("POST", path, "model", about, max_bytes=64 * MIB, generates=generates, may_name_none=may_name_none)


ROUTES = (
    Route("GET", "/health", "open", "the process lives and its engine runs"),
    Route("GET", "/ready", "open", "200, or 503 with what is waited for"),
    Route("GET", "/ping", "open", "the same as `/health`"),
    Route("POST", "/ping", "open", "the same as `/health`"),
    Route("GET", "/version", "open", "vLLM's version"),
    Route("GET", "/metrics", "open", "[metrics](#metrics-logs-and-traces)"),
    Route("GET", "/metrics/", "open", "where `/metrics` redirects to"),
    Route("GET", "/v1/models", "read", "base model, domains with their version, versions with digest and fingerprint"),
    Route("GET", "/v1/models/{model:path}", "read", "one of them, by any of its names"),
    Route("GET", "/tokenizer_info", "read", "the tokenizer's configuration, which lm-evaluation-harness asks for"),
    _asks("/v1/chat/completions", "OpenAI's chat completions"),
    _asks("/v1/chat/completions/batch", "several conversations in one request"),
    _asks("/v1/completions", "OpenAI's completions"),
    _asks("/v1/responses", "OpenAI's responses"),
    _asks(ANTHROPIC, "Anthropic's messages"),
    _asks(f"{ANTHROPIC}/count_tokens", "the number of tokens that messages would have", generates=False),
    _asks("/tokenize", "text to tokens; without a `model`, the base model's", generates=False, may_name_none=True),
    _asks("/detokenize", "tokens to text; the same", generates=False, may_name_none=True),
    Route(
        "POST",
        "/v1/feedback",
        "read",
        "what a user thinks of an answer: [people](arena.md#feedback-from-an-application)",
        max_bytes=256 * KIB,
    ),
    Route("GET", "/v1/adapters", "admin", "versions and aliases with their state here, and what did not converge"),
    Route(
        "POST",
        "/v1/adapters",
        "admin",
        "register an adapter: multipart `domain`, `adapter_config`, `adapter_model`",
        streams=True,
    ),
    Route(
        "POST",
        "/v1/domains/{domain}/release",
        "admin",
        '`{"version": 3}`; `{"version": 3, "force": true, "reason": "…"}`: decided [as `locum release` '
        "decides](evaluation.md#what-a-release-rests-on), by the domain's folder where the server has it",
        max_bytes=64 * KIB,
    ),
    Route(
        "POST",
        "/v1/domains/{domain}/rollback",
        "admin",
        '`{"reason": "…"}`; `{"version": 1}` goes further back than one version',
        max_bytes=64 * KIB,
    ),
)

# Routes of vLLM's app that are not offered, by the reason.
_NOT_OFFERED = {
    "SageMaker's: it takes the model from a header, behind the door": ["/invocations"],
    "answers are not kept, since whoever has a key could read them": [
        "/v1/responses/{response_id}",
        "/v1/responses/{response_id}/cancel",
    ],
    "scores of vLLM's own making, which no evaluation has looked at": ["/v1/systemone", "/generative_scoring"],
    "for vLLM's own routers: names adapters behind the door, or ends other people's requests": [
        "/inference/v1/generate",
        "/inference/v1/abort_requests",
    ],
    "halves of a request, for vLLM's own routers; `/tokenize` shows what a chat becomes": [
        "/v1/chat/completions/render",
        "/v1/chat/completions/derender",
        "/v1/completions/render",
        "/v1/completions/derender",
        "/v1/responses/render",
        "/v1/messages/render",
    ],
    "changes the engine, which is its operator's to do": ["/scale_elastic_ep", "/is_scaling_elastic_ep"],
    "tells addresses inside a cluster": ["/kv_event_sources"],
    "counts nothing here; `/metrics` tells the load": ["/load"],
    "describe what is closed here too; this page describes what is open": [
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        "/openapi.json",
    ],
}
CLOSED = frozenset(path for paths in _NOT_OFFERED.values() for path in paths)

_EXACT: dict[str, dict[str, Route]] = {}
_PATTERNS: list[tuple[re.Pattern[str], dict[str, Route]]] = []
for _route in ROUTES:
    if "{" not in _route.path:
        _EXACT.setdefault(_route.path, {})[_route.method] = _route
    else:
        _PATTERNS.append((compile_path(_route.path)[0], {_route.method: _route}))


def find_route(method: str, path: str) -> Route:
    """The route that a request asks for.

    Raises:
        NotFoundError: there is no such path.
        MethodNotAllowedError: there is, for other methods.
    """
    methods = _EXACT.get(path) or next((each for pattern, each in _PATTERNS if pattern.match(path)), None)
    if methods is None:
        meant = f"/v1{path}" if f"/v1{path}" in _EXACT else closest(path, _EXACT, least=0.8)
        hint = NO_SUCH_PATH if meant == f"/v1{path}" else "docs/serving.md lists those that there are"
        raise NotFoundError(f"there is no route {path}{f': did you mean {meant}?' if meant else ''}", hint=hint)
    if method not in methods:
        raise MethodNotAllowedError(f"{path} takes {' or '.join(sorted(methods))}, found {method}", allowed=methods)
    return methods[method]


def table(access: Collection[Access]) -> str:
    """The rows of docs/serving.md's table for routes of these kinds, in Markdown."""
    needs = {"open": "nothing", "read": "key", "model": "key", "admin": "admin token"}
    chosen = [route for route in ROUTES if route.access in access]
    rows = [f"| {_shown(route)} | {needs[route.access]} | {_limit(route)} | {route.about} |" for route in chosen]
    return "\n".join(["| route | needs | body | |", "| --- | --- | --- | --- |", *rows])


def closed_table() -> str:
    """The rows of docs/serving.md's table of vLLM's routes that are not offered."""
    rows = [f"| {', '.join(f'`{path}`' for path in paths)} | {why} |" for why, paths in _NOT_OFFERED.items()]
    return "\n".join(["| route | why not |", "| --- | --- |", *rows])


def _shown(route: Route) -> str:
    return f"`{route.method} {route.path.replace(':path', '')}`"


def _limit(route: Route) -> str:
    return "by rank" if route.streams else size(route.max_bytes) if route.max_bytes else ""


def size(limit: int) -> str:
    """Bytes as people say them: `64 MiB`, `256 KiB`."""
    return f"{limit // MIB:,} MiB" if limit % MIB == 0 else f"{limit // KIB:,} KiB"
