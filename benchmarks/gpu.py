"""Many adapters on one GPU: Locum and stock vLLM, same model, adapters and prompts, side by side on the same card.

    python benchmarks/gpu.py [--rounds N] [--json FILE] [--check] [--quick]

A Llama of 8 billion random weights in bfloat16 with 32 adapters of rank 16 on all seven projections, eight of which fit
on the device at once. Measured in tokens a second: `decode`, the 128 tokens that concurrent requests generate after a
prompt of 32; and `prefill`, prompts of 2,048 tokens with one token generated. Four mixes: the base model alone, one
adapter, eight, and 32, which take turns in the eight slots. Nothing is cached between requests. The two servers take
turns request batch by request batch.

Then releases while three clients stream: back and forth between two versions that are loaded, and of a version that
was registered a moment before, with probes, which the server must still load and check. See `hotswap.py`, whose clients
these are.

With --quick the model has 1 billion weights, and there is one round.

Bars for --check (medians of the rounds): no mix slower than 0.95 of stock vLLM's, whose adapter kernels are Locum's on
GPUs; the p99 of both kinds of releases under 1 s; every adapter answers its probes as PEFT does in float32, within the
tolerance that the server itself holds to; no stream fails or is answered by two versions.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from hotswap import Swap, Watch, release
from peers import Peer, locum, stock_vllm
from report import machine, median_and_spread, percentile
from rich.console import Console
from rich.progress import track
from tiny import make_home, prompt_of, register, write_adapter

from locum.adapters.base import Base, pull
from locum.adapters.conversations import Message
from locum.adapters.manifest import Probe
from locum.adapters.probes import ask_endpoint, compare_probe_logprobs, make_probes, tolerance_for
from locum.adapters.registry import Registry
from locum.commands.common import table
from locum.serve.host import plan_for_this_host
from locum.settings import Settings

RANK, ADAPTERS = 16, 32
DECODE, PREFILL = 128, 2048
DOMAIN = "medical"
RELEASES = 20
PROBED = 2  # so many adapters have known answers
BAR_STOCK, BAR_SWAP = 0.95, 1.0
# Each server's share of the card.
ARGUMENTS = ("--gpu-memory-utilization", "0.42", "--no-enable-prefix-caching", "--max-model-len", "4096")


@dataclass(frozen=True)
class Shape:
    """The size of a Llama."""

    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int = 8
    vocabulary: int = 128_256

    @property
    def head(self) -> int:
        return self.hidden // self.heads

    def projections(self) -> dict[str, tuple[int, int]]:
        """Width in and out of each projection."""
        keys = self.kv_heads * self.head
        return {
            "self_attn.q_proj": (self.hidden, self.hidden),
            "self_attn.k_proj": (self.hidden, keys),
            "self_attn.v_proj": (self.hidden, keys),
            "self_attn.o_proj": (self.hidden, self.hidden),
            "mlp.gate_proj": (self.hidden, self.inner),
            "mlp.up_proj": (self.hidden, self.inner),
            "mlp.down_proj": (self.inner, self.hidden),
        }


LARGE = Shape(4096, 14336, 32, 32)
SMALL = Shape(2048, 8192, 16, 32)


@dataclass(frozen=True)
class Work:
    """What is measured: `concurrent` requests at once, each prompt answered by the next adapter of the mix."""

    kind: str
    adapters: int
    concurrent: int

    @property
    def tokens(self) -> int:
        """How many tokens one request generates."""
        return DECODE if self.kind == "decode" else 1

    def adapter_of(self, request: int) -> str | None:
        return f"a{request % self.adapters}" if self.adapters else None

    def __str__(self) -> str:
        mix = f"{self.adapters} adapter{'s'[: self.adapters != 1]}" if self.adapters else "base"
        return f"{self.kind}, {mix}, {self.concurrent}"


WORKS = [
    *(Work("decode", adapters, 1) for adapters in (0, 1)),
    *(Work("decode", adapters, 8) for adapters in (0, 1, 8)),
    *(Work("decode", adapters, 64) for adapters in (0, 1, 8, 32)),
    Work("prefill", 0, 1),
    Work("prefill", 1, 1),
    *(Work("prefill", adapters, 8) for adapters in (0, 1, 8)),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true", help="1 billion weights and 1 round, instead of 8 and 3")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("this benchmark needs an NVIDIA GPU and `make setup PLATFORM=gpu`")
    shape = SMALL if options.quick else LARGE
    rounds = options.rounds or (1 if options.quick else 3)
    console = Console()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with console.status("making the model"):
            settings, base = make_base(folder, shape)
        adapters = {f"a{seed}": make_adapter(folder / f"a{seed}", seed, shape) for seed in range(ADAPTERS)}
        prompt = [[Message(role="user", content=prompt_of(20))]]
        probes = {
            name: make_probes(base.path, path, prompt)
            for name, path in track(list(adapters.items())[:PROBED], "known answers", console=console, transient=True)
        }
        torch.cuda.empty_cache()  # the servers need the room
        registry = Registry.open(settings)
        for name, path in adapters.items():
            register(registry, base, DOMAIN, path, probes.get(name, []))
        versions = {name: f"{DOMAIN}@{number}" for number, name in enumerate(adapters, 1)}
        for version in (f"{DOMAIN}@2", f"{DOMAIN}@1"):
            registry.release(version, by="benchmark", reason="benchmark", force=True)
        plan = plan_for_this_host()
        started = time.perf_counter()
        with console.status("starting Locum"):
            mine = stack.enter_context(locum(settings, base, plan, versions, rank=RANK, vllm_args=ARGUMENTS))
        ready = time.perf_counter() - started
        with console.status("starting stock vLLM"):
            log = folder / "vllm.log"
            stock = stack.enter_context(stock_vllm(base, plan, adapters, log, rank=RANK, vllm_args=ARGUMENTS))
        peers = {"locum": mine, "vllm": stock}
        console.print(f"{torch.cuda.get_device_name()}: Locum was ready after {ready:.0f} s.", highlight=False)

        far = {name: distance(mine, versions[name], known, base) for name, known in probes.items()}
        speeds = measure(console, peers, rounds)
        swaps, watch = swap(console, settings, base, mine, adapters, probes)
    return tell(console, options, speeds, far, swaps, watch)


def make_base(folder: Path, shape: Shape) -> tuple[Settings, Base]:
    """A random Llama of this size with the tiny one's tokenizer, in a home of its own."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    settings, tiny, _ = make_home(folder)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=8192,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=0,
    )
    large = folder / "large"
    torch.manual_seed(0)
    with torch.device("cuda"):
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(large)
    torch.cuda.empty_cache()
    AutoTokenizer.from_pretrained(tiny.path).save_pretrained(large)
    base = pull(str(large), settings.bases)
    return settings.model_copy(update={"base": base.name}), base


