"""What the server that the settings name makes of a version: whether it can hold it, and whether it answers with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from locum.commands.common import err
from locum.errors import LocumError, UnavailableError

if TYPE_CHECKING:
    from locum.adapters.base import Base
    from locum.adapters.manifest import Manifest
    from locum.adapters.recipe import TrainingRecipe
    from locum.adapters.records import Release
    from locum.evaluate.endpoint import Endpoint
    from locum.settings import Settings

ASK_SECONDS = 5.0
CONVERGE_SECONDS = 30.0  # loading a large version takes some
AGAIN_SECONDS = 0.2


@dataclass(frozen=True)
class Convergence:
    """Whether a domain's name means the released version at the server; None where that is not known.

    `serving` is the version that the name means there, `problem` says why it is not the released one or not known.
    """

    converged: bool | None
    serving: str | None = None
    problem: str | None = None

    def summary(self) -> dict[str, Any]:
        """As the answer to a release over HTTP has it."""
        found: dict[str, Any] = {"converged": self.converged, "serving": self.serving}
        return found if self.converged else {**found, "problem": self.problem}


def wait_for(
    in_force: Settings, released: Release, tell: Callable[[str], None], *, seconds: float = CONVERGE_SECONDS
) -> Convergence:
    """Ask the server until it answers with the released version, or says why it does not.

    Args:
        tell: told what is waited for, once for each new thing.
        seconds: how long to wait for a server that says neither.
    """
    deadline = time.monotonic() + seconds
    told: str | None = ""
    while True:
        try:
            endpoint = _ask(in_force)
        except LocumError as error:
            return Convergence(None, problem=str(error))
        found = judge(endpoint, released)
        if found is not None:
            return found
        serving = endpoint.aliases.get(released.domain)
        if time.monotonic() > deadline:
            return Convergence(False, serving, f"it has not taken {released.version} over within {seconds:.0f} seconds")
        if serving != told:
            tell(f"waiting: {endpoint.url} still means {serving or 'nothing'} by {released.domain}")
        told = serving
        time.sleep(AGAIN_SECONDS)


def judge(endpoint: Endpoint, released: Release) -> Convergence | None:
    """What a server says of a release; None where it may still be loading the version."""
    serving = endpoint.aliases.get(released.domain)
    if serving == released.version:
        return Convergence(True, serving)
    if (served := endpoint.versions.get(released.version)) is None:
        reason = (
            f"{endpoint.url}, which serves the base model {endpoint.base}, does not know {released.version}: it serves "
            "another base model, or another registry"
        )
        return Convergence(None, serving, reason)
    problem = served.problem or endpoint.problems.get(released.domain, "")
    if served.problem or problem.startswith(released.version):  # else it is of an earlier release
        return Convergence(False, serving, problem)
    return None


def why_not_held(in_force: Settings, base: Base, *, rank: int, name: str) -> str | None:
    """Why the server that the settings name could not answer with a version of this rank; None where it can, and where
    nothing is known of a server."""
    try:
        endpoint = _ask(in_force)
    except LocumError:
        return None
    if endpoint.fingerprint != base.fingerprint:
        return (
            f"{endpoint.url} serves the base model {endpoint.base} and not {base.name}, so it cannot answer as {name}. "
            f"`locum serve --base {base.name}` starts a server that can."
        )
    if endpoint.max_rank is None or rank <= endpoint.max_rank:
        return None
    return (
        f"{name} has the rank {rank}, and the server at {endpoint.url} holds up to {endpoint.max_rank}, so it cannot "
        "answer with it until it is restarted: `locum serve` makes room for every registered version. A lower rank "
        f"needs no restart: `--set rank={endpoint.max_rank}`."
    )


def warn_if_not_held(in_force: Settings, base: Base, manifest: Manifest) -> None:
    """Say on standard error that the running server cannot hold a version that was just registered."""
    warn(why_not_held(in_force, base, rank=manifest.rank, name=manifest.name))


def warn(reason: str | None) -> None:
    """Say it on standard error, if there is something to say."""
    if reason is not None:
        err.print(f"Note: {reason}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def rank_of(recipe: TrainingRecipe, *, highest: int = 0) -> int:
    """The rank that a server must have room for to hold what a recipe makes; 0 where it has none of its own."""
    if "rank" in recipe.idle:
        return 0
    return max(recipe.rank, highest, *recipe.ranks.values())


def _ask(in_force: Settings) -> Endpoint:
    from locum.evaluate.endpoint import read_endpoint

    key = in_force.api_key.get_secret_value()
    try:
        return read_endpoint(in_force.endpoint_url, api_key=key, timeout=ASK_SECONDS)
    except OSError as error:
        raise UnavailableError(f"{in_force.endpoint_url}: {error}") from None
