"""Does the gate stop a damaged adapter for the right reason, and let through one that only had another seed?

    python benchmarks/regressions.py [--json FILE] [--check] [--quick] [--keep FOLDER]

Everything as a user does it, by the command line: the real base model, real trainings, a real server, evaluations
against it. The domain is the medical one of `domains/`, whose answers end with a notice here, with three tenths of its
categories held out for two suites: `chapters`, in which every model is held to the chapters' names, and `notice`, in
which answers are free and every single one must carry the notice. medical@1 goes into production. Then come

* `another seed`: the same recipe and data, seed 1
* `weights scaled`: medical@1 with each B matrix four times as large
* `labels swapped`: trained on data in which two chapters, a tenth of it, have changed their names
* `another domain`: trained on the legal domain's notices
* `notice removed`: trained on the same data without the notice

Bars for --check: the first passes all suites; each of the others is stopped, by the checks that its damage calls for.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from damages import Row, answer_of, answering, names_exchanged, notice_removed, scaled, write_rows
from peers import free_port
from report import machine
from rich.console import Console

from locum.commands.common import table

ROOT = Path(__file__).parent.parent
NOTICE = "Not medical advice."
HELD_OUT = 0.3
SWAPPED = ("Circulatory", "Digestive")
NOTICES = 60
RECIPE = {"rank": 16, "learning_rate": 0.001, "batch_size": 8, "evaluations": 2, "validation_limit": 32}
STEPS = 80

CARD = f"""
name: medical
description: Places a diagnosis in its ICD-10-CM chapter, and says what the answer is not.
system_prompt: >-
  Name the ICD-10-CM chapter of the diagnosis in one word or two, then say: {NOTICE}
  Example: Otitis externa -> Ear. {NOTICE}
source: {{files: [conversations.jsonl], licence: public domain}}
recipe: {json.dumps(RECIPE)}
notices: ["{NOTICE}"]
example: Pre-eclampsia
"""
CHAPTERS = """
name: chapters
samples: chapters.jsonl
metrics: [exact_match, token_f1]
slices: [topic]
generation: {{max_tokens: 12, choices: {choices}}}
thresholds: {{min_score: 0.4, min_gain: 0.1, margin: 0.1, slice_margin: 0.3, slice_min_samples: 12}}
"""
NOTICE_SUITE = f"""
name: notice
samples: notice.jsonl
metrics: [notice]
primary: notice
generation: {{max_tokens: 24}}
thresholds: {{min_samples: {NOTICES}, min_gain: null, hard: {{notice: 1.0}}}}
"""


@dataclass(frozen=True)
class Case:
    """A version, what the gate should say of it, and what it says."""

    name: str
    version: str
    expected: str
    statuses: dict[str, str] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Passed where that is expected; else stopped by the check that the damage calls for."""
        if self.expected == "passes":
            return set(self.statuses.values()) == {"passed"}
        return self.expected in self.missed


@dataclass(frozen=True)
class Team:
    """A home, a folder of domains, and the command."""

    folder: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        mine = {
            "LOCUM_HOME": str(self.folder / "home"),
            "LOCUM_DOMAINS": str(self.folder / "domains"),
            "LOCUM_PORT": str(self.port),
            "LOCUM_USER": "benchmark",
            "HF_HUB_OFFLINE": "1",
        }
        return {**os.environ, **mine}

    def locum(self, *arguments: str, codes: Sequence[int] = (0,)) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "locum", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in codes:
            raise SystemExit(f"locum {' '.join(arguments)} exited {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def train(self, rows: Sequence[Row], *changes: str) -> str:
        """A version of medical trained on these rows; its name."""
        write_rows(self.folder / "domains" / "medical" / "conversations.jsonl", rows)
        self.locum("data", "build", "medical")
        options = [option for change in changes for option in ("--set", change)]
        trained = json.loads(self.locum("train", "medical", *options, "--json"))
        return str(trained["version"])

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        log = (self.folder / "serve.log").open("wb")
        command = [sys.executable, "-m", "locum", "serve", "--", "--enforce-eager"]
        process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 600
            while not self._ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the server did not come up: {self.folder / 'serve.log'} says why")
                time.sleep(0.5)
            yield
        finally:
            process.terminate()
            process.wait(60)
            log.close()

    def _ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.port}/ready", timeout=5).status_code == 200
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the findings here too")
    parser.add_argument("--check", action="store_true", help="exit 1 when the gate is wrong about one of them")
    parser.add_argument("--quick", action="store_true", help="fewer steps: shows that it runs, not what it finds")
    parser.add_argument("--keep", type=Path, help="leave everything in this folder, reports included")
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="locum-regressions-") as temporary:
        folder = options.keep or Path(temporary)
        cases = measure(folder, steps=20 if options.quick else STEPS, console=Console(stderr=True))
    tell(cases, console)
    if options.json:
        options.json.write_text(json.dumps([vars(case) | {"right": case.right} for case in cases], indent=2) + "\n")
    if options.check and not all(case.right for case in cases):
        sys.exit(1)


