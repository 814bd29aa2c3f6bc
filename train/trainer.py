"""Trains a model's adapter, or all of its weights, with TRL's trainers and PEFT."""

from __future__ import annotations

import math
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from locum.adapters.base import Base
from locum.adapters.manifest import DataRecord
from locum.adapters.recipe import ALIGNMENT, VIRTUAL, TrainingRecipe
from locum.adapters.suites import SuiteCard
from locum.errors import BadInputError, OutOfMemoryError, UnavailableError
from locum.train.advice import advice
from locum.train.arguments import arguments
from locum.train.curve import draw_losses
from locum.train.data.build import split_file
from locum.train.job import Job
from locum.train.launch import launch
from locum.train.machine import device_name, has_gpu, peak_memory, present_share
from locum.train.memory import Footprint, require_room
from locum.train.methods import (
    Start,
    load_model,
    peft_config,
    save,
    train_in_full_precision,
    trained_weights,
)
from locum.train.parted import check_parted_alike, parted, whole_weights
from locum.train.result import RESULT_FILE, Losses, Sample, TrainingResult
from locum.train.rows import Rows, load_splits, longest_answer
from locum.train.run import finished, last_checkpoint, run_digest, run_folder, run_name, write
from locum.train.samples import Question, answers, choose_questions
from locum.train.spread import ALONE, Spread
from locum.train.template import PairTokens, Template, Tokens
from locum.train.tracking import trackers

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")


def fit(
    domain: str,
    base: Base,
    data_path: Path,
    data: DataRecord,
    recipe: TrainingRecipe,
    runs: Path,
    *,
    fresh: bool,
    start: Start | None = None,
    suites: Sequence[SuiteCard] = (),
    spread: Spread = ALONE,
    tracking: Sequence[str] = (),
    force: bool = False,
    measured: Callable[[float], None] | None = None,
) -> TrainingResult:
    """Train, or reuse the run with the same recipe, data and base model, or take it up where it was interrupted.

    On one machine's CPU the same seed gives the same weights.

    Args:
        data_path: folder that `build_data` wrote, of pairs where the method learns from pairs; `data` is its record.
        runs: where the run's folder lies: adapter/ (with the method `full` checkpoint/), training.json and loss.png.
        fresh: start over, whatever is there.
        start: the version that `recipe.start` names.
        suites: what will be asked, so that advice can tell of answers that would be cut off.
        spread: on how many processes; what is learnt does not depend on it, but for the masks of dropout.
        tracking: names of trackers that are told the figures.
        force: train even where the estimate says that memory or disk will not do. For several processes there is none.
        measured: told each validation loss after the first step; what it raises ends the training. For one process.

    Raises:
        UnavailableError: a library is not installed.
        OutOfMemoryError: the machine has too little memory for this recipe.
        DiskFullError: there is too little room for its checkpoints.
        BadInputError: rows are too long, or the base model's chat template has no place for the answer.
        CheckFailedError: the loss is not finite any more.
        ConflictError: another process is training this very run, or it was begun with weights parted otherwise.
    """
    digest = run_digest(recipe, data, base, start.digest if start else None)
    with run_folder(runs, run_name(domain, digest), fresh=fresh) as folder:
        there = finished(folder, digest)
        if there is not None and spread.hosts == 1:  # several agree first that they mean the same run
            return there
        if spread.alone:
            return train_rows(
                folder, domain, digest, base, data_path, data, recipe,
                start=start, suites=suites, tracking=tracking, force=force, measured=measured,
            )  # fmt: skip
        job = Job(
            domain=domain, base=base, data_path=data_path, recipe=recipe, runs=runs, start=start, suites=list(suites),
            tracking=list(tracking), processes=spread.processes,
        )  # fmt: skip
        launch(job, spread, folder / "processes.log")
        made = finished(folder, digest)
        if made is None:
            raise UnavailableError(f"the processes left no result in {folder}", hint="train again with --fresh")
        return made.model_copy(update={"reused": there is not None})


