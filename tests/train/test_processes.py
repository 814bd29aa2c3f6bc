"""Several processes learn what one process learns. Real processes, started by accelerate's launcher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from locum.train.result import TrainingResult
from locum.train.spread import Spread

Fit = Callable[..., TrainingResult]
TWO = Spread(processes=2)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes are tried on machines with one core too."""
    monkeypatch.setattr("locum.train.spread.cores", lambda: 2)


def assert_the_same(one: TrainingResult, two: TrainingResult) -> None:
    assert two.losses.train == pytest.approx(one.losses.train, rel=1e-4)
    assert two.losses.validation == pytest.approx(one.losses.validation, rel=1e-4)
    assert two.tokens == one.tokens
    weights, others = (load_file(result.adapter / "adapter_model.safetensors") for result in (one, two))
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        assert others[name].allclose(weight, rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize("fields", [{}, {"batch_size": 4, "gradient_accumulation": 3}], ids=str)
def test_two_processes_learn_what_one_does(fit_legal: Fit, tmp_path: Path, fields: dict[str, Any]) -> None:
    one = fit_legal(dropout=0, **fields)
    two = fit_legal(dropout=0, **fields, runs=tmp_path / "two", spread=TWO)
    assert (one.processes, two.processes) == (1, 2)
    assert two.run == one.run
    assert_the_same(one, two)
