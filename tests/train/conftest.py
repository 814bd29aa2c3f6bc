"""A small domain's data, and a fit over the tiny base."""

from __future__ import annotations

from collections.abc import Callable
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
        **fields: Any,
    ) -> TrainingResult:
        recipe = TrainingRecipe.model_validate({**RECIPE.model_dump(), **fields})
        return fit("legal", base, settings.data_path("legal"), built.record, recipe, runs, fresh=fresh, spread=spread)

    return run
