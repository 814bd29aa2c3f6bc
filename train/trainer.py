"""Trains a LoRA adapter over a frozen base model with TRL's SFTTrainer and PEFT."""

from __future__ import annotations

import json
import math
import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from locum.adapters.base import Base
from locum.adapters.card import SuiteCard, TrainingRecipe
from locum.adapters.manifest import DataRecord
from locum.errors import BadInputError, OutOfMemoryError, UnavailableError
from locum.train.advice import advice
from locum.train.curve import draw_losses
from locum.train.data.build import split_file
from locum.train.result import RESULT_FILE, Losses, TrainingResult
from locum.train.rows import load_rows, longest_answer
from locum.train.run import ADAPTER_FILES, finished, last_checkpoint, run_digest, run_folder
from locum.train.template import Template, Tokens

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
    suites: Sequence[SuiteCard] = (),
) -> TrainingResult:
    """Train, or reuse the run with the same recipe, data and base model, or take it up where it was interrupted.

    On one machine's CPU the same seed gives the same weights.

    Args:
        data_path: folder that `build_data` wrote; `data` is its record.
        runs: where the run's folder lies: adapter/, training.json and loss.png.
        fresh: start over, whatever is there.
        suites: what will be asked, so that advice can tell of answers that would be cut off.

    Raises:
        UnavailableError: a library is not installed.
        OutOfMemoryError: the machine has too little memory for this recipe.
        BadInputError: rows are too long, or the base model's chat template has no place for the answer.
        CheckFailedError: the loss is not finite any more.
        ConflictError: another process is training this very run.
    """
    digest = run_digest(recipe, data, base)
    with run_folder(runs, f"{domain}-{digest[:12]}", fresh=fresh) as folder:
        there = finished(folder, digest)
        if there is not None:
            return there
        template = Template.load(base.path)
        train = load_rows(split_file(data_path, "train"), template, recipe.max_length)
        validation = load_rows(split_file(data_path, "validation"), template, recipe.max_length)
        with _explained(recipe):
            result = _train(folder, domain, digest, base, data, recipe, template, train, validation)
        result = result.model_copy(update={"advice": _advice(result, train + validation, suites)})
        draw_losses(result.losses, result.best_step, f"{domain} on {base.name}", folder / "loss.png")
        _write(folder / RESULT_FILE, result.model_dump_json(indent=2))
        shutil.rmtree(folder / "checkpoints")
        return result


