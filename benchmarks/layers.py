"""One layer's adapters, ways to multiply them, with few rows (decode) and many (prefill).

    python benchmarks/layers.py [--json FILE] [--check] [--quick]

The fused query, key and value projection of SmolLM2-135M, rank 16, float32, four slots. Microseconds a call of

    gathered   each row's own copy of its adapter, as vLLM 0.32's CPU path does
    grouped    a pair of matrix products for each adapter, over its rows
    masked     one pair over all slots in use; what a row does not want is set to zero between the two
    rows       Locum's kernel, each row with its own slot (decode, and what lies between long runs)
    run        Locum's kernel where it hands a long run of one adapter to matrix products

Each is compared with `grouped` first. Bars for --check: with fewer than LONG_RUN rows no other way beats
`rows` by more than a tenth; from LONG_RUN rows on, `run` is faster than `rows`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from report import machine
from rich.console import Console

from locum.commands.common import table
from locum.serve import cpu_kernels
from locum.serve.cpu_lora import LONG_RUN, MIXED, Segment

IN, WIDTHS, RANK, SLOTS = 576, (576, 192, 192), 16, 4
OUT = sum(WIDTHS)
BATCHES: dict[str, list[int]] = {
    "decode, one adapter, 1 row": [0],
    "decode, one adapter, 8 rows": [0] * 8,
    "decode, base and three, 8 rows": [-1, 0, 1, 2] * 2,
    "decode, base and three, 16 rows": [-1, 0, 1, 2] * 4,
    "decode, four adapters, 64 rows": [0, 1, 2, 3] * 16,
    **{f"prefill, one adapter, {rows} rows": [1] * rows for rows in (8, 16, 32, 64, 128, 512)},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true", help="30 calls of each instead of 300")
    options = parser.parse_args()
    if not cpu_kernels.load():
        sys.exit("Locum's kernel cannot be compiled here: there is nothing to compare")
    torch.manual_seed(0)
    a = torch.randn(SLOTS, len(WIDTHS), RANK, IN) / IN**0.5
    b = torch.randn(SLOTS, RANK, OUT) / RANK**0.5
    found: dict[str, dict[str, float]] = {}
    with torch.inference_mode():
        for name, slots in BATCHES.items():
            found[name] = measure(slots, a, b, calls=30 if options.quick else 300)
    heads = ["batch", *(ways := ["gathered", "grouped", "masked", "rows", "run"])]
    rows = [(name, *(f"{times[way]:.0f}" if way in times else "" for way in ways)) for name, times in found.items()]
    console = Console()
    ran_on = machine(torch.get_num_threads())
    console.print(table("Microseconds a call (median)", heads, rows), soft_wrap=True)
    console.print(ran_on, highlight=False, soft_wrap=True)
    short = []
    for name, times in found.items():
        others = min(taken for way, taken in times.items() if way not in {"rows", "run"})
        if len(BATCHES[name]) < LONG_RUN and times["rows"] > 1.1 * others:
            short.append(f"{name}: rows {times['rows']:.0f}, another way {others:.0f}")
        if "run" in times and len(BATCHES[name]) >= LONG_RUN and times["run"] > times["rows"]:
            short.append(f"{name}: run {times['run']:.0f}, rows {times['rows']:.0f}")
    for line in short:
        console.print(f"short  {line}", highlight=False, soft_wrap=True)
    if options.json:
        options.json.write_text(json.dumps({"machine": ran_on, "microseconds": found}, indent=2) + "\n")
    return int(options.check and bool(short))


def measure(slots: list[int], a: torch.Tensor, b: torch.Tensor, *, calls: int) -> dict[str, float]:
    """Median microseconds of each way, all taking turns."""
    x = torch.randn(len(slots), IN)
    ways = prepared(slots, x, a, b)
    wanted = applied(ways["grouped"], len(slots))
    for name, way in ways.items():
        error = float((applied(way, len(slots)) - wanted).abs().max())
        assert error < 1e-3, f"{name} is {error:.1e} off"
    times: dict[str, list[float]] = {name: [] for name in ways}
    y = torch.zeros(len(slots), OUT)
    for _ in range(calls):
        for name, way in ways.items():
            started = time.perf_counter()
            way(y)
            times[name].append(1e6 * (time.perf_counter() - started))
    return {name: statistics.median(taken) for name, taken in times.items()}


def applied(way: Callable[[torch.Tensor], None], rows: int) -> torch.Tensor:
    y = torch.zeros(rows, OUT)
    way(y)
    return y


def prepared(
    slots: list[int], x: torch.Tensor, a: torch.Tensor, b: torch.Tensor
) -> dict[str, Callable[[torch.Tensor], None]]:
    """The ways, each with what it would compute once a step."""
    chosen = torch.tensor(slots)
    used = sorted({slot for slot in slots if slot >= 0})
    of_slot = {slot: (chosen == slot).nonzero().flatten() for slot in used}
    wanting = (chosen >= 0).nonzero().flatten()
    low, high = used[0], used[-1] + 1
    unwanted = None if slots == [low] * len(slots) else chosen.unsqueeze(1) != torch.arange(low, high)
    segment = Segment(slice(0, len(slots)), slice(low, high), unwanted)
    parts = [(index, sum(WIDTHS[:index]), width) for index, width in enumerate(WIDTHS)]
    # as vLLM's worker has them, seen by the kernel through the first slice
    a_view, b_view = a[:, :1], b[:, :, : WIDTHS[0]].transpose(1, 2).unsqueeze(1)

    def gathered(y: torch.Tensor) -> None:
        rows, own = x[wanting], chosen[wanting]
        for index, column, width in parts:
            shrunk = torch.einsum("ni,nri->nr", rows, a[own, index])
            y[wanting, column : column + width] += torch.einsum(
                "nr,nro->no", shrunk, b[own, :, column : column + width]
            )

    def grouped(y: torch.Tensor) -> None:
        for slot, rows in of_slot.items():
            for index, column, width in parts:
                shrunk = x[rows] @ a[slot, index].T
                y[rows, column : column + width] += shrunk @ b[slot, :, column : column + width]

    def masked(y: torch.Tensor) -> None:
        shrunk = segment.shrink(x, a).unflatten(1, (-1, len(WIDTHS), RANK))
        for index, column, width in parts:
            weights = b[segment.slots, :, column : column + width].flatten(0, 1)
            y[:, column : column + width].addmm_(shrunk[:, :, index].flatten(1), weights)

    def kernel(planned: int) -> Callable[[torch.Tensor], None]:
        plan = torch.tensor([1, 0, len(slots), planned])
        return lambda y: torch.ops.locum.add_lora(y, x, a_view, b_view, plan, chosen, WIDTHS, 1.0)

    ways: dict[str, Callable[[torch.Tensor], None]] = {"gathered": gathered, "grouped": grouped, "masked": masked}
    ways["rows"] = kernel(MIXED)
    if unwanted is None:
        ways["run"] = kernel(low)
    return ways


if __name__ == "__main__":
    sys.exit(main())
