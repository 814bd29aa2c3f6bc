"""Locum's HTTP routes: models, readiness, and the registry's life cycle over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, File, Form, Header, Request, UploadFile
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.domains import domain_names
from locum.adapters.records import Release, RequiredSuite
from locum.adapters.refs import Ref, parse_ref
from locum.errors import BadInputError, CheckFailedError, LocumError, UnavailableError
from locum.serve.auth import require_token
from locum.serve.plugin import ServerState
from locum.serve.stopping import WAITING_FOR, StoppingError

CHANGE_SECONDS = 15.0

router = APIRouter()
changes = ThreadPoolExecutor(2, "locum-changes")


def server_state(request: Request) -> ServerState:
    state: ServerState = request.app.state.locum
    return state


State = Annotated[ServerState, Depends(server_state)]


def require_admin(state: State, authorization: Annotated[str | None, Header()] = None) -> None:
    require_token(authorization, [state.admin_token], what_for="this route")


Admin = Depends(require_admin)


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
    if state.drain.stopping:
        content = {"ready": False, "waiting_for": WAITING_FOR}
        return JSONResponse(content, status_code=503, headers=StoppingError().headers)
    waiting_for = state.swap.waiting_for()
    if waiting_for:
        return JSONResponse({"ready": False, "waiting_for": waiting_for}, status_code=503)
    return JSONResponse({"ready": True, "production": _production(state)})


@router.get("/v1/models")
async def models(state: State) -> Response:
    """The base model, the domains (with the version that each stands for) and all versions, in OpenAI's format."""
    await _hear(state)
    entries = state.listing.entries(state.swap)
    content = {"object": "list", "data": entries, "locum": {"registry": _registry(state)}}
    return Response(msgspec.json.encode(content), media_type="application/json")


@router.get("/v1/adapters", dependencies=[Admin])
async def adapters(state: State) -> dict[str, Any]:
    """All versions with their state on this server, what each alias means here, and what did not converge."""
    await _hear(state)
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


@router.post("/v1/adapters", dependencies=[Admin], status_code=201)
async def register(
    state: State,
    domain: Annotated[str, Form()],
    adapter_config: Annotated[UploadFile, File(description="adapter_config.json")],
    adapter_model: Annotated[UploadFile, File(description="adapter_model.safetensors")],
) -> JSONResponse:
    """Register an adapter from its two files. It becomes the domain's candidate."""
    parse_ref(domain)
    with tempfile.TemporaryDirectory(prefix="locum-upload-") as folder:
        await _save(adapter_config, Path(folder) / "adapter_config.json")
        await _save(adapter_model, Path(folder) / "adapter_model.safetensors")
        registered = await _register_in_own_process(Path(folder), domain)
    await _hear(state)
    return JSONResponse(registered, status_code=201)


@router.post("/v1/domains/{domain}/release", dependencies=[Admin])
async def release(domain: str, body: ReleaseRequest, state: State) -> JSONResponse:
    """Put a version into production, on the evidence that the registry holds, for what the domain's card asks now."""
    ref = _version_of(domain, body.version)
    by = body.by or state.settings.user
    suites = await _required_suites(state, domain)
    released = await _change(
        partial(state.swap.registry.release, ref, by=by, reason=body.reason, force=body.force, suites=suites)
    )
    return await _converge(state, domain, released.model_dump(mode="json"))


@router.post("/v1/domains/{domain}/rollback", dependencies=[Admin])
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


async def _hear(state: ServerState) -> None:
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


async def _save(upload: UploadFile, target: Path) -> None:
    with target.open("wb") as file:
        while part := await upload.read(1 << 20):
            file.write(part)


async def _register_in_own_process(folder: Path, domain: str) -> Any:
    """The probes need the base model once more, outside the server's memory."""
    return await _locum("adapters", "register", str(folder), "--domain", domain, "--json")


async def _required_suites(state: ServerState, domain: str) -> dict[str, RequiredSuite] | None:
    """What the domain's card asks for now, where its folder is here: a server releases on what the command would."""
    if domain not in domain_names(state.settings.domains):
        return None
    found = await _locum("suite", "required", domain)
    return None if found is None else {name: RequiredSuite.model_validate(suite) for name, suite in found.items()}


async def _locum(*arguments: str) -> Any:
    """The JSON that a command prints, run in a process of its own.

    Raises:
        CheckFailedError, BadInputError, UnavailableError: by its exit code, with what it said.
    """
    import json

    # What is preloaded and bound for the engine is not for a process beside it.
    unwanted = ("LD_PRELOAD", "VLLM_", "OMP_", "KMP_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "locum", *arguments],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    output, complaint = await process.communicate()
    if process.returncode == 0:
        return json.loads(output)
    kind: type[LocumError] = {1: CheckFailedError, 2: BadInputError}.get(process.returncode or 0, UnavailableError)
    raise kind(complaint.decode(errors="replace").strip().removeprefix("Error: "))
