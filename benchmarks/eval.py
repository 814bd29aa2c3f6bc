"""What an evaluation costs its client: the same samples to the same endpoint, by lm-evaluation-harness and by Locum.

    python benchmarks/eval.py [--rounds N] [--samples N] [--json FILE] [--check] [--quick]

SmolLM2-135M-Instruct (`locum base pull`) answers questions greedily with at most 32 tokens, eight requests at a time.
The harness asks by its `local-chat-completions`, Locum by its runner, with its cache of answers; both score by exact
match. Each evaluation is a process of its own; the two take turns, and each ratio is of two that ran one after the
other. Both send the same messages and must bring the same answers. A first round, which is not counted, fills the
server's prefix cache.

Wall time and CPU time (user and system, with children) are told twice: of the whole process, from Python's start to its
end, and of asking and scoring alone. The harness' process does what its own `simple_evaluate` does, which includes a
look at the environment for its records (it calls pip and imports torch).

With --quick the model has two layers and random weights: so little of the time is the model's that the clients show.

Bars for --check (medians of the rounds), of the whole process: at most 1.0 of the harness' wall time and at most 0.5 of
its CPU time; and all answers the same. Asking alone is told without a bar: Locum streams 16 of the answers to time
their first token, and the harness none.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

CONCURRENCY, TOKENS = 8, 32
SYSTEM = "You answer in one sentence."
ASKERS = ("lm-eval", "locum")
TASK = f"""task: benchmark
dataset_path: json
dataset_kwargs: {{data_files: {{test: samples.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: [], max_gen_toks: {TOKENS}, temperature: 0.0}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of one evaluation: the whole process, and asking with scoring alone."""

    wall: float
    cpu: float
    asking_wall: float
    asking_cpu: float


Costs = dict[str, list[Cost]]
# What is compared: its name, its bar, and where it stands in a `Cost`.
QUANTITIES: tuple[tuple[str, float | None, Callable[[Cost], float]], ...] = (
    ("whole, wall s", 1.0, lambda cost: cost.wall),
    ("whole, CPU s", 0.5, lambda cost: cost.cpu),
    ("asking, wall s", None, lambda cost: cost.asking_wall),
    ("asking, CPU s", None, lambda cost: cost.asking_cpu),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a tiny model and 3 rounds instead of 7")
    parser.add_argument("--ask", nargs=5, metavar=("WHO", "URL", "MODEL", "FOLDER", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        return ask(*options.ask)
    return compare(options)


def compare(options: argparse.Namespace) -> int:
    """Let both evaluate in turn."""
    from report import machine
    from rich.console import Console

    rounds = options.rounds or (3 if options.quick else 7)
    samples = options.samples or 200
    console = Console()
    costs: Costs = defaultdict(list)
    different = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_task(folder / "task", samples)
        with console.status("starting the server") as status, server(folder, tiny=options.quick) as (url, model):
            for turn in range(rounds + 1):
                said = {}
                for who in ASKERS if turn % 2 else ASKERS[::-1]:
                    status.update(f"round {turn} of {rounds}: {who}")
                    cost, said[who] = evaluate(who, url, model, folder)
                    if turn:
                        costs[who].append(cost)
                different += sum(ours != theirs for ours, theirs in zip(said["locum"], said["lm-eval"], strict=True))
    return tell(console, options, costs, samples, different, machine(1))


def write_task(folder: Path, samples: int) -> None:
    """The samples, as a task of the harness; Locum reads the same file."""
    folder.mkdir()
    (folder / "benchmark.yaml").write_text(TASK, encoding="utf-8")
    subjects = ("asthma", "a fracture", "a licence", "a contract", "a bakery", "a bank", "measles", "a court")
    rows = [
        {"question": f"Case {number}: what should one know of {subjects[number % 8]}?", "answer": f"Number {number}."}
        for number in range(samples)
    ]
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@contextlib.contextmanager
def server(folder: Path, *, tiny: bool) -> Iterator[tuple[str, str]]:
    """A Locum server with the base model; its endpoint, and the model's name."""
    from peers import ONE_PROCESS, free_port, locum
    from tiny import make_home

    from locum.adapters.base import load_base
    from locum.serve.host import plan_for_this_host
    from locum.settings import load_settings

    if tiny:
        settings, base, _ = make_home(folder)
    else:
        theirs = load_settings()
        base = load_base(theirs.bases, theirs.base)
        settings = theirs.model_copy(update={"home": folder / "home", "port": free_port(), "registry": ""})
        settings.home.mkdir()
        settings.bases.symlink_to(theirs.bases.absolute())
    plan = replace(plan_for_this_host(), cores=[], cache_bytes=1 << 29, dtype="float32")
    with locum(settings, base, plan, {}, rank=8, vllm_args=ONE_PROCESS) as peer:
        yield f"{peer.url}/v1", base.name


def evaluate(who: str, url: str, model: str, folder: Path) -> tuple[Cost, list[str]]:
    """One evaluation in a process of its own: its cost, and the answers in the samples' order."""
    out = folder / "out.json"
    out.unlink(missing_ok=True)
    log = folder / "out.log"
    command = [sys.executable, __file__, "--ask", who, url, model, str(folder / "task"), str(out)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    started = time.perf_counter()
    with log.open("wb") as output:
        pid = os.posix_spawn(
            *(sys.executable, command, environment),
            file_actions=[(os.POSIX_SPAWN_DUP2, output.fileno(), stream) for stream in (1, 2)],
        )
        _, status, used = os.wait4(pid, 0)
    wall = time.perf_counter() - started
    if status or not out.is_file():
        sys.exit(f"{who} failed; it says:\n" + log.read_text(errors="replace")[-3000:])
    found = json.loads(out.read_text(encoding="utf-8"))
    return Cost(wall, used.ru_utime + used.ru_stime, found["wall"], found["cpu"]), found["answers"]


@dataclass
class Meter:
    """The seconds that one call takes."""

    wall: float = 0.0
    cpu: float = 0.0

    def of(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, metered."""

        def metered(*arguments: Any, **named: Any) -> Any:
            started, used = time.perf_counter(), cpu_seconds()
            try:
                return call(*arguments, **named)
            finally:
                self.wall, self.cpu = time.perf_counter() - started, cpu_seconds() - used

        return metered


def ask(who: str, url: str, model: str, folder: str, out: str) -> int:
    """In the process of its own: evaluate, and write what asking and scoring took and what was answered."""
    meter = Meter()
    with contextlib.chdir(folder):
        answers = (with_lm_eval if who == "lm-eval" else with_locum)(url, model, meter)
    Path(out).write_text(json.dumps({**vars(meter), "answers": answers}), encoding="utf-8")
    return 0


def with_lm_eval(url: str, model: str, meter: Meter) -> list[str]:
    """Its evaluation of the task in the working folder."""
    import lm_eval.evaluator
    from lm_eval.tasks import TaskManager

    # What `simple_evaluate` calls to build the requests, ask and score.
    lm_eval.evaluator.evaluate = meter.of(lm_eval.evaluator.evaluate)
    arguments = {"model": model, "base_url": f"{url}/chat/completions", "num_concurrent": CONCURRENCY}
    found = lm_eval.simple_evaluate(
        model="local-chat-completions",
        model_args=arguments,
        tasks=["benchmark"],
        task_manager=TaskManager(include_path=".", include_defaults=False),
        apply_chat_template=True,
        system_instruction=SYSTEM,
        bootstrap_iters=0,
    )
    logged = sorted(found["samples"]["benchmark"], key=lambda entry: entry["doc_id"])
    return [entry["resps"][0][0] for entry in logged]


def with_locum(url: str, model: str, meter: Meter) -> list[str]:
    """Ours of the same samples."""
    import aiohttp  # noqa: F401  # what the harness has imported of its like by now
    import rich.progress  # noqa: F401

    from locum.adapters.conversations import Message
    from locum.adapters.suites import Generation, SuiteCard
    from locum.evaluate.answers import Answer, Contender
    from locum.evaluate.cache import AnswerCache
    from locum.evaluate.runner import Asking, ask_all
    from locum.evaluate.samples import Sample
    from locum.evaluate.scoring import load_metrics, score_all
    from locum.evaluate.suite import assemble

    system = Message(role="system", content=SYSTEM)
    rows = [json.loads(line) for line in Path("samples.jsonl").read_text(encoding="utf-8").splitlines()]
    samples = [
        Sample(str(number), (system, Message(role="user", content=row["question"])), row["answer"], str(number))
        for number, row in enumerate(rows)
    ]
    card = SuiteCard(name="benchmark", metrics=["exact_match"], generation=Generation(max_tokens=TOKENS))
    suite = assemble("benchmark", card, samples)
    metrics = load_metrics(suite)

    def evaluation() -> list[Answer]:
        with tempfile.TemporaryDirectory() as fresh, contextlib.closing(AnswerCache(Path(fresh) / "cache.db")) as cache:
            contender = Contender(model, "base", "digest")
            asked = ask_all(suite, [contender], Asking(url, "", CONCURRENCY), cache, base_fingerprint="digest")
            return score_all(suite, metrics, asked.answers)

    return [answer.answer or "" for answer in meter.of(evaluation)()]


def cpu_seconds() -> float:
    """User and system time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def tell(console: Any, options: argparse.Namespace, costs: Costs, samples: int, different: int, ran_on: str) -> int:
    """Print the table, write the JSON, and decide."""
    from report import median_and_spread

    from locum.commands.common import table

    rows, short = [], []
    for name, bar, read in QUANTITIES:
        ratios = [read(ours) / read(theirs) for ours, theirs in zip(costs["locum"], costs["lm-eval"], strict=True)]
        medians = [f"{statistics.median(read(cost) for cost in costs[who]):.2f}" for who in ASKERS]
        rows.append((name, *medians, median_and_spread(ratios), "" if bar is None else f"{bar:.1f}"))
        if bar is not None and statistics.median(ratios) > bar:
            short.append(f"{name}: {statistics.median(ratios):.2f} of the harness', at most {bar}")
    heads = ["", *ASKERS, "ratio [spread]", "at most"]
    console.print(table(f"Evaluating {samples} samples, {CONCURRENCY} at a time", heads, rows), soft_wrap=True)
    console.print(ran_on, highlight=False, soft_wrap=True)
    if different:
        short.append(f"{different} answers of all rounds differ")
    for line in short:
        console.print(f"short  {line}", highlight=False, soft_wrap=True)
    if options.json:
        content = {
            "machine": ran_on,
            "samples": samples,
            "different": different,
            "costs": {who: [vars(cost) for cost in each] for who, each in costs.items()},
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return int(options.check and bool(short))


if __name__ == "__main__":
    sys.exit(main())
