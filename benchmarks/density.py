"""A thousand registered versions on one server with room for a few: does every request get its own version's answer?

    python benchmarks/density.py [--json FILE] [--check] [--quick]

1,000 versions of ten domains over a tiny model, 4 slots on the device and room for 32 on the host (`--max-loras 4
--max-cpu-loras 32`). Requests name 200 of them, the n-th as often as 1/n. Each of the 200 was registered with a probe:
the question that it is asked here, whose answer PEFT computed. So each answer is compared with PEFT's.

* `loads`: one request at a time, so that nothing else is in the time to the first token: of a version that the server
  has never loaded (Locum loads it and checks its probe), that vLLM has dropped since and reads anew, that is on the
  host, and that is in a slot
* `traffic`: eight clients; the throughput against the same requests to one version, in rounds that take turns. Hits
  are counted as vLLM keeps adapters, the least recently used one goes first, by the order in which requests were sent
* `names`: asking for `/v1/models`; resolving a version, an alias, and a name that nobody has. A name is resolved by a
  chat that vLLM refuses for its number of tokens, so that no engine is in the way
* `memory`: an hour's worth of swaps, one every two seconds, as fast as they go: release and rollback over HTTP, and
  each tenth time a new version, registered, released and soon deleted. The memory of all of the server's processes;
  the growth is the line through the second half

Bars for --check: no failed request and no wrong answer; each of the names under 5 ms at p99; memory grows by less
than 8 MiB in 1,000 swaps.
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
import statistics
import sys
import tempfile
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import httpx
import numpy as np
import psutil
from peers import ONE_PROCESS, Peer, locum
from report import machine, median_and_spread, percentile
from rich.console import Console
from rich.progress import track
from streams import Answer, ask, chat, session
from tiny import make_adapter, make_home, prompt_of, register

from locum.adapters.base import Base
from locum.adapters.conversations import Message
from locum.adapters.manifest import Probe
from locum.adapters.probes import make_probes
from locum.adapters.registry import Registry
from locum.commands.common import table
from locum.serve.host import plan_for_this_host

DOMAINS, VERSIONS, ASKED = 10, 1000, 200
SLOTS, HOST = 4, 32
CLIENTS = 8
TOKENS = 16
ADMIN = {"Authorization": f"Bearer {'benchmark' * 4}"}
BAR_NAME, BAR_GROWTH = 5.0, 8.0


@dataclass
class Found:
    """What was measured. Times in ms."""

    loads: dict[str, list[float]] = field(default_factory=dict)
    rounds: list[tuple[float, float]] = field(default_factory=list)
    places: Counter[str] = field(default_factory=Counter)
    traffic: dict[str, list[float]] = field(default_factory=dict)
    names: dict[str, list[float]] = field(default_factory=dict)
    memory: list[tuple[int, float]] = field(default_factory=list)
    answers: int = 0
    failed: int = 0
    wrong: int = 0


@dataclass(frozen=True)
class Asker:
    """Asks versions their questions, and holds the answers against PEFT's."""

    client: aiohttp.ClientSession
    url: str
    known: dict[str, list[int]]
    found: Found

    async def __call__(self, name: str) -> Answer:
        body = chat(name, question_of(name), TOKENS, return_token_ids=True)
        answer = await ask(self.client, self.url, body, asked=name)
        wanted = self.known[name]
        self.found.answers += 1
        self.found.failed += not answer.whole
        self.found.wrong += answer.version != name or answer.token_ids[: len(wanted)] != wanted
        return answer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a tenth of the traffic and of the swaps")
    options = parser.parse_args()
    rounds, requests, swaps = (2, 300, 200) if options.quick else (5, 1200, 1800)
    console = Console()
    plan = replace(plan_for_this_host(), cores=[], cache_bytes=1 << 28, dtype="float32")
    os.environ["OMP_NUM_THREADS"] = "1"
    found = Found()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings, base, registry = make_home(folder, admin_token=ADMIN["Authorization"].split()[1])
        names = fill(console, registry, base, folder)
        known = {name: registry.resolve(name).probes[0].token_ids for name in names}
        with console.status("starting the server"):
            args = [*ONE_PROCESS, "--max-loras", str(SLOTS), "--max-cpu-loras", str(HOST)]
            peer = stack.enter_context(locum(settings, base, plan, {}, rank=8, vllm_args=args))

        async def measure() -> None:
            async with session() as client:
                asker = Asker(client, peer.url, known, found)
                await loads(asker, names)
                console.print("loads measured", style="dim")
                await traffic(asker, names, rounds, requests)
                console.print("traffic measured", style="dim")
                await resolving(asker, names)

        asyncio.run(measure())
        churn(console, peer, registry, base, folder, swaps, found)
    return tell(console, options, found, machine(1))


