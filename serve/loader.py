"""Versions in the engine: fetched, loaded and probed before the first request, and why some of them cannot be."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from locum.adapters.base import Base
from locum.adapters.manifest import Manifest
from locum.adapters.probes import compare_probe_logprobs, tolerance_for
from locum.adapters.records import VersionEntry
from locum.adapters.registry import Registry
from locum.errors import CheckFailedError, DiskFullError, StoreError, UnavailableError, UnservableError
from locum.serve import metrics, requests
from locum.serve.engine import Engine
from locum.serve.kept import Kept

logger = logging.getLogger("vllm.locum.loader")

RETRY_SECONDS = 10.0
LOAD_SECONDS = 60.0  # no request waits longer for a version
DROP_SECONDS = 1.0
FETCHES = 4  # at the same time

Kind = Literal["artifact", "store", "disk", "mismatch", "engine", "probes", "registry"]

# What anybody may read of a failure: the reason itself can name hosts, users and paths.
IN_GENERAL: dict[Kind, str] = {
    "artifact": "its artifact is damaged or gone",
    "store": "the artifact store cannot be reached",
    "disk": "the disk has no room for its artifact",
    "mismatch": "it does not fit the base model or the rank of this server",
    "engine": "the engine cannot load it",
    "probes": "it does not answer its probes as it was trained to",
    "registry": "the registry cannot be read",
}


@dataclass(frozen=True)
class Failure:
    """What went wrong, in words and in kind, and when that was found (monotonic seconds).

    Kinds: the `artifact` is damaged or gone; the `store` cannot be reached; the `disk` is full; a `mismatch` with the
    base model or the server's rank; the `engine` refuses it; its `probes` fail; the `registry` cannot be read.
    """

    reason: str
    kind: Kind
    at: float = field(default_factory=time.monotonic)

    @property
    def in_general(self) -> str:
        return IN_GENERAL[self.kind]

    @property
    def permanent(self) -> bool:
        """Whether it stays so for as long as the server runs: neither its base model nor its rank changes."""
        return self.kind == "mismatch"

    def error(self, name: str) -> UnavailableError:
        """What whoever asks for the version is told."""
        message = f"{name} cannot be served: {self.reason}"
        return UnservableError(message) if self.permanent else UnavailableError(message)


class VersionError(UnavailableError):
    """A version that cannot be made ready."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind: Kind = kind