def make_adapter(folder: Path, seed: int, shape: Shape) -> Path:
    """A PEFT adapter with random weights that changes every layer's output by about a tenth."""
    generator = torch.Generator(device="cuda").manual_seed(seed)

    def random(rows: int, columns: int, scale: float) -> torch.Tensor:
        values = torch.randn(rows, columns, generator=generator, device="cuda") * scale
        return values.to(torch.bfloat16).cpu()

    tensors = {}
    for layer in range(shape.layers):
        for projection, (width_in, width_out) in shape.projections().items():
            name = f"base_model.model.model.layers.{layer}.{projection}"
            tensors[f"{name}.lora_A.weight"] = random(RANK, width_in, width_in**-0.5)
            tensors[f"{name}.lora_B.weight"] = random(width_out, RANK, 0.02)
    return write_adapter(folder, tensors, RANK, shape.projections())


def distance(peer: Peer, version: str, probes: list[Probe], base: Base) -> tuple[float, float]:
    """How far the server's log-probabilities lie from the known answers, and from the base model's; nats a token."""
    said = [ask_endpoint(f"{peer.url}/v1", version, probe).logprobs for probe in probes]
    report = compare_probe_logprobs(probes, said, tolerance=tolerance_for(base.dtype))
    return report.worst, report.from_base


Speeds = dict[tuple[Work, str], list[float]]


def measure(console: Console, peers: dict[str, Peer], rounds: int) -> Speeds:
    """Tokens a second of each work by each server, after a round that is not counted."""
    generator = torch.Generator().manual_seed(0)
    lengths = {"decode": 32, "prefill": PREFILL}
    speeds: Speeds = defaultdict(list)
    for turn in range(rounds + 1):
        for number, work in enumerate(track(WORKS, f"round {turn} of {rounds}", console=console, transient=True)):
            prompts = torch.randint(3, 500, (work.concurrent, lengths[work.kind]), generator=generator).tolist()
            order = list(peers)[:: -1 if (turn + number) % 2 else 1]
            for name in order:
                speed = run(peers[name], work, prompts)
                if turn:
                    speeds[work, name].append(speed)
            if turn:
                said = ", ".join(f"{name} {speeds[work, name][-1]:.0f}" for name in peers)
                console.print(f"round {turn}: {work}: {said}", highlight=False)
    return speeds


