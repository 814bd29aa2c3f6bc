"""How fast a release reaches every server, and what the requests that run meanwhile notice of it.

    python benchmarks/hotswap.py [--json FILE] [--check] [--quick]

Two Locum servers on two ports share one registry, with a tiny model; each computes with one thread. On each, three
clients stream answers of 24 tokens with short pauses, and one more asks for a single token again and again, so that the
first token of a new version is seen as soon as there is one. `Registry.release`, which is what `locum release` does, is
called in a process of its own that neither server hears from: they find out by themselves. Two kinds of releases:

* `known`: back and forth between two versions that both servers have loaded, as a rollback does
* `new`: a version that was registered a moment before, with probes, which each server must still load and check

The time of a swap runs from the moment `release` is called until the last of the servers has sent the first token of
the new version; the table also says how long the call itself took. What it costs its neighbours: a stream is `near`
when it ran at any moment between the call (of `register`, if the version is new) and the end of the swap, and `before`
when it ran at any moment of as long a time just before that, where nothing was released.

Bars for --check: p99 of both kinds under 1 s; median of the streams near a release at most 1.10 of that of those before
one, p99 at most 1.25; no request fails, no stream says two versions, and a version always says the same.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
from peers import ONE_PROCESS, Peer, free_port, locum
from report import machine, percentile
from rich.console import Console
from rich.progress import track
from streams import Answer, ask, chat, session
from tiny import make_adapter, make_home, prompt_of, register

from locum.adapters.base import Base
from locum.adapters.conversations import Message
from locum.adapters.manifest import Probe
from locum.adapters.probes import make_probes
from locum.adapters.registry import Registry
from locum.adapters.store import ArtifactStore
from locum.commands.common import table
from locum.serve.host import plan_for_this_host
from locum.settings import Settings

STREAMS = 3
TOKENS = 24
THINK = 0.05  # seconds between an answer and the next question
PAUSE = 1.0  # mean seconds between two releases
BAR_SWAP, BAR_MEDIAN, BAR_P99 = 1.0, 1.10, 1.25
GAP = 0.05  # seconds between what is near a release and what is before it
GIVE_UP = 30.0


@dataclass
class Swap:
    """One release, and when each server spoke as the new version; seconds of `time.perf_counter`."""

    kind: str
    version: str
    began: float
    called: float
    returned: float = 0.0
    heard: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return max(self.heard.values()) - self.called


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true", help="30 and 10 releases instead of 120 and 60")
    options = parser.parse_args()
    known, new = (30, 10) if options.quick else (120, 60)
    console = Console()
    plan = replace(plan_for_this_host(), cores=[], cache_bytes=1 << 28, dtype="float32")
    os.environ["OMP_NUM_THREADS"] = "1"  # of each server
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings, base, registry = make_home(folder)
        prompts = [[Message(role="user", content=prompt_of(20, seed))] for seed in range(2)]
        adapters: list[tuple[Path, list[Probe]]] = []
        for seed in track(range(new + 2), "adapters and their probes", console=console, transient=True):
            path = make_adapter(folder / "adapters" / str(seed), seed)
            adapters.append((path, make_probes(base.path, path, prompts)))
        for path, probes in adapters[:2]:
            register(registry, base, "medical", path, probes)
        registry.release("medical@2", by="benchmark", reason="benchmark", force=True)
        registry.release("medical@1", by="benchmark", reason="benchmark", force=True)
        with console.status("starting two servers"):
            other = settings.model_copy(update={"port": free_port()})
            peers = [
                stack.enter_context(locum(each, base, plan, {}, rank=8, vllm_args=ONE_PROCESS))
                for each in (settings, other)
            ]
        pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")))

        async def everything() -> tuple[list[Swap], list[Answer]]:
            loop = asyncio.get_running_loop()
            async with Watch(peers) as watch:
                await asyncio.sleep(2)
                swaps = []
                for number in track(range(known + new), "releases", console=console, transient=True):
                    await asyncio.sleep(random.uniform(0.5, 1.5) * PAUSE)
                    new_one = adapters[number - known + 2] if number >= known else None
                    version = f"medical@{2 - number % 2}" if new_one is None else None
                    swap = await loop.run_in_executor(pool, release, settings, base, version, new_one)
                    await watch.reached(swap)
                    swaps.append(swap)
                await asyncio.sleep(1)
            return swaps, watch.answers

        swaps, answers = asyncio.run(everything())
    return tell(console, options, swaps, answers, machine(1))


def release(settings: Settings, base: Base, version: str | None, new: tuple[Path, list[Probe]] | None) -> Swap:
    """Release a version that is there, or one that is registered now. The servers hear nothing of it from here."""
    registry = Registry(settings.registry_url, ArtifactStore(settings.artifacts_url, cache=settings.home / "cache"))
    began = time.perf_counter()
    if new is not None:
        version = register(registry, base, "medical", *new).name
    assert version is not None
    called = time.perf_counter()
    registry.release(version, by="benchmark", reason="benchmark", force=True)
    return Swap("known" if new is None else "new", version, began, called, time.perf_counter())


class Watch:
    """Clients that stream from each server until the block ends, and the first to see a new version."""

    def __init__(self, peers: list[Peer]) -> None:
        self.peers = peers
        self.answers: list[Answer] = []
        self._firsts: dict[str, dict[str, float]] = {peer.url: {} for peer in peers}
        self._tasks: list[asyncio.Task[None]] = []
        self._over = False

    async def __aenter__(self) -> Watch:
        self._client = session()
        for peer in self.peers:
            self._tasks += [asyncio.create_task(self._stream(peer.url)) for _ in range(STREAMS)]
            self._tasks.append(asyncio.create_task(self._look(peer.url)))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)
        await self._client.close()

    async def reached(self, swap: Swap) -> None:
        """Wait until every server has spoken as the swap's version since it was called for."""
        while True:
            for url, firsts in self._firsts.items():
                if firsts.get(swap.version, 0.0) > swap.called:
                    swap.heard[url] = firsts[swap.version]
            if len(swap.heard) == len(self.peers):
                return
            if time.perf_counter() > swap.called + GIVE_UP:
                sys.exit(f"{swap.version} did not reach every server within {GIVE_UP:.0f} s: {swap}")
            await asyncio.sleep(0.01)

    async def _stream(self, url: str) -> None:
        body = chat("medical", prompt_of(60), TOKENS, return_token_ids=True)
        while not self._over:
            self.answers.append(await ask(self._client, url, body, asked="stream"))
            await asyncio.sleep(THINK)

    async def _look(self, url: str) -> None:
        body = chat("medical", "Well?", 1)
        last = ""
        while not self._over:
            try:
                answer = await ask(self._client, url, body, asked="look")
            except aiohttp.ClientError as error:
                sys.exit(f"{url} does not answer: {error}")
            if answer.version != last:
                last = answer.version
                self._firsts[url][last] = answer.first
            await asyncio.sleep(0.01)