class Loader:
    """The versions in one engine."""

    def __init__(self, registry: Registry, engine: Engine, base: Base) -> None:
        self.failed: dict[str, Failure] = {}
        self._registry = registry
        self._engine = engine
        self._base = base
        self._ready: dict[str, None] = {}  # the one that was asked for last is the last
        self._published: set[str] = set()
        self._kept = Kept()
        self._drops: set[asyncio.Task[None]] = set()
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._fetching = ThreadPoolExecutor(FETCHES, "locum-fetch")

    def state(self, name: str) -> str:
        """`loaded`, `failed: …` or `registered` (loaded on its first request)."""
        if name in self._ready:
            return "loaded"
        return f"failed: {self.failed[name].reason}" if name in self.failed else "registered"

    async def ensure_ready(self, entry: VersionEntry, *, source: metrics.Source) -> None:
        """Load the version and check its known answers, once however many ask at the same time.

        `source` is what wants it: an alias that moved, or a request.

        Raises:
            UnservableError: it fits neither now nor later.
            UnavailableError: it cannot be loaded, does not answer as it was trained to, or takes over a minute.
        """
        name = entry.manifest.name
        if name in self._ready:
            self._ready[name] = self._ready.pop(name)
            return
        if self.may_try(name):
            load = self._loads.get(name) or self._begin(entry, source)
            await asyncio.wait({load}, timeout=LOAD_SECONDS)
            if not load.done():
                raise UnavailableError(f"{name} cannot be served yet: it is still being loaded")
            load.result()
        if name in self.failed:
            raise self.failed[name].error(name)

    def may_try(self, name: str) -> bool:
        """Whether the version has not failed, or so long ago that it may be otherwise now."""
        failed = self.failed.get(name)
        return failed is None or (not failed.permanent and time.monotonic() - failed.at > RETRY_SECONDS)

    def forget(self, known: set[str]) -> None:
        """Let nobody ask for versions that are not known any more."""
        for name in self._published - known:
            self._engine.withdraw(name)
            self._published.discard(name)
            self._ready.pop(name, None)
            drop = asyncio.get_running_loop().create_task(self._drop(name))
            self._drops.add(drop)
            drop.add_done_callback(self._drops.discard)
        for name in set(self.failed) - known:
            del self.failed[name]
        metrics.HELD.set(len(self._ready))

    async def _drop(self, name: str) -> None:
        """Let a version's files go when the last request that names it has ended."""
        while requests.names(name):
            await asyncio.sleep(DROP_SECONDS)
        await asyncio.get_running_loop().run_in_executor(self._fetching, self._kept.drop, name)

    def _begin(self, entry: VersionEntry, source: metrics.Source) -> asyncio.Task[None]:
        name = entry.manifest.name
        load = asyncio.get_running_loop().create_task(self._load(entry, source))
        self._loads[name] = load
        load.add_done_callback(lambda _: self._loads.pop(name))
        return load

    async def _load(self, entry: VersionEntry, source: metrics.Source) -> None:
        name = entry.manifest.name
        count = partial(metrics.count_load, name, source=source, started=time.perf_counter())
        try:
            await self._make_ready(entry)
        except Exception as error:  # whatever it was, this version does not answer, and the others do
            failure = Failure(str(error), error.kind if isinstance(error, VersionError) else "engine")
            self.failed[name] = failure
            count(outcome=failure.kind)
            logger.exception("version_failed name=%s kind=%s", name, failure.kind)
            return
        count(outcome="ok")
        self.failed.pop(name, None)
        self._ready[name] = None
        while len(self._ready) > self._engine.capacity:
            # vLLM drops one too, and would read it from disk again by itself: unchecked, and a damaged file ends the
            # engine. Who asks for it next comes here first.
            self._ready.pop(next(iter(self._ready)))
            metrics.EVICTIONS.inc()
        metrics.HELD.set(len(self._ready))

    async def _make_ready(self, entry: VersionEntry) -> None:
        manifest = entry.manifest
        self._check_fit(manifest)
        path = await asyncio.get_running_loop().run_in_executor(self._fetching, self._fetch, manifest)
        started = time.perf_counter()
        await self._engine.load(manifest.name, version_id=entry.id, path=path)
        loaded = time.perf_counter()
        await self._probe(entry, path)
        self._engine.publish(manifest.name, version_id=entry.id, path=path)
        self._published.add(manifest.name)
        logger.info(
            "version_ready name=%s load_ms=%.0f probe_ms=%.0f",
            manifest.name,
            1000 * (loaded - started),
            1000 * (time.perf_counter() - loaded),
        )

    def misfit(self, manifest: Manifest) -> str | None:
        """Why this server cannot hold a version for as long as it runs; None where it can."""
        if manifest.base_fingerprint != self._base.fingerprint:
            return (
                f"it was trained on {manifest.base} ({manifest.base_fingerprint[:12]}), "
                f"this server runs {self._base.name} ({self._base.fingerprint[:12]})"
            )
        if manifest.rank > self._engine.max_rank:
            return (
                f"its rank is {manifest.rank}, this server holds up to {self._engine.max_rank}: restart it, and "
                "`locum serve` makes room for every registered version, unless --max-lora-rank behind `--` keeps it "
                "from that"
            )
        return None

    def _check_fit(self, manifest: Manifest) -> None:
        if (reason := self.misfit(manifest)) is not None:
            raise VersionError("mismatch", reason)

    def _fetch(self, manifest: Manifest) -> Path:
        try:
            return self._kept.hold(manifest.name, self._registry.artifact_path(manifest))
        except CheckFailedError as error:
            if (held := self._kept.held(manifest.name, manifest.digest)) is not None:
                return held
            raise VersionError("artifact", str(error)) from error
        except DiskFullError as error:
            raise VersionError("disk", str(error)) from error
        except StoreError as error:
            raise VersionError("store", str(error)) from error

    async def _probe(self, entry: VersionEntry, path: Path) -> None:
        name, probes = entry.manifest.name, entry.manifest.probes
        ask = partial(self._engine.token_logprobs, name=name, version_id=entry.id, path=path)
        answers = await asyncio.gather(*(ask(probe.prompt_ids + probe.token_ids) for probe in probes))
        of_tokens = [answer[-len(probe.token_ids) :] for answer, probe in zip(answers, probes, strict=True)]
        report = compare_probe_logprobs(probes, of_tokens, tolerance=tolerance_for(self._engine.dtype))
        if not report.passed:
            raise VersionError("probes", f"it does not answer its probes as it was trained to: {report.summary}")
