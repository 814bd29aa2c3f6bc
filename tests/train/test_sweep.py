"""A sweep over the tiny base: each trial is a real run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from locum.adapters.base import Base
from locum.adapters.recipe import TrainingRecipe
from locum.errors import CheckFailedError, OutOfMemoryError
from locum.settings import Settings
from locum.train import memory
from locum.train import sweep as sweeping
from locum.train.data.build import DataBuild
from locum.train.result import TrainingResult
from locum.train.sweep import Sweep, sweep

RECIPE = TrainingRecipe(rank=8, alpha=16, learning_rate=2e-3, epochs=0.5, evaluations=2)
Search = Callable[..., tuple[Sweep, TrainingResult]]


@pytest.fixture
def search(settings: Settings, base_record: Base, built: DataBuild) -> Search:
    """Sweeps the domain `legal`; recipe fields by name."""

    def run(trials: int, *, fresh: bool = False, **fields: Any) -> tuple[Sweep, TrainingResult]:
        recipe = TrainingRecipe.model_validate({**RECIPE.model_dump(exclude=RECIPE.idle), **fields})
        data = settings.data_path("legal")
        return sweep("legal", base_record, data, built.record, recipe, settings.runs, trials=trials, fresh=fresh)

    return run


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[TrainingRecipe]:
    """The recipes that a sweep fits, as it does."""
    seen: list[TrainingRecipe] = []
    real = sweeping.fit

    def counted(*given: Any, **options: Any) -> TrainingResult:
        result = real(*given, **options)
        if not result.reused:
            seen.append(given[4])
        return result

    monkeypatch.setattr(sweeping, "fit", counted)
    return seen


def test_a_sweep_keeps_the_best_adapter_and_what_is_known_of_the_others(
    search: Search, settings: Settings, fits: list[TrainingRecipe]
) -> None:
    found, best = search(3)
    assert [(each.rank, each.alpha) for each in fits] == [
        (t.values["rank"], 2 * t.values["rank"]) for t in found.trials
    ]
    assert found.trials[0].values == {"rank": 8, "learning_rate": 2e-3, "epochs": 0.5}  # the recipe itself
    assert found.best is not None
    assert found.best.loss == best.best_loss == min(trial.losses[-1] for trial in found.trials if trial.loss)
    assert best.recipe.rank == found.best.values["rank"]
    assert best.adapter.is_dir()
    assert [path.parent for path in settings.runs.glob("*/adapter")] == [best.folder]
    assert len(list(settings.runs.glob("*/training.json"))) == 3
    assert found.picture.read_bytes().startswith(b"\x89PNG")
    for trial in found.trials:
        assert trial.values["rank"] in range(8, 65, 8)
        assert 2e-3 / 5 <= trial.values["learning_rate"] <= 2e-3 * 5
        assert trial.values["epochs"] in (0.25, 0.5, 0.75, 1.0)


def test_a_sweep_that_was_interrupted_goes_on_and_ends_as_if_nothing_had_happened(
    search: Search, settings: Settings, fits: list[TrainingRecipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = search(3)
    in_whole = list(fits)
    counted = sweeping.fit

    def interrupted(*given: Any, **options: Any) -> TrainingResult:
        if len(fits) == len(in_whole) + 2:
            raise KeyboardInterrupt
        return counted(*given, **options)

    monkeypatch.setattr(sweeping, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(3, fresh=True)
    monkeypatch.setattr(sweeping, "fit", counted)
    again, best = search(3)
    assert [trial.values for trial in again.trials] == [trial.values for trial in whole.trials]
    assert [trial.losses for trial in again.trials] == [trial.losses for trial in whole.trials]
    assert best.adapter.is_dir()
    fits.clear()
    more, _ = search(4)
    assert more.trials[:3] == again.trials
    assert len(fits) == 1


def test_where_max_steps_is_set_the_epochs_are_not_searched(search: Search) -> None:
    found, _ = search(2, max_steps=2, evaluations=1)
    assert all(set(trial.values) == {"rank", "learning_rate"} for trial in found.trials)


def test_a_trial_that_diverges_has_failed_and_does_not_end_the_sweep(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sweeping.fit

    def diverging(*given: Any, **options: Any) -> TrainingResult:
        if given[4].rank == 8:
            raise CheckFailedError("the loss is nan after step 1")
        return real(*given, **options)

    monkeypatch.setattr(sweeping, "fit", diverging)
    found, _ = search(2, max_steps=2, evaluations=1)
    assert (found.trials[0].state, found.trials[0].reason) == ("failed", "the loss is nan after step 1")
    assert found.best == found.trials[1]
    assert found.summary()["failed"] == 1


def test_a_trial_that_falls_behind_is_given_up(search: Search, settings: Settings) -> None:
    """After the first trials, one that is worse than most at the same part of the training."""
    found, _ = search(9, max_steps=4, evaluations=2, learning_rate=0.03)
    [pruned, *_] = [trial for trial in found.trials if trial.state == "pruned"]
    assert pruned.number >= sweeping.FIRST
    assert len(pruned.losses) == 1
    earlier = sorted(trial.losses[0] for trial in found.trials[: pruned.number] if trial.state == "complete")
    assert pruned.losses[0] > earlier[(len(earlier) - 1) // 2]
    assert not (settings.runs / pruned.run / "checkpoints").exists()


def test_a_sweep_whose_largest_trial_does_not_fit_is_refused_at_once(
    search: Search, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "memory_for_training", lambda: 1)
    with pytest.raises(OutOfMemoryError):
        search(2)
    assert not list(settings.runs.glob("*/training.json"))


def test_the_record_says_what_was_tried(search: Search, settings: Settings) -> None:
    found, _ = search(2, max_steps=2, evaluations=1)
    record = json.loads((found.folder / "sweep.json").read_text())
    assert [trial["number"] for trial in record["trials"]] == [0, 1]
    assert {trial["run"] for trial in record["trials"]} == {
        path.parent.name for path in settings.runs.glob("*/loss.png")
    }
