"""Models whose weights are parted among the processes, by FSDP or DeepSpeed, instead of held whole by each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from locum.errors import ConflictError


def parted(trainer: Any) -> bool:
    """Whether each process holds only a part of the model."""
    return bool(trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)


def whole_weights(trainer: Any) -> dict[str, Any] | None:
    """All weights of a parted model, brought together on the first process; all processes must ask.

    Nothing where each process holds all of them anyway.
    """
    if not parted(trainer):
        return None
    weights: dict[str, Any] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return weights


def check_parted_alike(checkpoint: Path, trainer: Any) -> None:
    """The state of the optimiser is kept in another form when the model is parted.

    Raises:
        ConflictError: the checkpoint was written with the model whole, and now it is parted, or the other way about.
    """
    whole = (checkpoint / "optimizer.pt").exists()
    if whole == parted(trainer):
        before, now = ("without", "with") if whole else ("with", "without")
        raise ConflictError(
            f"{checkpoint.parent.parent} was begun {before} --accelerate-config and cannot be taken up {now} it",
            hint="take it up as it was begun, or train anew: --fresh",
        )
