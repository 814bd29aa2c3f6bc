"""Whole trainings: Locum's, plain TRL as a careful user runs it, and the recipe that most tutorials show.

    python benchmarks/train.py [--json FILE] [--check] [--quick]

The same model, the same rows of the medical domain, the same batches of eight, learning rate and number of steps, so
that each has learnt from the same number of tokens of real text:

* `locum`: the card's defaults, by `locum.train`'s own `fit`
* `trl`: SFTTrainer in float32, rows padded to the longest of their batch, loss on the answers
* `trl bf16`: the same in bfloat16, on CPUs that compute in it
* `tutorial`: every sample padded to 2,048 tokens, loss on every token of text; a batch in four parts, else it does not
  fit into 24 GiB

Each runs in a process of its own, by turns, so that a noisy machine cannot favour one. Told are tokens of real text a
second of the training steps (padding is no text; a prompt that several rows share counts in each), the process' peak
of memory, and the validation loss: mean cross-entropy of the answers' tokens in nats, measured alike for all. Bars for
--check, medians over the rounds: at least 15 times the tokens a second of `tutorial` and 1.2 times those of the faster
`trl`, at a validation loss no higher than theirs.

Needs the base model: locum base pull.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from report import machine, median_and_spread
from rich.console import Console

from locum.adapters.base import Base, load_base
from locum.adapters.domains import load_domain
from locum.adapters.recipe import TrainingRecipe
from locum.commands.common import table
from locum.settings import load_settings
from locum.train.data.build import build_data, load_data

BARS = {"trl": 1.2, "trl bf16": 1.2, "tutorial": 15.0}
PADDED = 2048
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true", help="1 round of 3 steps instead of 3 of 8")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    steps, rounds = (3, 1) if options.quick else (8, 3)
    if options.one:
        sys.stdout.write(json.dumps(run(options.one, options.data, steps, options.seed)) + "\n")
        return 0

    ways = ["locum", "trl", *(["trl bf16"] if _has_bf16() else []), "tutorial"]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        build_data(load_domain(_domains(), "medical"), data)
        found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for number in range(rounds):
            for way in ways:
                command = [sys.executable, __file__, "--one", way, "--data", str(data), "--seed", str(number)]
                command += ["--quick"] if options.quick else []
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                found[way].append(json.loads(done.stdout.splitlines()[-1]))
                print(f"round {number + 1}: {way}: {found[way][-1]}", file=sys.stderr)  # noqa: T201

    ratios = {
        way: [mine["speed"] / theirs["speed"] for mine, theirs in zip(found["locum"], found[way], strict=True)]
        for way in ways
    }
    middle = {way: {key: statistics.median(each[key] for each in found[way]) for key in found[way][0]} for way in ways}
    rows = [
        (
            way,
            f"{middle[way]['speed']:,.0f}",
            median_and_spread(ratios[way]),
            f"{middle[way]['memory'] / 1e9:.1f}",
            f"{middle[way]['loss']:.3f}",
        )
        for way in ways
    ]
    import torch

    ran_on = machine(torch.get_num_threads())
    heads = ["recipe", "tokens/s", "Locum's, to it: median [spread]", "GB", "validation loss"]
    Console().print(table(None, heads, rows))
    tokens = found["locum"][0]["tokens"]
    said = f"{rounds} rounds of {steps} steps ({tokens:,.0f} tokens of text) on {ran_on}"
    Console().print(said, soft_wrap=True, highlight=False)
    if options.json:
        options.json.write_text(json.dumps({"machine": ran_on, "found": found}, indent=2) + "\n", encoding="utf-8")
    met = all(
        statistics.median(ratios[way]) >= bar and middle["locum"]["loss"] <= middle[way]["loss"]
        for way, bar in BARS.items()
        if way in ways
    )
    return int(options.check and not met)


def run(way: str, data: Path, steps: int, seed: int) -> dict[str, float]:
    """Train one way; tokens, tokens a second, peak memory in bytes, and validation loss."""
    settings = load_settings()
    base = load_base(settings.bases, settings.base)
    card = load_domain(_domains(), "medical").card
    recipe = card.recipe.model_copy(update={"max_steps": steps, "evaluations": 1, "seed": seed})
    return _locum(base, data, recipe) if way == "locum" else _trl(way, base, data, recipe, steps)


def _locum(base: Base, data: Path, recipe: TrainingRecipe) -> dict[str, float]:
    from locum.train.trainer import fit

    with tempfile.TemporaryDirectory() as runs:
        result = fit("medical", base, data, load_data(data), recipe, Path(runs), fresh=True)
    return {
        "tokens": result.tokens,
        "speed": result.tokens_per_second,
        "memory": result.peak_memory,
        "loss": result.best_loss,
    }


def _trl(way: str, base: Base, data: Path, recipe: TrainingRecipe, steps: int) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForLanguageModeling
    from trl import SFTConfig, SFTTrainer

    from locum.adapters.conversations import read_conversations
    from locum.train.data.build import split_file
    from locum.train.measured import Measured
    from locum.train.template import IGNORED, Template

    class Timed(Measured, SFTTrainer):  # type: ignore[misc]
        """TRL's trainer with its tokens of text and seconds counted."""

        def count(self, inputs: Any) -> int:
            # the collator of the tutorials labels all text, and gives padding a mask of ones
            return int((inputs["labels"] != IGNORED).sum()) if way == "tutorial" else super().count(inputs)

    tokenizer = AutoTokenizer.from_pretrained(base.path)
    model = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32)
    conversations = list(read_conversations(split_file(data, "train")))
    told = [[message.model_dump() for message in each.conversations] for each in conversations]
    options: dict[str, Any] = {}
    parts = 4 if way == "tutorial" else 1
    if way == "tutorial":
        texts = [tokenizer.apply_chat_template(turns, tokenize=False) for turns in told]
        padded = tokenizer(texts, padding="max_length", max_length=PADDED, truncation=True)
        rows = Dataset.from_dict(dict(padded))
        options["data_collator"] = DataCollatorForLanguageModeling(tokenizer, mlm=False)
        given: dict[str, Any] = {"dataset_kwargs": {"skip_prepare_dataset": True}}
    else:
        rows = Dataset.from_list([{"prompt": turns[:-1], "completion": turns[-1:]} for turns in told])
        given = {"completion_only_loss": True}
    with tempfile.TemporaryDirectory() as folder:
        trainer = Timed(
            model=model,
            args=SFTConfig(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=recipe.batch_size // parts,
                gradient_accumulation_steps=parts,
                learning_rate=recipe.learning_rate,
                lr_scheduler_type=recipe.schedule,
                warmup_steps=round(recipe.warmup_ratio * steps),
                seed=recipe.seed,
                use_cpu=True,
                bf16=way == "trl bf16",
                gradient_checkpointing=False,
                max_length=PADDED,
                report_to="none",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                **given,
            ),
            train_dataset=rows,
            processing_class=tokenizer,
            peft_config=LoraConfig(
                r=recipe.rank,
                lora_alpha=recipe.alpha,
                lora_dropout=recipe.dropout,
                target_modules=recipe.target_modules,
                task_type="CAUSAL_LM",
            ),
            **options,
        )
        trainer.train()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    validation = list(read_conversations(split_file(data, "validation")))[: recipe.validation_limit]
    return {
        "tokens": trainer.tokens,
        "speed": trainer.tokens / trainer.step_seconds,
        "memory": memory,
        "loss": _loss(trainer.model, [row for each in validation for row in Template.load(base.path).tokenise(each)]),
    }


def _loss(model: Any, rows: list[Any]) -> float:
    """Mean cross-entropy of the answers' tokens, in nats."""
    import torch

    from locum.train.template import IGNORED

    total, count = 0.0, 0
    model.eval()
    for row in rows:
        labels = torch.tensor(row.labels[1:])
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([row.input_ids])).logits[0, :-1].float()
        total += float(torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"))
        count += int((labels != IGNORED).sum())
    return total / count


def _domains() -> Path:
    return Path(__file__).parent.parent / "domains"


def _has_bf16() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and bool(BF16_FLAGS & set(cpuinfo.read_text(encoding="utf-8").split()))


if __name__ == "__main__":
    sys.exit(main())
