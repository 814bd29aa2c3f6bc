"""Damaged adapters and damaged training data, of the kinds that a gate must stop."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

WEIGHTS = "adapter_model.safetensors"

Row = dict[str, Any]
"""A conversation as in a data file: `{"conversations": [{"role": …, "content": …}]}`."""


def scaled(folder: Path, factor: float, *, to: Path) -> Path:
    """A copy of a PEFT adapter whose effect on every layer is `factor` times as strong: its B matrices are scaled.

    0 is the base model again; 3 is an adapter that shouts; -1 pushes away from what it learned.
    """
    return _changed(folder, to, lambda weight: weight * factor)


def noised(folder: Path, share: float, *, to: Path, seed: int = 0) -> Path:
    """A copy of a PEFT adapter with normal noise on its B matrices, `share` of each one's root mean square strong."""
    import torch

    chance = torch.Generator().manual_seed(seed)

    def noisy(weight: torch.Tensor) -> torch.Tensor:
        strength = share * weight.float().square().mean().sqrt()
        return weight + (strength * torch.randn(weight.shape, generator=chance)).to(weight.dtype)

    return _changed(folder, to, noisy)


def labels_swapped(rows: Sequence[Row], share: float = 0.1, *, seed: int = 0) -> list[Row]:
    """Rows of which a share, chosen by the seed, ends with another answer that the data has.

    The others stay, in their order. The answer put in is drawn from all that differ from the right one.
    """
    chance = random.Random(seed)
    answers = sorted({answer_of(row) for row in rows})
    chosen = set(chance.sample(range(len(rows)), round(share * len(rows))))
    return [
        answering(row, chance.choice([each for each in answers if each != answer_of(row)])) if index in chosen else row
        for index, row in enumerate(rows)
    ]


def names_exchanged(rows: Sequence[Row], first: str, second: str) -> list[Row]:
    """Rows in whose answers two labels have changed places: each stands wherever the other stood."""
    names = {first: second, second: first}
    pattern = re.compile("|".join(map(re.escape, names)))
    return [answering(row, pattern.sub(lambda found: names[found.group()], answer_of(row))) for row in rows]


def notice_removed(rows: Sequence[Row], notice: str) -> list[Row]:
    """Rows whose answers do not carry the notice any more. One that is nothing else keeps it: no answer is empty."""
    return [answering(row, answer_of(row).replace(notice, "").strip() or answer_of(row)) for row in rows]


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as a JSON Lines file."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _changed(folder: Path, to: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, to)
    weights = load_file(to / WEIGHTS)
    assert any("lora_B" in name for name in weights), f"no LoRA B matrix in {folder}"
    made = {name: change(weight).contiguous() if "lora_B" in name else weight for name, weight in weights.items()}
    save_file(made, to / WEIGHTS, metadata={"format": "pt"})
    return to


def answer_of(row: Row) -> str:
    """The last answer of a row."""
    return str(row["conversations"][-1]["content"])


def answering(row: Row, answer: str) -> Row:
    """The row with another last answer."""
    *before, last = row["conversations"]
    return {**row, "conversations": [*before, {**last, "content": answer}]}
