"""Which version each name means on this server, and how that changes while requests run.

The registry's alias table has a revision. This server watches it, loads a new version first and flips its own
table after. Requests in flight finish on the version they began with, because a request carries an immutable
version name from the door on. A version that cannot be loaded or fails its probes never becomes what an alias
means here: the old one stays, and `problems` says why.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial

from locum.adapters.base import Base
from locum.adapters.manifest import Manifest
from locum.adapters.probes import compare_probe_logprobs, tolerance_for
from locum.adapters.records import Snapshot
from locum.adapters.refs import PREVIOUS, parse_ref
from locum.adapters.registry import Registry
from locum.errors import CheckFailedError, ConflictError, LocumError, NotFoundError, UnavailableError
from locum.serve.engine import Engine

logger = logging.getLogger("vllm.locum.swap")

POLL_SECONDS = 0.2
RETRY_SECONDS = 10.0


@dataclass(frozen=True)
class Failure:
    """Why a version could not be made ready, and when that was found (monotonic seconds)."""

    reason: str
    at: float = field(default_factory=time.monotonic)


class Swap:
    """The versions of one running server."""

    def __init__(self, registry: Registry, engine: Engine, base: Base) -> None:
        self.registry = registry
        self.engine = engine
        self.base = base
        self.aliases: dict[str, str] = {}
        self.problems: dict[str, str] = {}
        self._snapshot: Snapshot | None = None
        self._loaded: set[str] = set()
        self._failed: dict[str, Failure] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._reading = asyncio.Lock()
        self._flips: dict[str, asyncio.Task[None]] = {}
        self._settled = False
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Follow the registry from now on."""
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    def waiting_for(self) -> str | None:
        """What must happen before this server is ready; None when it is.

        Ready means that every domain in production can answer, and that whatever else had a name at the start is
        loaded or has failed.
        """
        if self._snapshot is None:
            return self.problems.get("registry", "reading the registry")
        if not self._settled and self._flips:
            return "loading " + ", ".join(self._snapshot.aliases.get(alias, alias) for alias in sorted(self._flips))
        self._settled = True
        missing = [alias for alias in self._snapshot.aliases if "@" not in alias and alias not in self.aliases]
        return f"{missing[0]}: {self.problems.get(missing[0], 'loading')}" if missing else None

    def servable(self) -> dict[str, Manifest]:
        """All versions that this server's base model can carry, by name."""
        versions = self._snapshot.versions if self._snapshot else {}
        return {
            name: entry.manifest
            for name, entry in versions.items()
            if entry.manifest.base_fingerprint == self.base.fingerprint
        }

    def state(self, name: str) -> str:
        """`loaded`, `failed: …` or `registered` (loaded on its first request)."""
        if name in self._loaded:
            return "loaded"
        return f"failed: {self._failed[name].reason}" if name in self._failed else "registered"

    async def resolve(self, model: str) -> str | None:
        """The immutable name of what `model` means now, loaded and ready; None for the base model.

        Raises:
            NotFoundError: nothing has this name; lists what there is.
            UnavailableError: the version is known but cannot be made ready.
        """
        if model == self.engine.base_name:
            return None
        name = self._lookup(model)
        if name is None:
            await self.read()
            name = self._lookup(model)
        if name is None:
            there_is = [self.engine.base_name, *sorted(self.aliases), *sorted(self.servable())]
            raise NotFoundError(f"The model `{model}` does not exist. There is: {', '.join(there_is)}.")
        await self.ensure_ready(name)
        return name

    async def ensure_ready(self, name: str) -> None:
        """Load the version and check its known answers, once however many ask at the same time.

        Raises:
            UnavailableError: it cannot be loaded, or does not answer as it was trained to.
        """
        if name in self._loaded:
            return
        async with self._locks[name]:
            if name in self._loaded:
                return
            failed = self._failed.get(name)
            if failed and time.monotonic() - failed.at < RETRY_SECONDS:
                raise UnavailableError(f"{name} cannot be served: {failed.reason}")
            try:
                await self._make_ready(name)
            except Exception as error:  # whatever it was, this version does not answer, and the others do
                self._failed[name] = Failure(str(error))
                logger.exception("version_failed name=%s", name)
                raise UnavailableError(f"{name} cannot be served: {error}") from error
            self._failed.pop(name, None)
            self._loaded.add(name)

    async def read(self, *, retry: bool = False) -> None:
        """Hear what the registry says now, and begin to load what an alias newly means; returns without waiting for it.

        `retry` tries anew what could not be loaded before.
        """
        async with self._reading:
            revision = await asyncio.to_thread(self.registry.revision)
            if self._snapshot is None or self._snapshot.revision != revision:
                self._snapshot = await asyncio.to_thread(self.registry.snapshot)
                self._forget()
            elif not retry:
                return
        for alias, name in self._snapshot.aliases.items():
            if self.aliases.get(alias) == name:
                self.problems.pop(alias, None)
            elif alias not in self._flips:
                flip = asyncio.get_running_loop().create_task(self._flip(alias))
                self._flips[alias] = flip
                flip.add_done_callback(partial(self._flipped, alias))

    def _flipped(self, alias: str, _: asyncio.Task[None]) -> None:
        del self._flips[alias]

    async def settle(self, alias: str) -> None:
        """Read the registry, and wait until this alias is what it says or has failed to be."""
        await self.read(retry=True)
        flip = self._flips.get(alias)
        if flip is not None:
            await flip

    def converged(self, alias: str) -> bool:
        """Whether this server's alias means what the registry says."""
        return self._snapshot is not None and self.aliases.get(alias) == self._snapshot.aliases.get(alias)

    def _lookup(self, model: str) -> str | None:
        try:
            wanted = str(parse_ref(model))
        except LocumError:
            return None
        if wanted in self.aliases:
            return self.aliases[wanted]
        if self._snapshot is None:
            return None
        name = self._snapshot.aliases.get(wanted, wanted)
        return name if name in self._snapshot.versions else None

    async def _flip(self, alias: str) -> None:
        """Load what an alias means in the registry, then let it mean that here; again if it moved meanwhile."""
        while self._snapshot is not None and (name := self._snapshot.aliases.get(alias)) != self.aliases.get(alias):
            if name is None:
                return
            try:
                if not alias.endswith(f"@{PREVIOUS}"):  # what was in production is loaded, or loads when asked for
                    await self.ensure_ready(name)
            except UnavailableError as error:
                self.problems[alias] = str(error)
                logger.error("swap_refused alias=%s kept=%s refused=%s", alias, self.aliases.get(alias), name)
                return
            if self._snapshot.aliases.get(alias) == name:
                logger.info("swap alias=%s from=%s to=%s", alias, self.aliases.get(alias), name)
                self.aliases[alias] = name
                self.problems.pop(alias, None)

    async def _make_ready(self, name: str) -> None:
        entry = self._snapshot.versions.get(name) if self._snapshot else None
        if entry is None:
            raise NotFoundError("it was deleted")
        manifest = entry.manifest
        if manifest.base_fingerprint != self.base.fingerprint:
            raise ConflictError(
                f"it was trained on {manifest.base} ({manifest.base_fingerprint[:12]}), "
                f"this server runs {self.base.name} ({self.base.fingerprint[:12]})"
            )
        if manifest.rank > self.engine.max_rank:
            raise ConflictError(
                f"its rank is {manifest.rank}, this server holds up to {self.engine.max_rank}; "
                f"restart it with --max-lora-rank {manifest.rank}"
            )
        path = await asyncio.to_thread(self.registry.artifact_path, manifest)
        started = time.perf_counter()
        await self.engine.load(name, version_id=entry.id, path=path)
        loaded = time.perf_counter()

        async def ask(prompt_ids: list[int], token_ids: list[int]) -> list[float]:
            logprobs = await self.engine.token_logprobs(
                prompt_ids + token_ids, name=name, version_id=entry.id, path=path
            )
            return logprobs[-len(token_ids) :]

        answers = await asyncio.gather(*(ask(probe.prompt_ids, probe.token_ids) for probe in manifest.probes))
        report = compare_probe_logprobs(manifest.probes, answers, tolerance=tolerance_for(self.engine.dtype))
        if not report.passed:
            raise CheckFailedError(f"it does not answer its probes as it was trained to: {report.summary}")
        self.engine.publish(name, version_id=entry.id, path=path)
        logger.info(
            "version_ready name=%s load_ms=%.0f probe_ms=%.0f",
            name,
            1000 * (loaded - started),
            1000 * (time.perf_counter() - loaded),
        )

    def _forget(self) -> None:
        """Drop aliases that are gone, and let nobody ask for versions that were deleted."""
        assert self._snapshot is not None
        for alias in [alias for alias in self.aliases if alias not in self._snapshot.aliases]:
            del self.aliases[alias]
        self.problems = {alias: why for alias, why in self.problems.items() if alias in self._snapshot.aliases}
        for name in self._loaded - set(self._snapshot.versions):
            self.engine.withdraw(name)
            self._loaded.discard(name)

    async def _watch(self) -> None:
        tried = 0.0
        while True:
            try:
                overdue = bool(self.problems) and time.monotonic() - tried > RETRY_SECONDS
                if overdue:
                    tried = time.monotonic()
                await self.read(retry=overdue)
                self.problems.pop("registry", None)
            except Exception as error:  # the server goes on with what it has; the reason is shown and tried again
                self.problems["registry"] = f"the registry cannot be read: {error}"
                logger.exception("registry_unreadable")
            await asyncio.sleep(POLL_SECONDS)
