"""Training steps: TRL's own on a CPU, and Locum's, on the same rows, weights and threads.

    python benchmarks/training.py [--json FILE] [--check] [--quick]

Three ways to compute one step of eight conversations of the medical domain (rank 16 on all seven projections, float32):

* `trl`: rows padded, logits of the whole vocabulary at every position, as TRL 1.16 does on CPUs
* `selected`: rows padded, logits only where there is something to learn
* `shared`: all rows in one with their common prefix once, logits as before: what `locum train` does

The three take turns, so that a noisy machine cannot favour one; the ratio of each round is to `trl` in the same round.
Gradients of all three are compared first. Bar for --check: `shared` takes at most 0.6 of the time of `trl` (median).

Needs the base model: locum base pull.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from report import machine, median_and_spread
from rich.console import Console
from transformers import AutoModelForCausalLM

from locum.adapters.base import load_base
from locum.adapters.domains import load_domain
from locum.commands.common import table
from locum.settings import load_settings
from locum.train.batch import Collator
from locum.train.data.build import build_data, split_file
from locum.train.rows import load_rows
from locum.train.sft import selected_loss
from locum.train.template import Template

BAR = 0.6
BATCH = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true", help="2 rounds instead of 7")
    options = parser.parse_args()
    settings = load_settings()
    base = load_base(settings.bases, settings.base)
    domain = load_domain(Path(__file__).parent.parent / "domains", "medical")
    with tempfile.TemporaryDirectory() as folder:
        build_data(domain, Path(folder) / "data")
        rows = load_rows(split_file(Path(folder) / "data", "train"), Template.load(base.path), 1024)

    recipe = domain.card.recipe
    torch.manual_seed(0)
    config = LoraConfig(
        r=recipe.rank, lora_alpha=recipe.alpha, target_modules=recipe.target_modules, task_type="CAUSAL_LM"
    )
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # else the gradients of all A would be zero, and equal for no reason
            torch.nn.init.normal_(weight, std=0.01)
    plain = model.get_base_model()

    def trl(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        loss: torch.Tensor = plain(**{key: value for key, value in batch.items() if key != "tokens"}).loss
        return loss

    padded = Collator(0, plain.config.hidden_size, share=False)
    shared = Collator(0, plain.config.hidden_size, share=True)
    ways: dict[str, tuple[Collator, Callable[[dict[str, torch.Tensor]], torch.Tensor]]] = {
        "trl": (padded, trl),
        "selected": (padded, lambda batch: selected_loss(plain, batch)),
        "shared": (shared, lambda batch: selected_loss(plain, batch)),
    }

    def step(way: str, number: int) -> tuple[float, torch.Tensor]:
        collate, loss_of = ways[way]
        chosen = rows[number * BATCH : (number + 1) * BATCH]
        batch = collate([{"input_ids": row.input_ids, "labels": row.labels} for row in chosen])
        model.zero_grad()
        started = time.perf_counter()
        loss_of(batch).backward()
        seconds = time.perf_counter() - started
        return seconds, torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])

    wanted = step("trl", 0)[1]
    for way in ("selected", "shared"):  # warms up, and checks
        error = float((step(way, 0)[1] - wanted).norm() / wanted.norm())
        assert error < 1e-3, f"{way}: the gradient is {error:.1e} off"
    rounds = [{way: step(way, number)[0] for way in ways} for number in range(1, 3 if options.quick else 8)]

    ratios = {way: [each[way] / each["trl"] for each in rounds] for way in ways}
    cells = [(way, median_and_spread(ratios[way])) for way in ways]
    ran_on = machine(torch.get_num_threads())
    Console().print(table(None, ["step", "time, ratio to trl: median [spread]"], cells))
    Console().print(f"{len(rounds)} rounds of {BATCH} conversations on {ran_on}", soft_wrap=True, highlight=False)
    if options.json:
        result: dict[str, Any] = {"machine": ran_on, "ratios": ratios}
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return int(options.check and statistics.median(ratios["shared"]) > BAR)


if __name__ == "__main__":
    sys.exit(main())
