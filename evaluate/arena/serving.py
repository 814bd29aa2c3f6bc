"""The arena's server: one process that listens, and the links that let its reviewers in."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from locum.adapters.registry import Registry
from locum.adapters.signing import signing_key
from locum.errors import BadInputError, UnavailableError
from locum.evaluate.arena.blind import link_token
from locum.evaluate.arena.desk import Desk
from locum.evaluate.arena.matches import Match

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from uvicorn import Config

MAX_NAME = 100


def reviewer_names(names: Sequence[str], count: int) -> list[str]:
    """The reviewers by name, or `reviewer-1` to `reviewer-COUNT` where none is named.

    Raises:
        BadInputError: a name is empty, too long or given twice.
    """
    if not names:
        return [f"reviewer-{number}" for number in range(1, count + 1)]
    stripped = [name.strip() for name in names]
    wrong = [name for name in stripped if not name or len(name) > MAX_NAME or not name.isprintable()]
    if wrong or len(set(stripped)) < len(stripped):
        raise BadInputError(f"--reviewer: expected different names of 1 to {MAX_NAME} characters, found {stripped}")
    return stripped


def open_desks(registry: Registry, match: Match, reviewers: Sequence[str], *, pause_every: int) -> dict[str, Desk]:
    """A desk for each reviewer, by the secret part of their link; after a restart the same."""
    key = signing_key(registry, "reviewers")
    return {
        link_token(key, arena=match.digest, reviewer=reviewer): Desk(
            registry, match.id, match.questions, match.arena.seed, reviewer, pause_every
        )
        for reviewer in reviewers
    }


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes a free one.

    Raises:
        UnavailableError: it cannot, because somebody else does, say.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UnavailableError(
            f"the arena cannot listen at {host}:{port}: {error.strerror or error}", hint="--port takes another port"
        ) from None


def url_of(listener: socket.socket) -> str:
    """The root of the arena's links, as this machine knows it."""
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:
        host = socket.getfqdn()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: Starlette, listener: socket.socket) -> None:
    """Serve until somebody stops it."""
    import uvicorn

    uvicorn.Server(configuration(app)).run(sockets=[listener])


def configuration(app: Starlette) -> Config:
    """No access log, as the links in it are secrets; and h11, which bounds a request's head: httptools does not."""
    import uvicorn

    return uvicorn.Config(app, http="h11", log_level="warning", access_log=False, server_header=False, lifespan="off")
