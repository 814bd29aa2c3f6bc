"""What Locum's door costs: the same streamed chats to bare vLLM and to Locum, on a model so small that it shows.

    python benchmarks/overhead.py [--litellm FILE] [--rounds N] [--json FILE] [--check] [--quick]

Locum checks a key, turns the alias `medical` into a version, counts, and adds its header; vLLM is asked for its adapter
by name, without a key. Both run the same engine with the same flags: on CPUs, vLLM has Locum's adapter layers here, so
that what differs is the door alone. 1, 16 and 64 clients stream answers of 16 tokens to prompts of 100 and of 8,000,
which both have in their prefix caches: what is left is HTTP, the tokenizer, and a model of two layers. The servers
stand side by side, one works at a time, in short rounds that take turns; each ratio is to vLLM's figure in the same
round. In the first three rounds a third column is LiteLLM's proxy, with a key, in front of the same vLLM.

Where many streams share few cores, a first token waits for all others, and half a millisecond drowns in that. So the
door is also measured alone: a chat that asks for a negative number of tokens passes it and is then refused by vLLM, so
that no engine is in the way; both servers are asked in turn, 300 times each.

Bars for --check (medians of the rounds): throughput at least 0.98 of vLLM's, the median time to the first token at most
0.5 ms longer, at each of the six; and a refusal at most 0.5 ms later.

LiteLLM wants an environment of its own, since it pins what vLLM pins otherwise:

    python -m venv FOLDER && FOLDER/bin/pip install 'litellm[proxy]'

and then `--litellm FOLDER/bin/litellm`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from peers import ONE_PROCESS, Peer, litellm, locum, stock_vllm
from report import machine, median_and_spread
from rich.console import Console
from rich.progress import track
from streams import Answer, ask, chat, session
from tiny import make_adapter, make_home, prompt_of, register
from transformers import AutoTokenizer

from locum.commands.common import table
from locum.serve.host import plan_for_this_host

KEY = "sk-benchmark"
TOKENS = 16
LITELLM_ROUNDS = 3
REFUSALS = 300
BAR_THROUGHPUT, BAR_FIRST = 0.98, 0.5


@dataclass(frozen=True)
class Work:
    """So many clients, each of which asks again as soon as it was answered, with prompts of so many tokens."""

    streams: int
    prompt: int

    @property
    def requests(self) -> int:
        """In one round."""
        return {1: 32, 16: 96, 64: 192}[self.streams]


@dataclass(frozen=True)
class Round:
    """What one server did in one round: tokens a second, and the median milliseconds to the first token."""

    throughput: float
    first: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litellm", type=Path, help="LiteLLM's executable")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true", help="5 rounds instead of 15")
    options = parser.parse_args()
    rounds = options.rounds or (5 if options.quick else 15)
    works = [Work(streams, prompt) for prompt in (100, 8000) for streams in (1, 16, 64)]
    console = Console()
    plan = replace(plan_for_this_host(), cores=[], cache_bytes=1 << 29, dtype="float32")
    os.environ["OMP_NUM_THREADS"] = "1"  # of each server
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings, base, registry = make_home(folder, api_key=KEY)
        adapter = make_adapter(folder / "adapter", 1)
        made = register(registry, base, "medical", adapter)
        registry.release(made.name, by="benchmark", reason="benchmark", force=True)
        questions = {prompt: question_of(prompt, base.path) for prompt in (100, 8000)}
        with console.status("starting the servers"):
            bare = stock_vllm(
                *(base, plan, {"medical": adapter}, folder / "vllm.log"),
                rank=8,
                vllm_args=ONE_PROCESS,
                with_locums_layers=True,
            )
            peers = {"vllm": stack.enter_context(bare)}
            peers["locum"] = stack.enter_context(locum(settings, base, plan, {}, rank=8, vllm_args=ONE_PROCESS))
            if options.litellm:
                peers["litellm"] = stack.enter_context(litellm(options.litellm, peers["vllm"], "medical", KEY, folder))

        found: defaultdict[tuple[Work, str], list[Round]] = defaultdict(list)
        for work in works:
            for peer in peers.values():
                asyncio.run(run(peer, work, questions[work.prompt]))
        refusals = {prompt: asyncio.run(refused(peers, questions[prompt])) for prompt in questions}
        for turn in range(rounds):
            for number, work in enumerate(track(works, f"round {turn + 1}", console=console, transient=True)):
                order = [name for name in peers if name != "litellm" or turn < LITELLM_ROUNDS]
                order = order if (turn + number) % 2 else order[::-1]
                for name in order:
                    found[work, name].append(asyncio.run(run(peers[name], work, questions[work.prompt])))
    return tell(console, options, works, list(peers), found, refusals, machine(1))


def question_of(tokens: int, base: Path) -> str:
    """A question that is so many tokens with the chat template around it."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    around = len(
        tokenizer.apply_chat_template([{"role": "user", "content": ""}], add_generation_prompt=True)["input_ids"]
    )
    ids = tokenizer(prompt_of(tokens), add_special_tokens=False)["input_ids"][: tokens - around]
    return str(tokenizer.decode(ids))


