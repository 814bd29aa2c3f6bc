"""Trackers: programs that show the figures of a training while it runs and keep them beside those of others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from locum.adapters.recipe import TrainingRecipe
from locum.errors import UnavailableError

FOLDER = "tensorboard"


def require_trackers(names: Sequence[str]) -> None:
    """Refuse, before anything is trained, a tracker whose package is not there.

    Raises:
        UnavailableError: a package is not installed; says how to get it.
    """
    for name in names:
        if find_spec(name) is None:
            package = "'locum[train]'" if name == "tensorboard" else name
            raise UnavailableError(
                f"tracking: {name} is not installed",
                hint=f"pip install {package}, or leave it out of `tracking` in the card",
            )


def trackers(names: Sequence[str], folder: Path, recipe: TrainingRecipe, *, resumed_at: int) -> list[Any]:
    """The callbacks of transformers for these trackers.

    TensorBoard's files go to the run's folder; the others are set by variables of their own, such as WANDB_MODE.

    Args:
        folder: of the run.
        resumed_at: the step that the run is taken up at: what TensorBoard was told of later ones is void.
    """
    from transformers.integrations import get_reporting_integration_callbacks

    require_trackers(names)
    elsewhere = [name for name in names if name != "tensorboard"]
    made = [kind() for kind in get_reporting_integration_callbacks(elsewhere)]
    if "tensorboard" in names:
        made.append(_tensorboard(folder / FOLDER, recipe, resumed_at))
    return made


def _tensorboard(folder: Path, recipe: TrainingRecipe, resumed_at: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    writer = SummaryWriter(folder, purge_step=resumed_at + 1 if resumed_at else 0)
    if not resumed_at:
        in_force = json.dumps(recipe.in_force(), indent=2)
        writer.add_text("recipe", f"```\n{in_force}\n```")
    return TensorBoardCallback(writer)