def run(peer: Peer, work: Work, prompts: list[list[int]]) -> float:
    """Tokens a second."""
    with ThreadPoolExecutor(work.concurrent) as pool:
        started = time.perf_counter()
        asked = [
            pool.submit(peer.generate, prompt, work.adapter_of(number), work.tokens)
            for number, prompt in enumerate(prompts)
        ]
        answers = [each.result() for each in asked]
        seconds = time.perf_counter() - started
    counted = sum(map(len, answers)) if work.kind == "decode" else PREFILL * len(answers)
    return counted / seconds


def swap(
    console: Console,
    settings: Settings,
    base: Base,
    peer: Peer,
    adapters: dict[str, Path],
    probes: dict[str, list[Probe]],
) -> tuple[list[Swap], Watch]:
    """Releases of loaded versions and of new ones, while clients stream."""

    async def everything() -> tuple[list[Swap], Watch]:
        async with Watch([peer]) as watch:
            await asyncio.sleep(2)
            swaps = []
            for number in track(range(2 * RELEASES), "releases", console=console, transient=True):
                await asyncio.sleep(0.5)
                name = f"a{number % PROBED}"
                new = (adapters[name], probes[name]) if number >= RELEASES else None
                version = None if new else f"{DOMAIN}@{2 - number % 2}"
                found = await asyncio.to_thread(release, settings, base, version, new)
                await watch.reached(found)
                swaps.append(found)
            await asyncio.sleep(1)
        return swaps, watch

    return asyncio.run(everything())


def tell(
    console: Console,
    options: argparse.Namespace,
    speeds: Speeds,
    far: dict[str, tuple[float, float]],
    swaps: list[Swap],
    watch: Watch,
) -> int:
    """Print the tables, write the JSON, and decide."""

    def ratios(work: Work, other: Work, name: str) -> list[float]:
        return [mine / theirs for mine, theirs in zip(speeds[work, "locum"], speeds[other, name], strict=True)]

    rows, bars = [], []
    for work in WORKS:
        own, stock = ratios(work, Work(work.kind, 0, work.concurrent), "locum"), ratios(work, work, "vllm")
        medians = [f"{statistics.median(speeds[work, name]):,.0f}" for name in ("locum", "vllm")]
        rows.append((str(work), *medians, median_and_spread(own) if work.adapters else "", median_and_spread(stock)))
        bars.append((f"{work}, to stock vLLM", statistics.median(stock), BAR_STOCK))
    heads = ["work, requests at once", "locum", "vllm", "to own base", "to vllm"]
    console.print(table("Tokens a second, and ratios of Locum: median [spread]", heads, rows), soft_wrap=True)

    rows = []
    for kind in ("known", "new"):
        seconds = [swap.seconds for swap in swaps if swap.kind == kind]
        rows.append((kind, len(seconds), *(f"{1000 * percentile(seconds, share):.0f}" for share in (50, 99))))
        bars.append(
            (f"release of a {kind} version, p99: so many seconds less than", -percentile(seconds, 99), -BAR_SWAP)
        )
    heads = ["release of a version that is", "times", "p50", "p99"]
    console.print(table("From the call of `release` to the first token, ms", heads, rows), soft_wrap=True)

    bad = [each for each in watch.answers if not each.whole or len({chunk["model"] for chunk in each.chunks}) > 1]
    worst, nearest = max(near for near, _ in far.values()), min(base for _, base in far.values())
    allowed = tolerance_for("bfloat16")
    console.print(
        f"{len(watch.answers)} streams, {len(bad)} of them failed or mixed. Probes: at most {worst:.3f} nats a token "
        f"from PEFT in float32 (allowed {allowed}), at least {nearest:.2f} from the base model.",
        soft_wrap=True,
    )
    ran_on = f"{torch.cuda.get_device_name()}, {machine(torch.get_num_threads())}"
    console.print(ran_on, highlight=False, soft_wrap=True)
    short = [f"{name}: {found:.2f}, to reach {bar}" for name, found, bar in bars if found < bar]
    short += [f"{len(bad)} streams failed or mixed"] if bad else []
    short += [f"probes: {worst:.3f} nats a token, at most {allowed}"] if worst > allowed else []
    for line in short:
        console.print(f"short  {line}", highlight=False, soft_wrap=True)
    if options.json:
        content = {
            "machine": ran_on,
            "speeds": {f"{work}, {name}": found for (work, name), found in speeds.items()},
            "releases": {kind: [each.seconds for each in swaps if each.kind == kind] for kind in ("known", "new")},
            "probes": far,
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return int(options.check and bool(short))


if __name__ == "__main__":
    sys.exit(main())