def running(answers: list[Answer], start: float, end: float) -> list[float]:
    """Seconds of each answer that was under way at some moment between `start` and `end`."""
    return [answer.seconds for answer in answers if answer.started < end and answer.ended > start]


def tell(console: Console, options: argparse.Namespace, swaps: list[Swap], answers: list[Answer], ran_on: str) -> int:
    """Print the tables, write the JSON, and decide."""
    kinds = {kind: [swap for swap in swaps if swap.kind == kind] for kind in ("known", "new")}
    rows = []
    for kind, found in kinds.items():
        seconds = [swap.seconds for swap in found]
        called = [swap.returned - swap.called for swap in found]
        shown = (percentile(seconds, 50), percentile(seconds, 99), max(seconds), percentile(called, 50))
        rows.append((kind, len(found), *(f"{1000 * value:.0f}" for value in shown)))
    heads = ["release of a version that is", "times", "p50", "p99", "longest", "the call alone, p50"]
    title = "From the call of `release` to the first token on the last of two servers, ms"
    console.print(table(title, heads, rows), soft_wrap=True)

    near: dict[str, list[float]] = {"known": [], "new": []}
    before: dict[str, list[float]] = {"known": [], "new": []}
    for last, swap in itertools.pairwise(swaps):
        end = max(swap.heard.values())
        control = (2 * swap.began - end - GAP, swap.began - GAP)
        if control[0] > max(last.heard.values()) + GAP:
            near[swap.kind] += running(answers, swap.began, end)
            before[swap.kind] += running(answers, *control)
    ratios = {}
    rows = []
    for kind in kinds:
        times = [[percentile(found[kind], share) for found in (near, before)] for share in (50, 99)]
        ratios[kind] = [beside / alone for beside, alone in times]
        shown = [f"{1000 * value:.0f}" for pair in times for value in pair]
        rows.append((kind, len(near[kind]), len(before[kind]), *shown, *(f"{ratio:.2f}" for ratio in ratios[kind])))
    heads = ["release of", "near", "before", "p50 near", "before", "p99 near", "before", "ratio of p50", "of p99"]
    console.print(table(f"Streams of {TOKENS} tokens, ms", heads, rows), soft_wrap=True)

    failed = [answer for answer in answers if not answer.whole]
    mixed = [answer for answer in answers if len({chunk["model"] for chunk in answer.chunks}) > 1]
    said: defaultdict[str, set[tuple[int, ...]]] = defaultdict(set)
    for answer in answers:
        said[answer.version].add(tuple(answer.token_ids))
    strange = [version for version, texts in said.items() if len(texts) > 1]
    counts = (
        f"{len(failed)} failed, {len(mixed)} said two versions, {len(strange)} of {len(said)} versions said two things"
    )
    console.print(f"{len(answers)} streams: {counts}.")
    console.print(ran_on, highlight=False, soft_wrap=True)

    bars = [
        (f"{kind}, p99 in s", percentile([each.seconds for each in found], 99), BAR_SWAP)
        for kind, found in kinds.items()
    ]
    bars += [
        (f"streams near the release of a {kind} version, {name}", ratios[kind][at], bar)
        for kind in ratios
        for at, (name, bar) in enumerate((("p50", BAR_MEDIAN), ("p99", BAR_P99)))
    ]
    bars += [("failed, mixed or strange", len(failed) + len(mixed) + len(strange), 0)]
    short = [f"{name}: {found:.2f}, at most {bar}" for name, found, bar in bars if found > bar]
    for line in short:
        console.print(f"short  {line}", highlight=False, soft_wrap=True)
    if options.json:
        result = {
            "machine": ran_on,
            "seconds": {kind: [swap.seconds for swap in found] for kind, found in kinds.items()},
            "ratios": ratios,
            "near": near,
            "before": before,
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return int(options.check and bool(short))


if __name__ == "__main__":
    sys.exit(main())
