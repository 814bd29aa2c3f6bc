"""How much memory and disk a training needs, told before anything is loaded, and a refusal where there is less.

The estimate adds up what must be held at once at the fullest moment: in the backward pass over the largest batch.
Weights, gradients and Adam's two moments are counted exactly. What a layer keeps for its backward pass is counted for
the layers of the Llama family: others keep about as much. The sum was within a third of what real runs on a CPU took.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, computed_field

from locum.adapters.base import Base
from locum.adapters.checkpoint import weight_files
from locum.adapters.recipe import ALIGNMENT, MATRICES, VIRTUAL, TrainingRecipe
from locum.errors import DiskFullError, OutOfMemoryError
from locum.train.machine import has_gpu, memory_for_training
from locum.train.methods import Start
from locum.train.shape import BaseShape, adapted_modules, read_shape, trained_parameters
from locum.train.template import IGNORED, PairTokens, Template, Tokens

LIBRARIES = 700_000_000  # bytes of Python and the libraries, on a GPU of its context
FOUR_BITS = 0.516  # bytes a weight in NF4 with double quantisation
# Layers' worth of tensors that come and go, with the gaps between them, as measured.
WORKING, RECOMPUTING = 2, 8
CHECKPOINTS = 3  # the best, the last and the one that is being written


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Memory(_Record):
    """Bytes that are held at the fullest moment, and those that there are."""

    libraries: int
    weights: int = Field(description="the base model's and those that are trained")
    files: int = Field(description="the base model's, held while it is loaded and before all that follows")
    gradients: int
    optimizer: int
    activations: int = Field(description="what layers keep for the backward pass over the largest batch")
    logits: int
    available: int = Field(description="on a GPU, of the device")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def needed(self) -> int:
        """The sum; what loading needs and what training needs are not held at once."""
        training = self.gradients + self.optimizer + self.activations + self.logits
        return self.libraries + self.weights + max(self.files, training)


class Disk(_Record):
    """Bytes that checkpoints and the result take, and those that are free."""

    needed: int
    available: int


@dataclass(frozen=True)
class Batch:
    """The largest batch of a training."""

    positions: int
    """Tokens that the model computes, padding included."""
    logits: int
    """Those of whose logits the whole vocabulary is held at once; TRL computes others in small tiles."""


@dataclass(frozen=True)
class Footprint:
    """What a training would hold and do: a recipe with the rows that it learns from."""

    shape: BaseShape
    base: Base
    recipe: TrainingRecipe
    start: Start | None
    template: Template
    rows: Sequence[Tokens | PairTokens]

    @classmethod
    def of(
        cls,
        base: Base,
        recipe: TrainingRecipe,
        start: Start | None,
        template: Template,
        rows: Sequence[Tokens | PairTokens],
    ) -> Footprint:
        """With the shape that the base model's files have."""
        return cls(read_shape(base), base, recipe, start, template, rows)

    @property
    def parameters(self) -> int:
        """Number of trained weights."""
        return trained_parameters(self.shape, self.recipe, self.start)

    def largest_batch(self) -> Batch:
        """Of the longest rows, in one row where the trainer puts them so."""
        from locum.train.batch import collator, has_plain_logits

        recipe = self.recipe
        if recipe.method in ALIGNMENT:  # both answers to each prompt; kto takes one a row
            longest = max(row.length for row in self.rows if isinstance(row, PairTokens))
            positions = longest * recipe.batch_size * (1 if recipe.method == "kto" else 2)
            return Batch(positions, positions if recipe.method == "orpo" else 0)
        rows = [row for row in self.rows if isinstance(row, Tokens)]
        rows = sorted(rows, key=lambda row: len(row.input_ids))[-recipe.batch_size :]
        collate = collator(recipe, self.template.tokenizer, self.shape.config, gpu=has_gpu())
        batch = collate([{"input_ids": row.input_ids, "labels": row.labels} for row in rows])
        positions = batch["input_ids"].numel()
        if recipe.method in VIRTUAL:
            return Batch(positions + len(rows) * recipe.virtual_tokens, 0)
        ours = not has_gpu() and has_plain_logits(self.shape.config)
        return Batch(positions, int((batch["labels"] != IGNORED).sum()) if ours else 0)

    def memory(self) -> Memory:
        """Bytes at the fullest moment."""
        wide = 2 if has_gpu() else 4  # bytes of a number that is computed with
        trained = self.parameters
        own = wide if self.recipe.method == "full" else 4  # bytes of a number that is trained
        weights = 0 if self.recipe.method == "full" else trained * own
        batch = self.largest_batch()
        return Memory(
            libraries=LIBRARIES,
            weights=round(weights + self._base_bytes(wide)),
            files=0 if has_gpu() else sum(file.stat().st_size for file in weight_files(self.base.path)),
            gradients=trained * own,
            optimizer=2 * trained * own,
            activations=round(batch.positions * self._kept_a_token(wide)),
            logits=batch.logits * self.shape.vocabulary * 4 * 3,  # themselves, their softmax and its gradient
            available=memory_for_training(),
        )

    def disk(self, runs: Path) -> Disk:
        """Bytes of checkpoints and the result."""
        own = 2 if self.recipe.method == "full" and has_gpu() else 4
        beside = sum(file.stat().st_size for file in self.base.path.glob("tokenizer*"))
        checkpoint = 3 * self.parameters * own + beside
        there = next(folder for folder in (runs.absolute(), *runs.absolute().parents) if folder.is_dir())
        needed = CHECKPOINTS * checkpoint + self.parameters * own
        return Disk(needed=needed, available=shutil.disk_usage(there).free)

    def _base_bytes(self, wide: int) -> float:
        if self.recipe.method != "qlora":
            return float(self.shape.parameters * wide)
        matrices = [outputs * inputs for outputs, inputs in self.shape.linear.values()]
        beside = (self.shape.parameters - sum(matrices)) * 4  # in full precision
        return sum(matrices) * FOUR_BITS + beside + max(matrices, default=0) * wide  # one at a time is unpacked

    def _kept_a_token(self, wide: int) -> float:
        """Bytes that all layers keep of one token for the backward pass."""
        shape, recipe = self.shape, self.recipe
        norms = 4 * shape.hidden * 4  # what goes in and what comes out, of two, in full precision
        attention = 4 * shape.attention * wide  # queries, keys and values of every head, and what comes out
        forward = 4 * shape.inner * wide  # gate, its activation, the other half, and their product
        layer = float(norms + attention + forward)
        if recipe.method in MATRICES - ALIGNMENT and recipe.start is None and recipe.dropout:
            inputs = sum(inputs for _, inputs in adapted_modules(shape, recipe).values())
            layer += inputs / shape.layers * (wide + 1)  # a copy with gaps, and where the gaps are
        if recipe.method == "dora":
            outputs = sum(outputs for outputs, _ in adapted_modules(shape, recipe).values())
            layer += 3 * outputs / shape.layers * wide  # what comes out, before and after it is scaled
        if recipe.gradient_checkpointing:
            return shape.layers * shape.hidden * wide + RECOMPUTING * layer
        return (shape.layers + WORKING) * layer


