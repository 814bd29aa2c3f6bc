"""`POST /v1/adapters`: register an adapter from its two files, whose size, time and number have limits."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from locum.adapters.artifact import largest_artifact
from locum.adapters.refs import parse_ref
from locum.adapters.store import FILES
from locum.errors import BadInputError, DiskFullError, UnavailableError, UnservableError
from locum.serve.access import size
from locum.serve.limits import bounded, check_length
from locum.serve.own_command import run_locum
from locum.serve.plugin import ServerState
from locum.serve.routes import hear, server_state

AT_ONCE = 2  # each loads the base model once more, to compute the probes
UPLOAD_SECONDS = 600.0
REGISTER_SECONDS = 900.0
OVERHEAD = 1 << 20  # of multipart, beside the files
COPIES = 2  # one as it comes in, one to look at
FIELDS = {"adapter_config": FILES[0], "adapter_model": FILES[1]}

router = APIRouter()
_registering = asyncio.Semaphore(AT_ONCE)


class BusyError(UnavailableError):
    """As many adapters are being registered as this server registers at a time."""

    http_status = 429
    type = "RateLimitError"
    retry_after = 30


@router.post("/v1/adapters", status_code=201)
async def register(request: Request, state: Annotated[ServerState, Depends(server_state)]) -> JSONResponse:
    """Register an adapter. It becomes the domain's candidate."""
    if _registering.locked():
        raise BusyError(f"{AT_ONCE} adapters are being registered already")
    async with _registering:
        with tempfile.TemporaryDirectory(prefix="locum-upload-") as folder:
            domain = await _receive(request, Path(folder), limit=await _limit(state))
            rank = state.swap.engine.max_rank
            await asyncio.to_thread(require_rank, Path(folder), highest=rank)
            # The probes need the base model once more, outside the server's memory.
            command = ("adapters", "register", folder, "--domain", domain, "--json")
            registered = await run_locum(*command, settings=state.settings, seconds=REGISTER_SECONDS)
    await hear(state)
    return JSONResponse(registered, status_code=201)


def require_rank(folder: Path, *, highest: int) -> None:
    """Refuse an adapter that this server could not serve, before its known answers are computed.

    A configuration without ranks that can be read is left to the registration, which says what is wrong with it.

    Raises:
        UnservableError: its rank is too high here. `locum adapters register` on the host lets it in all the same.
    """
    rank = highest_rank(folder / FILES[0])
    if rank > highest:
        raise UnservableError(
            f"the adapter's rank is {rank}, and this server holds up to {highest}",
            hint=f"start it with `locum serve -- --max-lora-rank {rank}`, or train with a lower rank",
        )


def highest_rank(file: Path) -> int:
    """The highest rank that an adapter's configuration names; 0 where there is none."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        ranks = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    except (ValueError, AttributeError):
        return 0
    return max((rank for rank in ranks if isinstance(rank, int)), default=0)


async def _limit(state: ServerState) -> int:
    rank = state.swap.engine.max_rank
    return OVERHEAD + await asyncio.to_thread(largest_artifact, state.swap.base.path, rank=rank)


async def _receive(request: Request, folder: Path, *, limit: int) -> str:
    """Put the two files into the folder; returns the domain that they are for."""
    check_length(request.headers, limit=limit)
    _require_room(folder, int(request.headers.get("content-length", limit)))
    within = Request(request.scope, bounded(request.receive, limit=limit, seconds=UPLOAD_SECONDS))
    try:
        async with within.form(max_files=len(FIELDS), max_fields=1) as form:
            domain, uploads = _parts(form)
            for field, upload in uploads.items():
                await asyncio.to_thread(_save, upload, folder / FIELDS[field])
    except HTTPException as error:
        raise BadInputError(f"the form: {error.detail}") from None
    return domain


def _require_room(folder: Path, length: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < COPIES * length:
        raise DiskFullError(
            f"there is no room for the upload: it takes {size_up(COPIES * length)}, {size_up(free)} are free",
            hint="make room in the server's folder for temporary files (TMPDIR)",
        )


def size_up(count: int) -> str:
    """Bytes in whole MiB, rounded up."""
    return size(-(-count // 2**20) * 2**20)


def _parts(form: FormData) -> tuple[str, dict[str, UploadFile]]:
    """The domain and the two files.

    Raises:
        BadInputError: a part is missing, of another kind, or unknown.
    """
    parts: dict[str, Any] = dict(form)
    if unknown := sorted(parts.keys() - {"domain", *FIELDS}):
        raise BadInputError(f"{unknown[0]}: expected the parts domain, {' and '.join(FIELDS)} alone")
    domain = parts.pop("domain", None)
    if not isinstance(domain, str):
        raise BadInputError("domain: expected a domain's name as a part of the form")
    parse_ref(domain)
    for field, name in FIELDS.items():
        if not isinstance(parts.get(field), UploadFile):
            raise BadInputError(f"{field}: expected {name} as a file")
    return domain, parts


def _save(upload: UploadFile, target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(upload.file, file)
