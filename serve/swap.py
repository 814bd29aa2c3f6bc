"""Which version each name means on this server, and how that changes while requests run.

The registry's alias table has a revision. This server watches it, loads a new version first and flips its own
table after. Requests in flight finish on the version they began with, because a request carries an immutable
version name from the door on. A version that cannot be loaded or fails its probes never becomes what an alias
means here: the old one stays, and `problems` says why.

Only the watcher reads the registry. Requests never wait for it, unless they name what this server has not heard of;
and then not for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from locum.adapters.base import Base
from locum.adapters.manifest import Manifest
from locum.adapters.records import Snapshot, VersionEntry
from locum.adapters.refs import PREVIOUS, parse_ref
from locum.adapters.registry import Registry
from locum.errors import LocumError, NotFoundError, UnavailableError
from locum.serve import metrics
from locum.serve.engine import Engine
from locum.serve.loader import Failure, Loader
from locum.text import closest

logger = logging.getLogger("vllm.locum.swap")

POLL_SECONDS = 0.2
READ_SECONDS = 2.0  # a registry that takes longer is said not to answer, and nobody waits for it
LISTED = 50  # names that an answer to an unknown one lists
COMPARED = 1000  # names that an unknown one is compared with, on the loop that answers everybody


class Swap:
    """The names of one running server. `stale` is why they may not be what the registry says now."""

    def __init__(self, registry: Registry, engine: Engine, base: Base) -> None:
        self.registry = registry
        self.engine = engine
        self.base = base
        self.loader = Loader(registry, engine, base)
        self.aliases: dict[str, str] = {}
        self.problems: dict[str, str] = {}
        self.stale: Failure | None = None
        self._snapshot: Snapshot | None = None
        self._entries: dict[str, VersionEntry] = {}  # what may be asked for
        self._flips: dict[str, asyncio.Task[None]] = {}
        self._refused: dict[str, str] = {}  # by alias: the version that it cannot mean
        self._settled = False
        self._reader = ThreadPoolExecutor(1, "locum-registry")
        self._wanted = asyncio.Event()
        self._heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Follow the registry from now on."""
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    @property
    def revision(self) -> int | None:
        """The registry's revision that the names here are of; None when it was never read."""
        return self._snapshot.revision if self._snapshot else None

    def waiting_for(self) -> str | None:
        """What must happen before this server is ready, in words that anybody may read; None when it is.

        Ready means that the engine lives, that every domain in production can answer, and that whatever else had a
        name at the start is loaded or has failed.
        """
        if self.engine.dead:
            return "the engine has died"
        if self._snapshot is None:
            return self.stale.in_general if self.stale else "reading the registry"
        if not self._settled and self._flips:
            return "loading " + ", ".join(self._snapshot.aliases.get(alias, alias) for alias in sorted(self._flips))
        self._settled = True
        missing = [alias for alias in self._snapshot.aliases if "@" not in alias and alias not in self.aliases]
        return self._still_missing(self._snapshot.aliases[missing[0]]) if missing else None

    def _still_missing(self, name: str) -> str:
        failure = self.loader.failed.get(name)
        return f"{name}: {failure.in_general}" if failure else f"loading {name}"

    def servable(self) -> dict[str, Manifest]:
        """All versions that this server's base model can carry, by name."""
        versions = self._snapshot.versions if self._snapshot else {}
        return {
            name: entry.manifest
            for name, entry in versions.items()
            if entry.manifest.base_fingerprint == self.base.fingerprint
        }

    async def resolve(self, model: str) -> VersionEntry | None:
        """The version that `model` means now, loaded and ready; None for the base model.

        Raises:
            NotFoundError: nothing has this name; lists what there is.
            UnavailableError: the version cannot be made ready, or the name is not known here and the registry cannot
                be asked.
        """
        if model == self.engine.base_name:
            return None
        name = self._lookup(model)
        if name is None:
            try:
                await self.hear()
            except UnavailableError as error:
                raise UnavailableError(f"The model `{model}` is not known here, and {error}") from None
            name = self._lookup(model)
        if name is None:
            raise self.unknown(model)
        return await self._ensure_ready(name, source="request")

    def unknown(self, model: str) -> NotFoundError:
        """What to say of a name that nothing has; lists what there is."""
        there_is = [self.engine.base_name, *sorted(self.aliases), *sorted(self.servable())]
        more = f" and {len(there_is) - LISTED} more (GET /v1/models)" if len(there_is) > LISTED else ""
        listed = ", ".join(there_is[:LISTED])
        near = closest(model, there_is[:COMPARED])
        meant = f" Did you mean `{near}`?" if near else ""
        return NotFoundError(f"The model `{model}` does not exist.{meant} There is: {listed}{more}.", param="model")

    async def hear(self) -> None:
        """Wait until this server has heard what the registry says now.

        Raises:
            UnavailableError: it cannot be read, or takes longer than `READ_SECONDS`.
        """
        if self.stale is None:
            heard = self._heard
            self._wanted.set()
            await asyncio.wait({heard}, timeout=READ_SECONDS)
            if not heard.done():
                raise UnavailableError(f"the registry has not answered for {READ_SECONDS:.0f} seconds")
        if self.stale is not None:
            raise UnavailableError(self.stale.reason)

    async def settle(self, alias: str) -> None:
        """Hear the registry, and wait until this alias is what it says or has failed to be."""
        with contextlib.suppress(UnavailableError):  # `converged` and `stale` tell
            await self.hear()
        if flip := self._flips.get(alias):
            await asyncio.wait({flip})

    def converged(self, alias: str) -> bool:
        """Whether this server's alias means what the registry says."""
        if self._snapshot is None or self.stale is not None:
            return False
        return self.aliases.get(alias) == self._snapshot.aliases.get(alias)

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

    def _not_converged(self) -> int:
        """How many aliases of this base model mean another version here than in the registry."""
        if self._snapshot is None:
            return 0
        versions = self._snapshot.versions
        return sum(
            self.aliases.get(alias) != name and versions[name].manifest.base_fingerprint == self.base.fingerprint
            for alias, name in self._snapshot.aliases.items()
        )

    async def _ensure_ready(self, name: str, *, source: metrics.Source) -> VersionEntry:
        entry = self._entries.get(name)
        if entry is None:
            raise UnavailableError(f"{name} cannot be served: it was deleted")
        await self.loader.ensure_ready(entry, source=source)
        return entry

    async def _watch(self) -> None:
        while True:
            heard, self._heard = self._heard, asyncio.get_running_loop().create_future()
            self._wanted.clear()
            self._judge(await self._read())
            self._follow()
            metrics.NOT_CONVERGED.set(self._not_converged())
            heard.set_result(None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wanted.wait()

    async def _read(self) -> Failure | None:
        """Take over what the registry says; the server goes on with what it has when that fails."""
        reading = asyncio.get_running_loop().run_in_executor(self._reader, self._news, self.revision)
        await asyncio.wait({reading}, timeout=READ_SECONDS)
        if not reading.done():
            self._judge(Failure(f"the registry has not answered for {READ_SECONDS:.0f} seconds", "registry"))
        try:
            snapshot = await reading
        except Exception as error:
            return Failure(f"the registry cannot be read: {error}", "registry")
        if snapshot is None:
            return None
        if self._snapshot is not None and snapshot.revision < self._snapshot.revision:
            return Failure(
                f"the registry went back from revision {self.revision} to {snapshot.revision}, so it is another one: "
                "restart the server if it is the right one",
                "registry",
            )
        self._snapshot = snapshot
        self._forget(snapshot)
        metrics.REVISION.set(snapshot.revision)
        return None

    def _news(self, known: int | None) -> Snapshot | None:
        return None if self.registry.revision() == known else self.registry.snapshot(self._snapshot)

    def _judge(self, failure: Failure | None) -> None:
        """Note whether the registry can be read, and since when it cannot."""
        if failure is not None and (self.stale is None or self.stale.reason != failure.reason):
            logger.error("registry_unreadable reason=%s", failure.reason)
        if failure is None and self.stale is not None:
            logger.info("registry_readable after_seconds=%.1f", time.monotonic() - self.stale.at)
        self.stale = replace(failure, at=self.stale.at) if failure and self.stale else failure
        metrics.REGISTRY_UP.set(failure is None)

    def _forget(self, snapshot: Snapshot) -> None:
        """Drop aliases that are gone, and let nobody ask for versions that were deleted."""
        for alias in [alias for alias in self.aliases if alias not in snapshot.aliases]:
            del self.aliases[alias]
        self.problems = {alias: why for alias, why in self.problems.items() if alias in snapshot.aliases}
        meant = set(self.aliases.values())  # also what was deleted, until its alias means another version here
        kept = {name: entry for name, entry in self._entries.items() if name in meant}
        self._entries = {**kept, **snapshot.versions}
        self.loader.forget(set(self._entries))
        metrics.know({self.engine.base_name, *self._entries})

    def _follow(self) -> None:
        """Begin to load what an alias newly means, and try again what has failed a while ago."""
        for alias, name in self._snapshot.aliases.items() if self._snapshot else ():
            if self.aliases.get(alias) == name:
                self.problems.pop(alias, None)
                self._refused.pop(alias, None)
            elif alias not in self._flips and (self._refused.get(alias) != name or self.loader.may_try(name)):
                flip = asyncio.get_running_loop().create_task(self._flip(alias))
                self._flips[alias] = flip
                flip.add_done_callback(partial(self._flipped, alias))

    def _flipped(self, alias: str, _: asyncio.Task[None]) -> None:
        del self._flips[alias]

    async def _flip(self, alias: str) -> None:
        """Load what an alias means in the registry, then let it mean that here; again if it moved meanwhile."""
        while self._snapshot is not None and (name := self._snapshot.aliases.get(alias)) != self.aliases.get(alias):
            if name is None:
                return
            started = time.perf_counter()
            try:
                if not alias.endswith(f"@{PREVIOUS}"):  # what was in production is loaded, or loads when asked for
                    await self._ensure_ready(name, source="alias")
            except UnavailableError as error:
                self.problems[alias] = str(error)
                self._refused[alias] = name
                metrics.SWAPS.labels("refused").inc()
                logger.error("swap_refused alias=%s kept=%s refused=%s", alias, self.aliases.get(alias), name)
                return
            if self._snapshot.aliases.get(alias) == name:
                logger.info("swap alias=%s from=%s to=%s", alias, self.aliases.get(alias), name)
                self.aliases[alias] = name
                self._forget(self._snapshot)
                self.problems.pop(alias, None)
                self._refused.pop(alias, None)
                metrics.SWAPS.labels("ok").inc()
                metrics.SWAP_SECONDS.observe(time.perf_counter() - started)