def _train(
    folder: Path,
    domain: str,
    digest: str,
    base: Base,
    data: DataRecord,
    recipe: TrainingRecipe,
    template: Template,
    train: list[Tokens],
    validation: list[Tokens],
) -> TrainingResult:
    # else TRL, when it is imported, silences vLLM for this process and the servers that it starts
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "INFO")
    import torch
    from transformers import AutoModelForCausalLM, PrinterCallback, set_seed

    from locum.train.batch import Collator, can_share
    from locum.train.progress import Watcher
    from locum.train.sft import AnswerTrainer, dataset, has_plain_logits

    started = time.monotonic()
    _silence()
    gpu = torch.cuda.is_available()
    dtype = torch.bfloat16 if gpu else torch.float32
    validation = validation[: recipe.validation_limit]
    steps = recipe.max_steps or math.ceil(recipe.epochs * _steps_an_epoch(len(train), recipe))
    marks = {max(1, round(steps * part / recipe.evaluations)) for part in range(1, recipe.evaluations + 1)}
    checkpoint = last_checkpoint(folder / "checkpoints")

    set_seed(recipe.seed)
    losses = Losses()
    model = AutoModelForCausalLM.from_pretrained(base.path, dtype=dtype)
    collator = Collator(
        pad_token_id=template.tokenizer.pad_token_id or 0,
        hidden_size=model.config.get_text_config().hidden_size,
        # Only where our own loss is in force: TRL's counts tokens by the mask, and kernels of GPUs want no block mask.
        share=not gpu and has_plain_logits(model.config) and can_share(model.config.get_text_config()),
    )
    with Watcher(domain, losses, marks, steps) as watcher:
        trainer = AnswerTrainer(
            model=model,
            args=_arguments(recipe, folder / "checkpoints", steps, gpu=gpu),
            train_dataset=dataset(train),
            eval_dataset=dataset(validation),
            processing_class=template.tokenizer,
            data_collator=collator,
            peft_config=_lora(recipe),
            callbacks=[watcher],
        )
        trainer.remove_callback(PrinterCallback)
        watcher.trainer = trainer
        trainer.evaluate()  # the base model: LoRA begins as no change at all
        before = losses.validation[0]
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        losses.validation[0] = before
    _save_adapter(trainer.model, base, folder / "adapter")
    return TrainingResult(
        domain=domain,
        run=digest,
        base=base.name,
        base_fingerprint=base.fingerprint,
        data=data,
        recipe=recipe,
        steps=steps,
        best_step=trainer.state.best_global_step or steps,
        losses=Losses(train=dict(sorted(losses.train.items())), validation=dict(sorted(losses.validation.items()))),
        train_rows=len(train),
        validation_rows=len(validation),
        longest=max(len(row.input_ids) for row in (*train, *validation)),
        parameters=sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad),
        device=torch.cuda.get_device_name() if gpu else f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        dtype=str(dtype).removeprefix("torch."),
        tokens=trainer.tokens,
        tokens_per_second=round(trainer.tokens / max(trainer.step_seconds, 1e-9), 1),
        seconds=round(time.monotonic() - started, 1),
        resumed_at=int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0,
        peak_memory=torch.cuda.max_memory_allocated() if gpu else _peak_memory(),
        versions={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        folder=folder,
    )


def _advice(result: TrainingResult, rows: Sequence[Tokens], suites: Sequence[SuiteCard]) -> list[str]:
    return advice(
        result.losses,
        result.recipe,
        steps=result.steps,
        best_step=result.best_step,
        train_rows=result.train_rows,
        longest_answer=max(longest_answer(row) for row in rows),
        suites=suites,
    )


def _steps_an_epoch(rows: int, recipe: TrainingRecipe) -> int:
    return math.ceil(math.ceil(rows / recipe.batch_size) / recipe.gradient_accumulation)


def _arguments(recipe: TrainingRecipe, checkpoints: Path, steps: int, *, gpu: bool) -> Any:
    from trl import SFTConfig

    return SFTConfig(
        output_dir=str(checkpoints),
        max_steps=steps,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.gradient_accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="constant_with_warmup" if recipe.schedule == "constant" else recipe.schedule,
        warmup_steps=round(recipe.warmup_ratio * steps),
        weight_decay=recipe.weight_decay,
        train_sampling_strategy="group_by_length",
        seed=recipe.seed,
        data_seed=recipe.seed,
        use_cpu=not gpu,
        bf16=gpu,
        gradient_checkpointing=False,
        max_length=None,  # rows that are too long were refused; none is cut
        dataset_kwargs={"skip_prepare_dataset": True},
        dataloader_pin_memory=gpu,
        # The watcher says when to measure and save; the trainer must only know that it can.
        eval_strategy="steps",
        eval_steps=steps,
        save_strategy="steps",
        save_steps=steps,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        prediction_loss_only=True,
    )


def _lora(recipe: TrainingRecipe) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=recipe.target_modules,
        task_type="CAUSAL_LM",
    )


def _save_adapter(model: Any, base: Base, folder: Path) -> None:
    """Write what PEFT writes, less what depends on the machine or the run: the same weights have the same digest."""
    part = folder.with_name(".adapter")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    for path in part.iterdir():
        if path.name not in ADAPTER_FILES:
            path.unlink()
    file = part / ADAPTER_FILES[0]
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base.name
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # a set in PEFT, in another order each time
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


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
    import warnings

    import datasets
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", module=r"(torch|transformers|trl|peft|accelerate)\.")


def _peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _write(file: Path, text: str) -> None:
    part = file.with_name(f".{file.name}")
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(file)
