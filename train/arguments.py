"""A recipe in the words of transformers and TRL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from locum.adapters.recipe import ALIGNMENT, TrainingRecipe


def arguments(recipe: TrainingRecipe, checkpoints: Path, steps: int, *, gpu: bool, processes: int = 1) -> Any:
    """The configuration of the method's trainer, in each of so many processes."""
    given: dict[str, Any] = {
        "output_dir": str(checkpoints),
        "run_name": checkpoints.parent.name,  # for trackers
        "max_steps": steps,
        "per_device_train_batch_size": recipe.batch_size // processes,
        "per_device_eval_batch_size": recipe.batch_size // processes,
        "gradient_accumulation_steps": recipe.gradient_accumulation,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "constant_with_warmup" if recipe.schedule == "constant" else recipe.schedule,
        "warmup_steps": round(recipe.warmup_ratio * steps),
        "weight_decay": recipe.weight_decay,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "use_cpu": not gpu,
        "bf16": gpu,
        "dataloader_pin_memory": gpu,
        "ddp_find_unused_parameters": False,
        # The watcher says when to measure and save; the trainer must only know that it can.
        "eval_strategy": "steps",
        "eval_steps": steps,
        "save_strategy": "steps",
        "save_steps": steps,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
    }
    if recipe.method in ALIGNMENT:
        from locum.train.alignment import TRAINERS

        # Rows that are too long were refused; none is cut. ORPO takes no None for that.
        longest = recipe.max_length if recipe.method == "orpo" else None
        return TRAINERS[recipe.method][1](**given, max_length=longest, beta=recipe.beta)
    from trl import SFTConfig

    return SFTConfig(
        **given,
        neftune_noise_alpha=recipe.neftune,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        prediction_loss_only=True,
    )
