"""What a training would do and need on this machine, told before anything is loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console

from locum.adapters.base import Base
from locum.adapters.manifest import DataRecord
from locum.adapters.recipe import TrainingRecipe
from locum.train.machine import device_name, has_gpu, operations_per_second, present_share
from locum.train.memory import Disk, Footprint, Memory
from locum.train.methods import Start
from locum.train.recipe import Origin
from locum.train.result import RESULT_FILE, TrainingResult
from locum.train.rows import load_splits
from locum.train.run import finished, run_digest, run_name
from locum.train.template import PairTokens, Tokens
from locum.train.trainer import planned_steps

CROWDED = 0.9  # of its full speed: below, a training is slower for what else runs, and that is said
EFFICIENCY = 0.4  # of the speed of a large matrix product: what training reaches of it


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Value(_Record):
    """A field of the recipe in force."""

    value: Any
    origin: Origin = Field(description="the card, --set, or the field's or the method's default")


class Rows(_Record):
    """A split, as the base model's tokenizer sees it."""

    rows: int
    tokens: int
    longest: int


class Time(_Record):
    """How long it would take."""

    seconds: float
    tokens_per_second: float
    source: str = Field(description="what says so: a past run, or this machine's speed")


class Plan(_Record):
    """What a training would do and need."""

    domain: str
    base: str
    device: str
    run: str = Field(description="the run's folder")
    state: Literal["new", "interrupted", "finished"] = Field(description="interrupted: would be taken up")
    resumes_at: int = Field(0, description="the step after which an interrupted run would be taken up")
    recipe: dict[str, Value]
    splits: dict[Literal["train", "validation"], Rows]
    refused: list[str] = Field([], description="rows that the base model's chat template cannot show, and why")
    parameters: int = Field(description="weights that are trained")
    of_parameters: int = Field(description="weights of the base model")
    steps: int
    epochs: float
    memory: Memory
    disk: Disk
    time: Time = Field(description="of what is left to do")


def make_plan(
    domain: str,
    base: Base,
    data_path: Path,
    data: DataRecord,
    recipe: TrainingRecipe,
    runs: Path,
    *,
    origins: dict[str, Origin],
    start: Start | None = None,
) -> tuple[Plan, Footprint]:
    """The plan of what `fit` would do with the same arguments, and the footprint that `require_room` judges.

    Raises:
        BadInputError: as `fit` would: rows that are too long, a template without a place for the answer, target
            modules that the base model has not.
    """
    with Console(stderr=True).status(f"reading the rows of {domain}"):
        rows = load_splits(base, data_path, recipe)
    train, validation = rows.train, rows.validation
    footprint = Footprint.of(base, recipe, start, rows.template, train)
    digest = run_digest(recipe, data, base, start.digest if start else None)
    folder = runs / run_name(domain, digest)
    steps = planned_steps(len(train), recipe)
    resumes_at = _last_step(folder)
    rows_a_step = recipe.batch_size * recipe.gradient_accumulation
    plan = Plan(
        domain=domain,
        base=base.name,
        device=device_name(),
        run=str(folder),
        state=_state(folder, digest),
        resumes_at=resumes_at,
        recipe={name: Value(value=value, origin=origins[name]) for name, value in _in_force(recipe).items()},
        splits={"train": _rows(train), "validation": _rows(validation)},
        refused=rows.refused,
        parameters=footprint.parameters,
        of_parameters=footprint.shape.parameters,
        steps=steps,
        epochs=round(steps * rows_a_step / len(train), 2),
        memory=footprint.memory(),
        disk=footprint.disk(runs),
        time=_time(footprint, runs, steps - resumes_at),
    )
    return plan, footprint


def _in_force(recipe: TrainingRecipe) -> dict[str, Any]:
    fields = recipe.in_force()
    if recipe.max_steps is not None:
        del fields["epochs"]  # which max_steps decides
    return fields


def _state(folder: Path, digest: str) -> Literal["new", "interrupted", "finished"]:
    if finished(folder, digest) is not None:
        return "finished"
    return "interrupted" if _last_step(folder) else "new"


def _last_step(folder: Path) -> int:
    """The step of an interrupted run's last whole checkpoint; 0 where there is none."""
    states = folder.glob("checkpoints/checkpoint-*/trainer_state.json")
    return max((int(state.parent.name.rpartition("-")[2]) for state in states), default=0)


def _rows(rows: Sequence[Tokens | PairTokens]) -> Rows:
    longest = max(row.length if isinstance(row, PairTokens) else len(row.input_ids) for row in rows)
    return Rows(rows=len(rows), tokens=sum(_tokens(row) for row in rows), longest=longest)


def _tokens(row: Tokens | PairTokens) -> int:
    """Tokens that a training is shown: with a pair, the prompt before each answer that is there."""
    if isinstance(row, PairTokens):
        return sum(len(row.prompt_ids) + len(answer) for answer in (row.chosen_ids, row.rejected_ids) if answer)
    return len(row.input_ids)


def _time(footprint: Footprint, runs: Path, steps: int) -> Time:
    """From the newest run of the same base model and method on the same device; else from this machine's speed. Both as
    busy as the machine is now."""
    recipe = footprint.recipe
    tokens = (
        steps * recipe.batch_size * recipe.gradient_accumulation * _rows(footprint.rows).tokens / len(footprint.rows)
    )
    past = _past_run(footprint, runs)
    load = _load()
    beside, speed = 0.0, 0.0
    if past is not None:
        beside = max(0.0, past.seconds - past.tokens / past.tokens_per_second)  # loading, measuring, saving
        slower = load.share / (past.share_of_cores or 1.0)
        speed, source = past.tokens_per_second * slower, f"the run {past.folder.name}"
        beside /= slower
    else:
        speed = EFFICIENCY * operations_per_second() / _operations_a_token(footprint) * load.share
        source = "a matrix product on this machine, roughly: no run of this base model and method is there"
    return Time(
        seconds=round(tokens / speed + beside, 1), tokens_per_second=round(speed, 1), source=f"{source}{load.sentence}"
    )


@dataclass(frozen=True)
class _Load:
    """What other programs leave of the machine."""

    share: float
    sentence: str = ""


def _load() -> _Load:
    """On a GPU nothing is known of it."""
    if has_gpu():
        return _Load(1.0)
    busy, share = present_share()
    cores = os.cpu_count() or 1
    return _Load(share, f"; other programs keep {busy:.1f} of {cores} cores busy" if share < CROWDED else "")


def _past_run(footprint: Footprint, runs: Path) -> TrainingResult | None:
    files = sorted(runs.glob(f"*/{RESULT_FILE}"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files:
        try:
            past = TrainingResult.model_validate_json(file.read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            continue
        same = (past.base_fingerprint, past.recipe.method, past.device, past.processes)
        if same == (footprint.base.fingerprint, footprint.recipe.method, device_name(), 1) and past.tokens_per_second:
            return past.model_copy(update={"folder": file.parent})
    return None


def _operations_a_token(footprint: Footprint) -> float:
    """Floating-point operations: two a weight forward, two back to what came in, two for a weight that is trained."""
    passes = 3 if footprint.recipe.method == "full" else 2
    passes += footprint.recipe.gradient_checkpointing + (
        footprint.recipe.method in {"dpo", "kto"}
    )  # done twice; the reference's
    matrices = sum(outputs * inputs for outputs, inputs in footprint.shape.linear.values())
    return 2.0 * passes * (matrices or footprint.shape.parameters)
