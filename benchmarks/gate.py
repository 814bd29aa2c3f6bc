"""How often the gate errs: made-up releases of which the truth is known.

    python benchmarks/gate.py [--json FILE] [--check] [--quick]

Non-inferiority: a candidate that is as good as production, better by half the margin, or worse by half of it, by just
the margin and by twice of it, on suites of several sizes, with samples that stand alone or in groups whose samples
correlate by 0.5. Scores are 0 or 1 and differ on some share of the samples, or are graded. `power` is what
`locum suite power` foretells for `passed`. `ignored` is how many would pass if groups were ignored.

Slices: one of several slices has lost something, or none. `failed` is the gate's rule; `uncorrected` is how many would
fail without Holm's correction; `each shown` is how many would pass if every slice had to show non-inferiority.

Whole: a candidate over several suites, each in five slices: as good as production on all, or worse by the margin on
one of them.

Gain: how often a true gain over the base model is found, and one that is not there. 30 % of the samples differ.

Bars for --check, each with room for three standard errors of the simulation: a candidate that is worse by the margin or
more passes in at most 1 - confidence, and half as often again (the approximation with few differing samples); one that
is as good fails in no more than 0.5 %; with independent samples it passes as often as power says, to 7 points; no slice
is wrongly lost in more than 1 - confidence of releases; over several suites, one that is worse by the margin on one
passes no more often than over one, and one that is as good fails in no more than 1 - confidence a suite; a gain that is
not there is found in no more than (1 - confidence) / 2, and half as often again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from releases import World, gains, shares, sliced, whole
from report import machine
from rich.console import Console

from locum.commands.common import table

SUITES = [
    World(100, discordance=0.1),
    World(200, discordance=0.1),
    World(200, discordance=0.2),
    World(400, discordance=0.2),
    World(200, discordance=0.2, margin=0.1),
    World(400, discordance=0.2, group_size=4, correlation=0.5),
    World(400, discordance=0.1, group_size=4, correlation=0.5, margin=0.1),
    World(100, discordance=0.2, group_size=5, correlation=0.5, margin=0.1),
    World(200, graded=True),
    World(400, graded=True, group_size=4, correlation=0.5, margin=0.1),
]
DIFFERENCES = {"better": 0.5, "as good": 0.0, "half as bad": -0.5, "worse by the margin": -1.0, "twice as bad": -2.0}
SLICES = [(slices, size, loss) for slices in (5, 20) for size in (20, 40, 80) for loss in (0.0, 0.15, 0.3, 0.45)]
SLICES_OF_WHOLE = 5
WHOLE = [(world, suites) for world in (SUITES[2], SUITES[4], World(400, margin=0.1)) for suites in (1, 3, 5)]
DISCORDANCE_IN_SLICES = 0.2  # a slice that has lost more differs on as many samples as it has lost


@dataclass(frozen=True)
class Row:
    """One truth about a candidate, and what the gate found: shares of the releases."""

    world: World
    truth: str
    passed: float
    unclear: float
    failed: float
    ignored: float | None


@dataclass(frozen=True)
class SliceRow:
    """So many slices of a size, one of which has lost something: shares of the releases."""

    slices: int
    size: int
    loss: float
    failed: float
    wrongly: float
    uncorrected: float
    each_shown: float


@dataclass(frozen=True)
class WholeRow:
    """A candidate over so many suites: shares of the releases. `worse` is the share that passes in spite of it."""

    world: World
    suites: int
    passed: float
    unclear: float
    failed: float
    worse: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a tenth of the releases")
    options = parser.parse_args()
    count = 200 if options.quick else 2_000
    started = time.monotonic()
    console = Console()
    rows = list(non_inferiority(count))
    for suite in SUITES:
        of_suite = [cells(row) for row in rows if replace(row.world, difference=0.0) == suite]
        console.print(table(described(suite), HEADS, of_suite), soft_wrap=True)
    slice_rows = [in_slices(*each, count=count // 4) for each in SLICES]
    heads = ["slices", "size", "loss in one", "failed", "wrongly", "uncorrected", "each shown"]
    console.print(table("Slices, margin 0.150", heads, [slice_cells(row) for row in slice_rows]), soft_wrap=True)
    whole_rows = [over_suites(world, suites, count // 4) for world, suites in WHOLE]
    heads = ["each suite", "suites", "as good: passed", "unclear", "failed", "worse on one: passed"]
    console.print(table("Whole releases", heads, [whole_cells(row) for row in whole_rows]), soft_wrap=True)
    found = {gain: gains(World(200, difference=gain, discordance=0.3), count // 4) for gain in (0.0, 0.05, 0.1, 0.15)}
    heads = ["true gain", "found"]
    cells_of_gain = [(f"{gain:.2f}", percent(share)) for gain, share in found.items()]
    console.print(table("Gain, 200 samples", heads, cells_of_gain), soft_wrap=True)
    ran_on = f"{machine(1)}; {count} releases a row, {time.monotonic() - started:.0f} s"
    console.print(ran_on, highlight=False, soft_wrap=True)
    short = list(shortfalls(rows, slice_rows, whole_rows, found[0.0], count))
    for line in short:
        console.print(f"short  {line}", highlight=False, soft_wrap=True)
    if options.json:
        content = {
            "machine": ran_on,
            "non_inferiority": [asdict(row) for row in rows],
            "slices": [asdict(row) for row in slice_rows],
            "whole": [asdict(row) for row in whole_rows],
            "gain": found,
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return int(options.check and bool(short))


def non_inferiority(count: int) -> Iterator[Row]:
    for suite in SUITES:
        for truth, margins in DIFFERENCES.items():
            world = replace(suite, difference=margins * suite.margin)
            if not world.graded and abs(world.difference) > world.discordance:
                continue
            found = shares(world, count)
            ignored = shares(world, count, groups=False)["met"] if world.group_size > 1 else None
            yield Row(world, truth, found["met"], found["unclear"], found["missed"], ignored)


def in_slices(slices: int, size: int, loss: float, *, count: int) -> SliceRow:
    world = World(size, discordance=DISCORDANCE_IN_SLICES)
    found = sliced(world, slices, lost=1, loss=loss, count=count)
    margin = world.thresholds.slice_margin
    level = 1 - world.confidence

    def share(of: list[bool]) -> float:
        return sum(of) / count

    return SliceRow(
        slices,
        size,
        loss,
        failed=share([any(each.status == "missed" for each in release) for release in found]),
        wrongly=share([any(each.status == "missed" for each in release[bool(loss) :]) for release in found]),
        uncorrected=share(
            [any(each.p <= level and each.change.mean < -margin for each in release) for release in found]
        ),
        each_shown=share([all(each.change.low > -margin for each in release) for release in found]),
    )


def over_suites(world: World, suites: int, count: int) -> WholeRow:
    found = whole(world, suites, SLICES_OF_WHOLE, count=count)
    worse = whole(world, suites, SLICES_OF_WHOLE, worse_on=1, count=count, seed=1)
    shares_of = (found.count(status) / count for status in ("passed", "not enough evidence", "failed"))
    return WholeRow(world, suites, *shares_of, worse=worse.count("passed") / count)


HEADS = ["the candidate is", "passed", "power", "unclear", "failed", "ignored"]


def described(suite: World) -> str:
    differ = "graded scores" if suite.graded else f"{suite.discordance:.0%} differ"
    grouped = f", groups of {suite.group_size}" if suite.group_size > 1 else ""
    return f"{suite.samples} samples{grouped}, {differ}, margin {suite.margin:.2f}"


def cells(row: Row) -> tuple[str, ...]:
    return (
        row.truth,
        percent(row.passed),
        percent(row.world.power),
        percent(row.unclear),
        percent(row.failed),
        "" if row.ignored is None else percent(row.ignored),
    )


def slice_cells(row: SliceRow) -> tuple[str, ...]:
    shown = (row.failed, row.wrongly, row.uncorrected, row.each_shown)
    return (str(row.slices), str(row.size), f"{row.loss:.2f}", *map(percent, shown))


def whole_cells(row: WholeRow) -> tuple[str, ...]:
    shown = (row.passed, row.unclear, row.failed, row.worse)
    return (described(row.world), str(row.suites), *map(percent, shown))


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def shortfalls(
    rows: list[Row], slice_rows: list[SliceRow], whole_rows: list[WholeRow], no_gain: float, count: int
) -> Iterator[str]:
    """What falls short of its bar."""

    def room(share: float, draws: int) -> float:
        return 3.0 * (share * (1 - share) / draws) ** 0.5

    for row in rows:
        named, level = f"{described(row.world)}, {row.truth}", 1 - row.world.confidence
        if row.truth in {"worse by the margin", "twice as bad"} and row.passed > 1.5 * level + room(level, count):
            yield f"{named}: {percent(row.passed)} pass"
        if row.truth == "as good" and row.failed > 0.005 + room(0.005, count):
            yield f"{named}: {percent(row.failed)} fail"
        if row.world.group_size == 1 and abs(row.passed - row.world.power) > 0.07 + room(0.5, count):
            yield f"{named}: {percent(row.passed)} pass, and power says {percent(row.world.power)}"
    for each in slice_rows:
        if each.wrongly > 0.05 + room(0.05, count // 4):
            yield f"{each.slices} slices of {each.size}: {percent(each.wrongly)} wrongly lost"
    for whole_row in whole_rows:
        named, level = f"{whole_row.suites} suites of {described(whole_row.world)}", 1 - whole_row.world.confidence
        if whole_row.worse > 1.5 * level + room(level, count // 4):
            yield f"{named}: {percent(whole_row.worse)} pass that are worse on one"
        if whole_row.failed > min(1.0, whole_row.suites * level):
            yield f"{named}: {percent(whole_row.failed)} fail that are as good"
    if no_gain > 1.5 * 0.025 + room(0.025, count // 4):
        yield f"a gain that is not there is found in {percent(no_gain)}"


if __name__ == "__main__":
    sys.exit(main())
