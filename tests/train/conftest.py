"""A small domain's data, and a fit over the tiny base."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from locum.adapters.base import Base
from locum.adapters.domains import load_domain
from locum.adapters.recipe import TrainingRecipe
from locum.settings import Settings
from locum.train.data.build import DataBuild, build_data
from locum.train.result import TrainingResult
from locum.train.spread import ALONE, Spread

# The tiny base's own weights are strong noise: a small rank and a few steps show what a fit does.
RECIPE = TrainingRecipe(rank=4, alpha=8, learning_rate=2e-2, max_steps=8, evaluations=2, batch_size=8)


@pytest.fixture
def built(settings: Settings, domain_folder: Path) -> DataBuild:
    """The data of the domain `legal`, built."""
    return build_data(load_domain(settings.domains, "legal"), settings.data_path("legal"))


@pytest.fixture
def fit_legal(settings: Settings, base_record: Base, built: DataBuild) -> Callable[..., TrainingResult]:
    """Fits an adapter of the domain `legal`; recipe fields by name."""
    from locum.train.trainer import fit

    def run(
        *,
        runs: Path = settings.runs,
        fresh: bool = False,
        base: Base = base_record,
        spread: Spread = ALONE,
        tracking: Sequence[str] = (),
        force: bool = False,
        **fields: Any,
    ) -> TrainingResult:
        recipe = TrainingRecipe.model_validate({**RECIPE.model_dump(), **fields})
        given = (settings.data_path("legal"), built.record, recipe, runs)
        return fit("legal", base, *given, fresh=fresh, spread=spread, tracking=tracking, force=force)

    return run


def fit_in_process(settings: Settings, runs: Path, *, before: str = "", **fields: int) -> subprocess.Popen[bytes]:
    """The fit of `fit_legal` in a process of its own, shown by TensorBoard; `before` is code that runs there first."""
    recipe = {"rank": 4, "alpha": 8, "learning_rate": 2e-2, "batch_size": 8, "max_steps": 8, "evaluations": 2, **fields}
    code = f"""{before}
from pathlib import Path
from locum.adapters.base import load_base
from locum.adapters.recipe import TrainingRecipe
from locum.train.data.build import load_data
from locum.train.trainer import fit
recipe = TrainingRecipe(**{recipe})
data = Path({str(settings.data_path("legal"))!r})
base = load_base(Path({str(settings.bases)!r}), "tiny-llama")
fit("legal", base, data, load_data(data), recipe, Path({str(runs)!r}), fresh=False, tracking=["tensorboard"])
"""
    return subprocess.Popen([sys.executable, "-c", code], env=os.environ.copy())


DIES = """
import os, signal
from transformers import Trainer
step = Trainer.training_step
def step_or_die(self, *given, **named):
    if self.state.global_step == {steps}:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *given, **named)
Trainer.training_step = step_or_die
"""


def kill_after_a_checkpoint(settings: Settings, *, max_steps: int, evaluations: int) -> None:
    """Begin the fit in a process of its own, which is killed two steps after its first checkpoint."""
    dies = DIES.format(steps=max_steps // evaluations + 2)
    process = fit_in_process(settings, settings.runs, before=dies, max_steps=max_steps, evaluations=evaluations)
    assert process.wait(300) == -signal.SIGKILL
    assert list(settings.runs.glob("*/checkpoints/checkpoint-*/trainer_state.json"))
