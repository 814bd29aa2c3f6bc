"""The arena's web page: one secret link a reviewer, and behind it a desk. Everything that it sends is blind.

No error of ours is passed on in words: some name versions. The page gets a code and has its own words for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from locum.adapters.judge import DIMENSIONS
from locum.errors import ConflictError, LocumError, NotFoundError
from locum.evaluate.arena.desk import Ballot, Desk, DeskState, Undo
from locum.evaluate.arena.words import preferred_language, words
from locum.evaluate.judge.rubric import load_rubric

if TYPE_CHECKING:
    from jinja2 import Environment

MAX_BYTES = 64 * 1024
HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",  # the link is a secret
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def make_app(desks: Mapping[str, Desk], *, domain: str) -> Starlette:
    """The app that serves these desks, each at /r/TOKEN.

    Args:
        desks: by the secret part of their links.
        domain: shown as what this is about.
    """

    def desk_of(request: Request) -> Desk:
        desk = desks.get(request.path_params["token"])
        if desk is None:
            raise HTTPException(404)
        return desk

    async def page(request: Request) -> Response:
        desk_of(request)
        return _page(request, "arena.html.j2", domain=domain)

    async def state(request: Request) -> Response:
        return await _answer(desk_of(request).state)

    async def vote(request: Request) -> Response:
        desk = desk_of(request)
        try:
            ballot = Ballot.model_validate_json(await _body(request))
        except ValidationError:
            return _refusal("invalid", 400)
        return await _answer(lambda: desk.vote(ballot))

    async def undo(request: Request) -> Response:
        desk = desk_of(request)
        try:
            asked = Undo.model_validate_json(await _body(request))
        except ValidationError:
            return _refusal("invalid", 400)
        return await _answer(lambda: desk.undo(asked))

    async def nowhere(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if request.method == "GET" and status == 404:
            return _page(request, "nowhere.html.j2", status=404)
        return _refusal("not_found" if status == 404 else "refused", status)

    app = Starlette(
        routes=[
            Route("/r/{token}", page),
            Route("/r/{token}/", page),
            Route("/r/{token}/state", state),
            Route("/r/{token}/votes", vote, methods=["POST"]),
            Route("/r/{token}/undo", undo, methods=["POST"]),
        ],
        exception_handlers={HTTPException: nowhere},
    )
    app.router.redirect_slashes = False  # a redirect would send the link to whatever the Host header names
    return app


async def _answer(act: Callable[[], DeskState]) -> Response:
    try:
        state = await run_in_threadpool(act)
    except ConflictError:
        return _refusal("conflict", 409)
    except NotFoundError:
        return _refusal("not_found", 404)
    except LocumError:
        return _refusal("unavailable", 503)
    return Response(state.model_dump_json(), media_type="application/json", headers=HEADERS)


def _refusal(code: str, status: int) -> Response:
    return JSONResponse({"error": code}, status_code=status, headers=HEADERS)


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > MAX_BYTES:
                raise HTTPException(413)
            parts.append(part)
    except ClientDisconnect:
        raise HTTPException(400) from None
    return b"".join(parts)


def _page(request: Request, template: str, *, status: int = 200, **given: object) -> Response:
    language = preferred_language(request.headers.get("accept-language", ""))
    nonce = secrets.token_urlsafe(16)
    html = (
        _environment()
        .get_template(template)
        .render(
            language=language,
            words=words(language),
            scales=load_rubric().scales(language),
            dimensions=DIMENSIONS,
            nonce=nonce,
            **given,
        )
    )
    headers = {**HEADERS, "content-security-policy": POLICY.format(nonce=nonce), "vary": "accept-language"}
    return HTMLResponse(html, status_code=status, headers=headers)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
