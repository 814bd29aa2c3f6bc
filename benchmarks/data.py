"""What a build of very much data costs: a million conversations in bounded memory.

    python benchmarks/data.py [--rows N] [--json FILE] [--check] [--quick]

Conversations of some 60 words about 20 topics, a tenth of them near duplicates and a hundredth word for word, are
read from JSON Lines, cleaned of duplicates, split by topic and written, by `build_data` in a process of its own. Then
half as many: what is said is the peak of memory of both, and rows a second. The peer is the memory that holding all
rows at once would take, measured by reading the same file with `read_conversations` into a list.

Bars for --check: the build's memory is at most half of the peer's, and grows by less than 400 bytes a row.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import machine
from rich.console import Console

from locum.commands.common import table

ROWS, QUICK_ROWS = 1_000_000, 60_000
WORDS = [
    f"{one}{other}" for one in ("ba", "ke", "li", "mo", "nu", "pra", "sto", "ve") for other in "abcdefghijklmnopqrst"
]
CARD = """name: plenty
description: Plenty of rows.
system_prompt: You answer.
source: {files: [rows.jsonl]}
notices: [None.]
example: What?
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} rows instead of {ROWS:,}")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        return measure(*options.measure)
    rows = options.rows or (QUICK_ROWS if options.quick else ROWS)
    console = Console()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (rows // 2, rows):
            domain = Path(folder) / str(count) / "plenty"
            domain.mkdir(parents=True)
            (domain / "card.yaml").write_text(CARD)
            with console.status(f"writing {count:,} rows"):
                write(domain / "rows.jsonl", count)
            for way in ("build", "list"):
                with console.status(f"{way} of {count:,} rows"):
                    command = [sys.executable, __file__, "--measure", way, str(domain)]
                    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                found[f"{way} {count}"] = json.loads(ran.stdout)
    cells = [
        (name, f"{each['peak'] / 2**20:,.0f}", f"{each['rows'] / each['seconds']:,.0f}", each["kept"])
        for name, each in found.items()
    ]
    console.print(table("Peak of memory, and speed", ["rows", "MiB", "rows/s", "rows kept"], cells), soft_wrap=True)
    console.print(machine(1), highlight=False, soft_wrap=True)
    build, held = found[f"build {rows}"], found[f"list {rows}"]
    share = build["peak"] / held["peak"]
    growth = (build["peak"] - found[f"build {rows // 2}"]["peak"]) / (rows - rows // 2)
    console.print(f"{share:.2f} of the memory of a list; {growth:,.0f} bytes more for each row", highlight=False)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(1), "found": found}, indent=2) + "\n")
    return int(options.check and (share > 0.5 or growth > 400))


def write(file: Path, count: int) -> None:
    """Rows of random words; each tenth is nearly one before it, each hundredth is one before it."""
    chance = random.Random(0)
    recent: list[list[str]] = []
    with file.open("w") as out:
        for number in range(count):
            words = chance.choices(WORDS, k=60)
            if recent and number % 10 == 0:
                words = [*chance.choice(recent)]
                words[chance.randrange(60)] = chance.choice(WORDS)
            if recent and number % 100 == 1:
                words = recent[-1]
            recent = [*recent[-500:], words]
            turns = [
                {"role": "user", "content": " ".join(words[:20])},
                {"role": "assistant", "content": " ".join(words[20:])},
            ]
            topic = f"topic {min(int(chance.expovariate(0.2)), 19)}"
            out.write(json.dumps({"conversations": turns, "topic": topic}) + "\n")


def measure(way: str, domain: str) -> int:
    """In a process of its own: do it, and print what it took."""
    from locum.adapters.conversations import read_conversations
    from locum.adapters.domains import load_domain
    from locum.train.data.build import build_data

    folder = Path(domain)
    started = time.perf_counter()
    if way == "build":
        built = build_data(load_domain(folder.parent, folder.name), folder.parent / "out")
        rows, kept = built.rows_read, sum(split.rows for split in built.record.splits.values())
    else:
        rows = kept = len(list(read_conversations(folder / "rows.jsonl")))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sys.stdout.write(json.dumps({"rows": rows, "kept": kept, "seconds": seconds, "peak": peak}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