async def run(peer: Peer, work: Work, question: str) -> Round:
    """One round. Exits where a request fails: figures of answers that were not given say nothing."""
    body = chat("medical", question, TOKENS)
    left = iter(range(work.requests))

    async with session(KEY) as client:

        async def one_client() -> list[Answer]:
            return [await ask(client, peer.url, body) for _ in left]

        started = time.perf_counter()
        by_client = await asyncio.gather(*(one_client() for _ in range(work.streams)))
        seconds = time.perf_counter() - started
    answers = [answer for client_answers in by_client for answer in client_answers]
    for answer in answers:
        if not answer.whole:
            sys.exit(f"{peer.url} answered {answer.status}: {answer.body[-500:]!r}")
    first = statistics.median(answer.to_first for answer in answers)
    return Round(TOKENS * len(answers) / seconds, 1000 * first)


async def refused(peers: dict[str, Peer], question: str) -> dict[str, float]:
    """Median milliseconds until vLLM, and Locum, refuse a chat for its number of tokens."""
    body = chat("medical", question, -1)
    times: dict[str, list[float]] = {"vllm": [], "locum": []}
    async with session(KEY) as client:
        for _ in range(REFUSALS):
            for name, found in times.items():
                answer = await ask(client, peers[name].url, body)
                if answer.status != 400:
                    sys.exit(f"{name} answered {answer.status} instead of 400: {answer.body[-500:]!r}")
                found.append(1000 * answer.seconds)
    return {name: statistics.median(found) for name, found in times.items()}


def tell(
    console: Console,
    options: argparse.Namespace,
    works: list[Work],
    names: list[str],
    found: dict[tuple[Work, str], list[Round]],
    refusals: dict[int, dict[str, float]],
    ran_on: str,
) -> int:
    """Print the tables, write the JSON, and decide."""

    def ratios(work: Work, name: str) -> list[float]:
        pairs = zip(found[work, name], found[work, "vllm"], strict=False)  # LiteLLM has fewer
        return [one.throughput / other.throughput for one, other in pairs]

    def added(work: Work, name: str) -> list[float]:
        return [one.first - other.first for one, other in zip(found[work, name], found[work, "vllm"], strict=False)]

    doors = names[1:]
    for title, quantity, against, head in (
        ("Tokens a second", "throughput", ratios, "ratio of"),
        ("Median ms to the first token", "first", added, "added by"),
    ):
        rows = [
            (
                *(work.prompt, work.streams),
                *(f"{statistics.median(getattr(each, quantity) for each in found[work, name]):.1f}" for name in names),
                *(median_and_spread(against(work, name)) for name in doors),
            )
            for work in works
        ]
        heads = ["prompt", "streams", *names, *(f"{head} {name}" for name in doors)]
        console.print(table(f"{title}: median [spread]", heads, rows), soft_wrap=True)
    rows = [
        (prompt, f"{found['vllm']:.2f}", f"{found['locum']:.2f}", f"{found['locum'] - found['vllm']:.2f}")
        for prompt, found in refusals.items()
    ]
    heads = ["prompt", "vllm", "locum", "added by locum"]
    console.print(table("Median ms until a chat is refused: the door alone", heads, rows), soft_wrap=True)
    console.print(ran_on, highlight=False, soft_wrap=True)

    short = []
    for prompt, taken in refusals.items():
        if (later := taken["locum"] - taken["vllm"]) > BAR_FIRST:
            short.append(f"a refused prompt of {prompt}: {later:.2f} ms later, at most {BAR_FIRST}")
    for work in works:
        ratio, milliseconds = statistics.median(ratios(work, "locum")), statistics.median(added(work, "locum"))
        if ratio < BAR_THROUGHPUT:
            short.append(f"{work}: {ratio:.3f} of vLLM's throughput, to reach {BAR_THROUGHPUT}")
        if milliseconds > BAR_FIRST:
            short.append(f"{work}: {milliseconds:.2f} ms more to the first token, at most {BAR_FIRST}")
    for line in short:
        console.print(f"short  {line}", highlight=False, soft_wrap=True)
    if options.json:
        result = {
            "machine": ran_on,
            "refusals": refusals,
            "rounds": {
                f"{name} {work.streams} {work.prompt}": [[each.throughput, each.first] for each in rounds]
                for (work, name), rounds in found.items()
            },
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return int(options.check and bool(short))


if __name__ == "__main__":
    sys.exit(main())