def train_rows(
    folder: Path,
    domain: str,
    digest: str,
    base: Base,
    data_path: Path,
    data: DataRecord,
    recipe: TrainingRecipe,
    *,
    start: Start | None,
    suites: Sequence[SuiteCard],
    tracking: Sequence[str],
    force: bool,
    measured: Callable[[float], None] | None = None,
) -> TrainingResult:
    """The training itself, in each of its processes; the first of them writes what comes of it to `folder`."""
    rows = load_splits(base, data_path, recipe)
    template, train, validation = rows.template, rows.train, rows.validation
    asked = choose_questions(split_file(data_path, "validation"), template, pairs=recipe.method in ALIGNMENT)
    if not force:
        require_room(Footprint.of(base, recipe, start, template, train), folder.parent)
    with _explained(recipe):
        result = _train(
            folder, domain, digest, base, data, recipe, start, template, train, validation,
            asked, tracking, measured,
        )  # fmt: skip
    advice = [*rows.refused, *_advice(result, [*train, *validation], suites)]
    result = result.model_copy(update={"advice": advice})
    if _is_first():
        unit = "nats a token" if recipe.method not in ALIGNMENT else recipe.method
        draw_losses(result.losses, result.best_step, f"{domain} on {base.name}", f"loss ({unit})", folder / "loss.png")
        write(folder / RESULT_FILE, result.model_dump_json(indent=2))
        shutil.rmtree(folder / "checkpoints")
    return result