def require_room(footprint: Footprint, runs: Path) -> None:
    """Refuse a training for which there is not enough memory or disk, before anything is loaded.

    Raises:
        OutOfMemoryError: says which settings would make it fit.
        DiskFullError: says how much is missing.
    """
    memory, disk = footprint.memory(), footprint.disk(runs)
    if memory.needed > memory.available:
        where = "the GPU" if has_gpu() else "this machine"
        raise OutOfMemoryError(
            f"this training needs about {gigabytes(memory.needed)} of memory (estimated), and {where} has "
            f"{gigabytes(memory.available)} free",
            hint=_what_fits(footprint),
        )
    if disk.needed > disk.available:
        raise DiskFullError(
            f"this training needs about {gigabytes(disk.needed)} of disk for checkpoints, and {runs} has "
            f"{gigabytes(disk.available)} free",
            hint="make room, or lower the rank",
        )


def gigabytes(size: float) -> str:
    """A size for people."""
    return f"{size / 1e9:.2f} GB"


def _what_fits(footprint: Footprint) -> str:
    for changes in _smaller(footprint.recipe):
        memory = replace_recipe(footprint, changes).memory()
        if memory.needed <= memory.available:
            options = " ".join(f"--set {name}={_written(value)}" for name, value in changes.items())
            return f"{options} needs about {gigabytes(memory.needed)}"
    return "no batch size fits: take a smaller base model, or a machine with more memory"


def _smaller(recipe: TrainingRecipe) -> Iterator[dict[str, Any]]:
    """Changes that need ever less memory: first such that train the same."""
    batch: dict[str, Any] = {}
    size, accumulation = recipe.batch_size, recipe.gradient_accumulation
    batches = [batch]
    while size > (2 if recipe.method == "kto" else 1):
        size, accumulation = size // 2, accumulation * 2
        batches.append({"batch_size": size, "gradient_accumulation": accumulation})
    yield from batches[1:]
    if recipe.method in MATRICES | {"full"} and not recipe.gradient_checkpointing:
        batches = [{**batch, "gradient_checkpointing": True} for batch in batches]
        yield from batches
    if recipe.method == "lora" and recipe.start is None:
        yield from ({"method": "qlora", **batch} for batch in batches)


def replace_recipe(footprint: Footprint, changes: dict[str, Any]) -> Footprint:
    """The same footprint with changes to its recipe."""
    from dataclasses import replace

    return replace(footprint, recipe=footprint.recipe.model_copy(update=changes))


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
