"""Locum's HTTP routes: models, readiness, and the registry's life cycle over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.domains import domain_names
from locum.adapters.records import Release, RequiredSuite
from locum.adapters.refs import Ref, parse_ref
from locum.errors import BadInputError, UnavailableError
from locum.serve.listing import describe
from locum.serve.own_command import run_locum
from locum.serve.plugin import ServerState
from locum.serve.stopping import WAITING_FOR, StoppingError

CHANGE_SECONDS = 15.0
SUITES_SECONDS = 60.0

router = APIRouter()
changes = ThreadPoolExecutor(2, "locum-changes")


def server_state(request: Request) -> ServerState:
    state: ServerState = request.app.state.locum
    return state


State = Annotated[ServerState, Depends(server_state)]


class ReleaseRequest(BaseModel):
    """Body of a release. `version` is `medical@3` or `3`; `force` needs a reason, which is recorded."""

    model_config = ConfigDict(extra="forbid")

    version: str | int
    force: bool = False
    reason: str | None = None
    by: str | None = Field(None, min_length=1, description="who asks for it; the server's user if nobody is named")


class RollbackRequest(BaseModel):
    """Body of a rollback. `version` is an earlier one; else it goes to the one before."""

    model_config = ConfigDict(extra="forbid")

    version: str | int | None = None
    reason: str | None = None
    by: str | None = Field(None, min_length=1)


@router.get("/ready")
async def ready(state: State) -> JSONResponse:
    """200 when every domain in production can answer; 503 with what is still waited for."""
    waiting_for = WAITING_FOR if state.drain.stopping else state.swap.waiting_for()
    if waiting_for is None:
        return JSONResponse({"ready": True, "production": _production(state)})
    error = StoppingError() if state.drain.stopping else UnavailableError(waiting_for)
    content = {"ready": False, "waiting_for": waiting_for}
    return JSONResponse(content, status_code=error.http_status, headers=dict(error.headers))


@router.get("/v1/models")
async def models(state: State) -> Response:
    """The base model, the domains (with the version that each stands for) and all versions, in OpenAI's format."""
    await hear(state)
    entries = state.listing.entries(state.swap)
    content = {
        "object": "list",
        "data": entries,
        "locum": {"registry": _registry(state), "problems": state.swap.problems},
    }
    return Response(msgspec.json.encode(content), media_type="application/json")


@router.get("/v1/models/{model:path}")
async def model(model: str, state: State) -> dict[str, Any]:
    """One entry of `/v1/models`, by the name of the base model, of an alias or of a version."""
    await hear(state)
    for entry in describe(state.swap):
        if entry["id"] == model:
            return entry
    raise state.swap.unknown(model)


@router.get("/v1/adapters")
async def adapters(state: State) -> dict[str, Any]:
    """All versions with their state on this server, what each alias means here, and what did not converge."""
    await hear(state)
    swap = state.swap
    versions = [
        {
            "name": name,
            "state": swap.loader.state(name),
            "digest": manifest.digest,
            "rank": manifest.rank,
            "created_at": manifest.created_at.isoformat(),
            "created_by": manifest.created_by,
        }
        for name, manifest in swap.servable().items()
    ]
    return {
        "base": swap.base.name,
        "registry": _registry(state),
        "aliases": swap.aliases,
        "problems": swap.problems,
        "versions": versions,
    }


@router.post("/v1/domains/{domain}/release")
async def release(domain: str, body: ReleaseRequest, state: State) -> JSONResponse:
    """Put a version into production, on the evidence that the registry holds, for what the domain's card asks now."""
    ref = _version_of(domain, body.version)
    by = body.by or state.settings.user
    suites = await _required_suites(state, domain)
    released = await _change(
        partial(state.swap.registry.release, ref, by=by, reason=body.reason, force=body.force, suites=suites)
    )
    return await _converge(state, domain, released.model_dump(mode="json"))


@router.post("/v1/domains/{domain}/rollback")
async def rollback(domain: str, state: State, body: RollbackRequest | None = None) -> JSONResponse:
    """Put a version back that was in production before."""
    body = body or RollbackRequest()
    to = None if body.version is None else _version_of(domain, body.version)
    by = body.by or state.settings.user
    released = await _change(partial(state.swap.registry.rollback, domain, by=by, to=to, reason=body.reason))
    return await _converge(state, domain, released.model_dump(mode="json"))


def _version_of(domain: str, version: str | int) -> Ref:
    """The version that a body means: `medical@3` or `3`."""
    given = str(version)
    ref = parse_ref(given if "@" in given else f"{domain}@{given}")
    if ref.domain != domain:
        raise BadInputError(f"version: expected one of {domain}, found {ref}")
    return ref


async def _change(change: Callable[[], Release]) -> Release:
    """Do it in a thread; a database that has stopped to answer keeps the thread, but not the one who asks."""
    changing = asyncio.get_running_loop().run_in_executor(changes, change)
    await asyncio.wait({changing}, timeout=CHANGE_SECONDS)
    if not changing.done():
        raise UnavailableError(
            f"the registry has not answered for {CHANGE_SECONDS:.0f} seconds",
            hint="whether it has happened, `locum history` tells when the registry answers again",
        )
    return await changing


async def _converge(state: ServerState, domain: str, released: dict[str, Any]) -> JSONResponse:
    await state.swap.settle(domain)
    converged = state.swap.converged(domain)
    content = {**released, "converged": converged, "serving": state.swap.aliases.get(domain)}
    if not converged:
        content["problem"] = state.swap.problems.get(domain) or _registry(state)["problem"]
    return JSONResponse(content)


async def hear(state: ServerState) -> None:
    """Answer with what the registry says now, or with what this server heard last; `_registry` tells which."""
    with contextlib.suppress(UnavailableError):
        await state.swap.hear()


def _registry(state: ServerState) -> dict[str, Any]:
    """The revision that the names here are of, and why there may be a newer one."""
    stale = state.swap.stale
    return {
        "revision": state.swap.revision,
        "problem": stale.reason if stale else None,
        "seconds": round(time.monotonic() - stale.at, 1) if stale else 0.0,
    }


def _production(state: ServerState) -> dict[str, str]:
    return {alias: name for alias, name in sorted(state.swap.aliases.items()) if "@" not in alias}


async def _required_suites(state: ServerState, domain: str) -> dict[str, RequiredSuite] | None:
    """What the domain's card asks for now, where its folder is here: a server releases on what the command would."""
    if domain not in domain_names(state.settings.domains):
        return None
    found = await run_locum("suite", "required", domain, settings=state.settings, seconds=SUITES_SECONDS)
    return None if found is None else {name: RequiredSuite.model_validate(suite) for name, suite in found.items()}