def fill(console: Console, registry: Registry, base: Base, folder: Path) -> list[str]:
    """Register all versions, two of each domain released; returns those that will be asked, the favourite first."""
    unnamed = range(2 * DOMAINS, VERSIONS - DOMAINS)  # all but those that an alias names: a server loads these at once
    order = random.Random(0).sample(unnamed, ASKED)
    name_of = {seed: f"d{seed % DOMAINS}@{seed // DOMAINS + 1}" for seed in range(VERSIONS)}
    paths = {seed: make_adapter(folder / "adapters" / str(seed), seed, rank=2) for seed in range(VERSIONS)}
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        work = [pool.submit(probe, base.path, paths[seed], name_of[seed]) for seed in order]
        waited = track(work, "PEFT's answers", console=console, transient=True)
        probes = dict(zip(order, (each.result() for each in waited), strict=True))
    for seed in track(range(VERSIONS), "registering", console=console, transient=True):
        made = register(registry, base, f"d{seed % DOMAINS}", paths[seed], probes.get(seed, ()))
        assert made.name == name_of[seed]
    for domain, number in itertools.product(range(DOMAINS), (2, 1)):
        registry.release(f"d{domain}@{number}", by="benchmark", reason="benchmark", force=True)
    return [name_of[seed] for seed in order]


def probe(base: Path, adapter: Path, name: str) -> list[Probe]:
    prompt = [Message(role="user", content=question_of(name))]
    return make_probes(base, adapter, [prompt], max_tokens=TOKENS)


def question_of(name: str) -> str:
    return f"{name}: {prompt_of(30)}"