def _train(
    folder: Path,
    domain: str,
    digest: str,
    base: Base,
    data: DataRecord,
    recipe: TrainingRecipe,
    start: Start | None,
    template: Template,
    train: Rows,
    validation: Rows,
    asked: Sequence[Question],
    tracking: Sequence[str],
    measured: Callable[[float], None] | None,
) -> TrainingResult:
    # else TRL, when it is imported, silences vLLM for this process and the servers that it starts
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "INFO")
    _silence()  # before the libraries that talk while they are imported
    import torch
    from accelerate import PartialState
    from transformers import EarlyStoppingCallback, PrinterCallback, set_seed

    from locum.train.progress import Watcher

    gpu = has_gpu()
    share = None if gpu else present_share()[1]
    started = time.monotonic()
    dtype = torch.bfloat16 if gpu else torch.float32
    validation = validation[: recipe.validation_limit]
    steps = planned_steps(len(train), recipe)
    marks = {max(1, round(steps * part / recipe.evaluations)) for part in range(1, recipe.evaluations + 1)}
    everyone = PartialState(cpu=not gpu)
    with everyone.main_process_first():  # it removes what an interruption left in part
        checkpoint = last_checkpoint(folder / "checkpoints")
    resumed_at = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0

    set_seed(recipe.seed)
    losses = Losses()
    with Watcher(domain, losses, marks, steps, measured) as watcher:
        given = {
            # Before the model, which DeepSpeed may part while it is loaded.
            "args": arguments(recipe, folder / "checkpoints", steps, gpu=gpu, processes=everyone.num_processes),
            "model": load_model(base, recipe, start, dtype),
            "processing_class": template.tokenizer,
            "peft_config": peft_config(recipe),
            "callbacks": [watcher],
        }
        trainer = _trainer(recipe, template, train, validation, given, gpu=gpu)
        trainer.remove_callback(PrinterCallback)
        if recipe.patience is not None:
            trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=recipe.patience))
        if recipe.method == "qlora":
            train_in_full_precision(trainer.model)
        if checkpoint:
            check_parted_alike(checkpoint, trainer)
        torch.manual_seed(recipe.seed + everyone.process_index)  # dropout masks of its own for each process
        watcher.trainer = trainer
        parameters = trained_weights(trainer.model)
        for follower in trackers(tracking, folder, recipe, resumed_at=resumed_at) if everyone.is_main_process else ():
            trainer.add_callback(follower)
        asked = [] if parted(trainer) else asked  # no process has the whole model
        with _without_adapter(trainer, recipe):
            said_before = answers(trainer.model, template, asked)
        watcher.measure_first = partial(_measure_first, trainer, recipe)
        with _kept(folder, trainer) if everyone.is_main_process else nullcontext():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        said_after = answers(trainer.model, template, asked)
    tokens = trainer.all_tokens()
    best_step = trainer.state.best_global_step or trainer.state.global_step
    result = TrainingResult(
        domain=domain,
        run=digest,
        base=base.name,
        base_fingerprint=base.fingerprint,
        data=data,
        recipe=recipe,
        steps=trainer.state.global_step,
        best_step=best_step,
        losses=Losses(train=dict(sorted(losses.train.items())), validation=dict(sorted(losses.validation.items()))),
        train_rows=len(train),
        validation_rows=len(validation),
        longest=max(_length(row) for row in (*train, *validation)),
        parameters=parameters,
        device=device_name(),
        dtype=str(dtype).removeprefix("torch."),
        processes=everyone.num_processes,
        tokens=tokens,
        share_of_cores=share,
        tokens_per_second=round(tokens / max(trainer.step_seconds, 1e-9), 1),
        seconds=round(time.monotonic() - started, 1),
        resumed_at=resumed_at,
        peak_memory=peak_memory(),
        agreement=watcher.agreement.get(best_step),
        samples=[
            Sample(question=each.text, expected=each.expected, before=before, after=after)
            for each, before, after in zip(asked, said_before, said_after, strict=True)
        ],
        versions={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        folder=folder,
    )
    weights = whole_weights(trainer)  # by all processes together
    if everyone.is_main_process:
        save(trainer.model, base, result.adapter, weights=weights)
    return result


@contextmanager
def _kept(folder: Path, trainer: Any) -> Iterator[None]:
    """Say what is kept of a training that is interrupted."""
    from rich.console import Console

    try:
        yield
    except KeyboardInterrupt:
        checkpoint = last_checkpoint(folder / "checkpoints")
        at = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
        Console(stderr=True).print(
            stopped(trainer.state.global_step, at, folder), markup=False, highlight=False, soft_wrap=True
        )
        raise


def stopped(step: int, kept: int, folder: Path) -> str:
    """What is said of a training that was interrupted after a step; `kept` is that of its last checkpoint, or 0."""
    if not kept:
        return f"Stopped after step {step}, before the first checkpoint: the same command begins anew."
    lost = f", and trains {step - kept} of them again" if step > kept else ""
    return f"Stopped after step {step}. Step {kept} is kept in {folder}: the same command goes on from there{lost}."


def _measure_first(trainer: Any, recipe: TrainingRecipe) -> None:
    """Validation loss before the first step."""
    with _without_adapter(trainer, recipe):
        trainer.evaluate()


def _without_adapter(trainer: Any, recipe: TrainingRecipe) -> Any:
    """What training begins with. Matrices begin as no change at all, virtual tokens do not."""
    return trainer.model.disable_adapter() if recipe.method in VIRTUAL else nullcontext()


def _trainer(
    recipe: TrainingRecipe,
    template: Template,
    train: Sequence[Any],
    validation: Sequence[Any],
    given: dict[str, Any],
    *,
    gpu: bool,
) -> Any:
    """The method's trainer with its rows."""
    if recipe.method in ALIGNMENT:
        from locum.train.alignment import TRAINERS, pair_dataset

        rows = [pair_dataset(pairs, recipe.method) for pairs in (train, validation)]
        return TRAINERS[recipe.method][0](train_dataset=rows[0], eval_dataset=rows[1], **given)
    from locum.train.batch import collator
    from locum.train.sft import AnswerTrainer, dataset

    collate = collator(recipe, template.tokenizer, given["model"].config.get_text_config(), gpu=gpu)
    return AnswerTrainer(
        train_dataset=dataset(train),
        eval_dataset=dataset(validation),
        data_collator=collate,
        length_grouped=recipe.length_grouped,
        **given,
    )


def _is_first() -> bool:
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


def _length(row: Tokens | PairTokens) -> int:
    return row.length if isinstance(row, PairTokens) else len(row.input_ids)


def _advice(result: TrainingResult, rows: Sequence[Tokens | PairTokens], suites: Sequence[SuiteCard]) -> list[str]:
    return advice(
        result.losses,
        result.recipe,
        steps=result.steps,
        best_step=result.best_step,
        train_rows=result.train_rows,
        longest_answer=max(longest_answer(row) for row in rows),
        suites=suites,
    )


def planned_steps(rows: int, recipe: TrainingRecipe) -> int:
    """Steps of a training that `patience` does not end before."""
    an_epoch = math.ceil(math.ceil(rows / recipe.batch_size) / recipe.gradient_accumulation)
    return recipe.max_steps or math.ceil(recipe.epochs * an_epoch)


@contextmanager
def _explained(recipe: TrainingRecipe) -> Iterator[None]:
    """Errors of the libraries that a user can do something about, in Locum's words."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"training needs {error.name}, which is not installed", hint="pip install 'locum[train]'"
        ) from None
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and "out of memory" not in text and "can't allocate memory" not in text:
            raise
        raise OutOfMemoryError(
            f"the machine has too little memory to train with batch_size {recipe.batch_size}, rank {recipe.rank} and "
            f"rows of up to {recipe.max_length} tokens",
            hint=f"--set batch_size={max(1, recipe.batch_size // 2)} "
            f"--set gradient_accumulation={recipe.gradient_accumulation * 2} trains the same in less",
        ) from error
    except ValueError as error:
        if "arget modules" not in str(error) and "lm_head" not in str(error):
            raise
        raise BadInputError(f"recipe.target_modules: {str(error).splitlines()[0]}") from None


def _silence() -> None:
    import logging
    import warnings

    import datasets
    from transformers.utils import logging as of_transformers

    of_transformers.set_verbosity_error()
    of_transformers.disable_progress_bar()
    # bitsandbytes looks for a faster kernel on a hub, and complains when it may not; PEFT imports it for every method.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", module=r"(torch|transformers|trl|peft|accelerate)\.")
