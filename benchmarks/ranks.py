"""What headroom costs: servers that hold LoRA ranks up to 16, 32, 64 and 128, with the same adapters of rank 16.

    python benchmarks/ranks.py [--json FILE] [--check] [--quick] [--rounds N]

vLLM keeps room for `--max-loras` adapters of the highest rank, whatever rank they have, and multiplies with all of it.
The servers take turns on the same work, and each figure is a ratio to the server of rank 16: tokens a second of answers
(decode) and of prompts (prefill) with one adapter and with three beside the base model. Memory is that of all of a
server's processes; `slots` is what the adapters' slots take by the shapes of the base model.

Bar for --check: at the rank that `locum serve` makes room for by itself, no work is slower than 0.8 of rank 16.

Needs the base model (locum base pull). The servers leave the model uncompiled, as all of them are up at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import psutil
import torch
from multilora import DOMAINS, PREFILL, RANK, Work, make_adapters, registered, run
from peers import ONE_PROCESS, free_port, locum
from report import machine, median_and_spread
from rich.console import Console
from rich.progress import track

from locum.adapters.base import load_base
from locum.commands.common import table
from locum.serve.host import plan_for_this_host, slot_bytes
from locum.serve.launcher import HEADROOM_RANK, SLOTS
from locum.settings import load_settings

RANKS = (RANK, 32, 64, 128)
WORKS = [
    *(Work("decode", mix, count) for mix, count in (("base", 1), ("one", 1), ("one", 8), ("four", 8))),
    *(Work("prefill", mix, count) for mix, count in (("one", 1), ("four", 8))),
]
BAR = 0.8
MIB = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true", help="two rounds")
    options = parser.parse_args()
    rounds = 2 if options.quick else options.rounds
    console = Console()
    plan = replace(plan_for_this_host(), dtype="float32", cache_bytes=1 << 29)
    home = load_settings()
    base = load_base(home.bases, home.base)
    generator = torch.Generator().manual_seed(0)
    prompts = {
        "decode": torch.randint(100, 40_000, (8, 8), generator=generator).tolist(),
        "prefill": torch.randint(100, 40_000, (8, PREFILL), generator=generator).tolist(),
    }
    speeds: defaultdict[tuple[Work, int], list[float]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = registered(base, make_adapters(base, folder), folder, home.bases)
        os.environ["LOCUM_HOME"] = str(settings.home)
        versions = {name: f"{name}@1" for name in DOMAINS}
        arguments = ("--enforce-eager", "--no-enable-prefix-caching", *ONE_PROCESS)
        peers = {}
        for rank in RANKS:
            own = settings.model_copy(update={"port": free_port()})
            console.print(f"starting the server of rank {rank}", highlight=False)
            peers[rank] = stack.enter_context(locum(own, base, plan, versions, rank=rank, vllm_args=arguments))
        for work in WORKS:
            for peer in peers.values():
                run(peer, work, prompts[work.kind])
        for turn in range(rounds):
            for number, work in enumerate(track(WORKS, f"round {turn + 1}", console=console, transient=True)):
                first = (turn + number) % len(RANKS)
                for rank in RANKS[first:] + RANKS[:first]:
                    speeds[work, rank].append(run(peers[rank], work, prompts[work.kind])[0])
        memory = {rank: held(peer.pid) for rank, peer in peers.items()}

    def ratios(work: Work, rank: int) -> list[float]:
        return [ours / theirs for ours, theirs in zip(speeds[work, rank], speeds[work, RANKS[0]], strict=True)]

    rows = [
        (f"{work.kind} {work.mix} {work.concurrent}", f"{statistics.median(speeds[work, RANKS[0]]):.0f}",
         *(median_and_spread(ratios(work, rank)) for rank in RANKS[1:]))
        for work in WORKS
    ]  # fmt: skip
    slots = {rank: SLOTS * slot_bytes(base.path, rank, plan.dtype) for rank in RANKS}
    rows.append(
        ("slots, MiB", f"{slots[RANK] / MIB:.0f}", *(f"{slots[rank] / MIB:.0f}" for rank in RANKS[1:])),
    )
    rows.append(
        ("memory, MiB", f"{memory[RANK] / MIB:.0f}",
         *(f"{memory[rank] / MIB:.0f} (+{(memory[rank] - memory[RANK]) / MIB:.0f})" for rank in RANKS[1:])),
    )  # fmt: skip
    heads = ["", f"rank {RANK}", *(f"rank {rank}, to {RANK}" for rank in RANKS[1:])]
    console.print(table("Tokens a second, and ratios: median [spread]", heads, rows), soft_wrap=True)
    ran_on = machine(len(plan.cores))
    console.print(ran_on, highlight=False, soft_wrap=True)
    short = [
        f"{work}: {statistics.median(ratios(work, HEADROOM_RANK)):.2f}, to reach {BAR}"
        for work in WORKS
        if statistics.median(ratios(work, HEADROOM_RANK)) < BAR
    ]
    for line in short:
        console.print(f"short  {line}", highlight=False, soft_wrap=True)
    if options.json:
        found = {f"{work.kind} {work.mix} {work.concurrent} {rank}": each for (work, rank), each in speeds.items()}
        result = {"machine": ran_on, "speeds": found, "memory": memory, "slots": slots}
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return int(options.check and bool(short))


def held(pid: int) -> int:
    """Bytes that a server's processes hold, what they share counted once."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(int(process.memory_full_info().pss) for process in processes)


if __name__ == "__main__":
    sys.exit(main())