async def loads(asker: Asker, names: Sequence[str]) -> None:
    """Time to the first token of an idle server, by where the version was."""
    to_first: defaultdict[str, list[float]] = defaultdict(list)

    async def all_of(kind: str, asked: Iterable[str]) -> None:
        to_first[kind] += [1000 * (await asker(name)).to_first for name in asked]

    await all_of("never loaded", names)
    await all_of("dropped, read anew", names)  # each is asked again when all others were asked
    few = names[: HOST // 2]
    for name in few:
        await asker(name)
    await all_of("on the host", [*few, *few])
    for name in few:
        await asker(name)
        await all_of("in a slot", [name] * 3)
    asker.found.loads = dict(to_first)


async def traffic(asker: Asker, names: Sequence[str], rounds: int, requests: int) -> None:
    """Requests to all of the names, and as many to one of them, in turns."""
    weights = [1 / place for place in range(1, len(names) + 1)]
    chance = random.Random(1)
    slots, host = Kept(SLOTS), Kept(HOST)
    times: dict[str, list[float]] = {"in a slot": [], "on the host": [], "read anew": []}

    async def drive(asked: Sequence[str], *, count: bool) -> float:
        left = iter(asked)

        async def client() -> None:
            for name in left:
                place = "in a slot" if slots.use(name) else "on the host" if name in host else "read anew"
                host.use(name)
                answer = await asker(name)
                if count:
                    asker.found.places[place] += 1
                    times[place].append(1000 * answer.to_first)

        started = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        return TOKENS * len(asked) / (time.perf_counter() - started)

    await drive(chance.choices(names, weights, k=requests // 4), count=False)
    for _ in range(rounds):
        one = await drive([names[0]] * requests, count=False)
        many = await drive(chance.choices(names, weights, k=requests), count=True)
        asker.found.rounds.append((many, one))
    asker.found.traffic = times


class Kept:
    """What a cache of so many holds when the least recently used goes first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def use(self, name: str) -> bool:
        """Whether it was there; it is now."""
        was = name in self._held
        self._held[name] = None
        self._held.move_to_end(name)
        if len(self._held) > self._size:
            self._held.popitem(last=False)
        return was


async def resolving(asker: Asker, names: Sequence[str], *, times: int = 500) -> None:
    """Milliseconds to list the names, and to resolve one."""
    client, url = asker.client, asker.url

    async def listing(_: int) -> tuple[int, int]:
        async with client.get(f"{url}/v1/models") as answer:
            await answer.read()
            return answer.status, 200

    def chat_to(name: str, expected: int):  # type: ignore[no-untyped-def]
        async def send(number: int) -> tuple[int, int]:
            answer = await ask(client, url, chat(name.replace("?", str(number)), "Well?", -1))
            return answer.status, expected

        return send

    kinds = {"/v1/models": listing, "a version": chat_to(names[0], 400), "an alias": chat_to("d3", 400)}
    kinds["a name nobody has"] = chat_to("nobody-?", 404)
    for kind, send in kinds.items():
        await send(-1)
        taken = []
        for number in range(times):
            started = time.perf_counter()
            status, expected = await send(number)
            taken.append(1000 * (time.perf_counter() - started))
            if status != expected:
                sys.exit(f"{kind}: expected {expected}, found {status}")
        asker.found.names[kind] = taken


def churn(console: Console, peer: Peer, registry: Registry, base: Base, folder: Path, swaps: int, found: Found) -> None:
    """Swap as fast as the server follows, and look at its memory."""
    adapters = folder / "churn"
    with httpx.Client(base_url=peer.url, headers=ADMIN, timeout=60) as client:

        def admin(path: str, body: dict[str, object]) -> None:
            answer = client.post(path, json=body)
            if answer.status_code != 200 or not answer.json()["converged"]:
                sys.exit(f"{path} answered {answer.status_code}: {answer.text[:500]}")

        temporary: list[str] = []
        for number in track(range(swaps), "swaps", console=console, transient=True):
            if number % (swaps // 60 or 1) == 0:
                found.memory.append((number, memory_of(peer.pid)))
            if number % 10 == 0:
                path = make_adapter(adapters / str(number), VERSIONS + number, rank=2)
                temporary.append(register(registry, base, "d0", path).name)
                admin("/v1/domains/d0/release", {"version": temporary[-1], "force": True, "reason": "benchmark"})
            else:
                admin("/v1/domains/d0/rollback", {"reason": "benchmark"})
            if len(temporary) > 3:
                registry.delete(temporary.pop(0))
            body = {"model": "d0", "messages": [{"role": "user", "content": "Well?"}], "max_tokens": 1}
            found.answers += 1
            found.failed += client.post("/v1/chat/completions", json=body).status_code != 200
        found.memory.append((swaps, memory_of(peer.pid)))


def memory_of(pid: int) -> float:
    """MiB that a process and those it started have for themselves."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(each.memory_full_info().uss for each in processes) / (1 << 20)


def growth(memory: Sequence[tuple[int, float]]) -> float:
    """MiB in 1,000 swaps: the slope of the line through the second half."""
    half = memory[len(memory) // 2 :]
    slope, _ = np.polyfit([number for number, _ in half], [size for _, size in half], 1)
    return float(1000 * slope)


def tell(console: Console, options: argparse.Namespace, found: Found, ran_on: str) -> int:
    """Print the tables, write the JSON, and decide."""

    def times(rows: dict[str, list[float]]) -> list[tuple[object, ...]]:
        return [
            (kind, len(taken), *(f"{percentile(taken, share):.1f}" for share in (50, 99)))
            for kind, taken in rows.items()
            if taken
        ]

    heads = ["the version is", "requests", "p50", "p99"]
    console.print(table("Ms to the first token, one request at a time", heads, times(found.loads)), soft_wrap=True)
    title = f"Ms to the first token, {CLIENTS} clients over {ASKED} versions"
    console.print(table(title, heads, times(found.traffic)), soft_wrap=True)
    total = found.places.total()
    in_slot, on_host = found.places["in a slot"], found.places["on the host"]
    console.print(f"Hits: {in_slot / total:.0%} in a slot, {(in_slot + on_host) / total:.0%} there or on the host.")
    many, one = (statistics.median(each) for each in zip(*found.rounds, strict=True))
    ratio = median_and_spread([many / one for many, one in found.rounds])
    console.print(f"Tokens a second: {many:.0f}, one hot version {one:.0f}; ratio {ratio}.")
    heads = ["what is asked for", "times", "p50", "p99"]
    console.print(table("Ms to an answer about names, the server idle", heads, times(found.names)), soft_wrap=True)
    slope = growth(found.memory)
    says = "grows" if slope > BAR_GROWTH else "does not grow"
    console.print(
        f"Memory: {found.memory[0][1]:.0f} MiB, after {found.memory[-1][0]} swaps {found.memory[-1][1]:.0f} MiB; "
        f"in the second half {slope:+.1f} MiB in 1,000 swaps: it {says}."
    )
    console.print(f"{found.answers} requests: {found.failed} failed, {found.wrong} answered other than PEFT.")
    console.print(ran_on, highlight=False, soft_wrap=True)

    short = [
        f"{kind}: p99 {percentile(taken, 99):.1f} ms, at most {BAR_NAME}"
        for kind, taken in found.names.items()
        if percentile(taken, 99) > BAR_NAME
    ]
    short += [f"memory grows by {slope:.1f} MiB in 1,000 swaps, at most {BAR_GROWTH}"] if slope > BAR_GROWTH else []
    short += [f"{found.failed} failed, {found.wrong} wrong"] if found.failed or found.wrong else []
    for line in short:
        console.print(f"short  {line}", highlight=False, soft_wrap=True)
    if options.json:
        result = {"machine": ran_on, **vars(found)}
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return int(options.check and bool(short))


if __name__ == "__main__":
    sys.exit(main())