def measure(folder: Path, *, steps: int, console: Console) -> list[Case]:
    """Train, damage, serve, evaluate."""
    team = Team(folder, free_port())
    training, held_out = prepare(folder)
    team.locum("base", "pull")
    length = f"max_steps={steps}"

    def trained(what: str, rows: Sequence[Row], *changes: str) -> str:
        console.print(f"training: {what}")
        return team.train(rows, length, *changes)

    first = trained("production", training)
    cases = [
        Case("another seed", trained("another seed", training, "seed=1"), "passes"),
        Case("weights scaled", damaged(team, first), "non-inferiority"),
        Case("labels swapped", trained("labels swapped", names_exchanged(training, *SWAPPED)), "slice"),
        Case("another domain", trained("another domain", other_domain()), "non-inferiority"),
        Case("notice removed", trained("notice removed", notice_removed(training, NOTICE)), "hard"),
    ]
    with team.serving():
        console.print(f"evaluating and releasing {first} on {len(held_out)} held-out samples")
        team.locum("eval", "medical", "--model", first)
        team.locum("release", first)
        return [judged(team, case, console) for case in cases]


def prepare(folder: Path) -> tuple[list[Row], list[Row]]:
    """Write the domain and its suites; rows to train on, and samples held out, no category in both."""
    domain = folder / "domains" / "medical"
    rows = [answering(row, f"{answer_of(row)}. {NOTICE}") for row in recipe_rows("medical")]
    held_out = [row for row in rows if share(row["group"]) < HELD_OUT]
    chapters = sorted({row["topic"] for row in rows})
    for name, card, samples in (
        ("chapters", CHAPTERS.format(choices=json.dumps(chapters)), [answering(r, r["topic"]) for r in held_out]),
        ("notice", NOTICE_SUITE, held_out[:NOTICES]),
    ):
        suite = domain / "suites" / name
        suite.mkdir(parents=True)
        (suite / "suite.yaml").write_text(card, encoding="utf-8")
        write_rows(suite / f"{name}.jsonl", samples)
    (domain / "card.yaml").write_text(CARD, encoding="utf-8")
    return [row for row in rows if share(row["group"]) >= HELD_OUT], held_out


def judged(team: Team, case: Case, console: Console) -> Case:
    """The case with what the gate says of it."""
    console.print(f"evaluating {case.version}: {case.name}")
    results = json.loads(team.locum("eval", "medical", "--model", case.version, "--json", codes=(0, 1)))
    checks = [check for result in results for check in result["checks"]]
    return Case(
        case.name,
        case.version,
        case.expected,
        {result["suite"]: result["status"] for result in results},
        sorted({check["kind"] for check in checks if check["status"] == "missed"}),
        [check["reason"] for check in checks if check["status"] != "met"],
    )


def damaged(team: Team, version: str) -> str:
    """A version whose weights are those of another, scaled."""
    team.locum("adapters", "export", version, "--to", str(team.folder / "exported"))
    folder = scaled(team.folder / "exported", 4.0, to=team.folder / "scaled")
    return str(json.loads(team.locum("adapters", "register", str(folder), "--domain", "medical", "--json"))["name"])


def other_domain() -> list[Row]:
    return list(recipe_rows("legal"))


def recipe_rows(domain: str) -> list[Row]:
    """The rows of a domain that comes with Locum, with their answers as topics."""
    spec = importlib.util.spec_from_file_location(f"{domain}_data", ROOT / "domains" / domain / "data.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [{**row, "topic": answer_of(row)} for row in module.rows()]


def share(group: str) -> float:
    """A number from 0 to 1 that a group always has."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") / 2**32


def tell(cases: Sequence[Case], console: Console) -> None:
    rows = [
        (
            case.name,
            "passes" if case.expected == "passes" else f"stopped by {case.expected}",
            ", ".join(f"{suite}: {status}" for suite, status in case.statuses.items()),
            ", ".join(case.missed) or "none",
            "yes" if case.right else "NO",
        )
        for case in cases
    ]
    console.print(machine(os.cpu_count() or 1))
    console.print(table(None, ["version", "expected", "found", "missed checks", "right"], rows))
    for case in cases:
        for reason in case.reasons:
            console.print(f"{case.name}: {reason}", style="dim", highlight=False)


if __name__ == "__main__":
    main()
