"""Real training with TRL and PEFT over the tiny base."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from locum.adapters.artifact import inspect_artifact
from locum.adapters.base import Base
from locum.errors import BadInputError, CheckFailedError, ConflictError, OutOfMemoryError
from locum.settings import Settings
from locum.train.data.build import DataBuild
from locum.train.result import TrainingResult
from locum.train.run import run_folder
from locum.train.trainer import _explained
from tests.train.conftest import fit_in_process, kill_after_a_checkpoint

Fit = Callable[..., TrainingResult]


def test_a_fit_lowers_the_loss_and_leaves_an_adapter_that_the_registry_lets_in(fit_legal: Fit, tiny_base: Path) -> None:
    result = fit_legal()
    assert result.best_loss < result.first_loss
    assert sorted(result.losses.train) == list(range(1, 9))
    assert sorted(result.losses.validation) == [0, 4, 8]
    assert sorted(path.name for path in result.folder.iterdir()) == ["adapter", "loss.png", "training.json"]
    assert (result.folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    artifact = inspect_artifact(result.adapter, tiny_base)
    assert artifact.parameters == result.parameters
    config = json.loads((result.adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny-llama"


def test_a_finished_run_is_reused_unless_fresh(fit_legal: Fit) -> None:
    first = fit_legal()
    assert not first.reused
    again = fit_legal()
    assert again.reused
    assert again.losses == first.losses
    assert not fit_legal(fresh=True).reused
    other = fit_legal(rank=2)
    assert other.folder != first.folder


def test_the_same_seed_gives_the_same_adapter_in_another_process(
    fit_legal: Fit, tiny_base: Path, tmp_path: Path, settings: Settings
) -> None:
    here = inspect_artifact(fit_legal().adapter, tiny_base).digest
    assert fit_in_process(settings, tmp_path / "other").wait(300) == 0
    [adapter] = (tmp_path / "other").glob("*/adapter")
    assert inspect_artifact(adapter, tiny_base).digest == here
    assert inspect_artifact(fit_legal(seed=1).adapter, tiny_base).digest != here


def test_a_killed_run_is_taken_up_and_ends_as_if_nothing_had_happened(
    fit_legal: Fit, tiny_base: Path, tmp_path: Path, settings: Settings
) -> None:
    whole = fit_legal(runs=tmp_path / "whole", max_steps=60, evaluations=20)
    kill_after_a_checkpoint(settings, max_steps=60, evaluations=20)
    assert not list(settings.runs.glob("*/training.json"))
    resumed = fit_legal(max_steps=60, evaluations=20)
    assert 0 < resumed.resumed_at < 60
    assert sorted(resumed.losses.train) == list(range(1, 61))
    assert resumed.losses.validation == pytest.approx(whole.losses.validation, rel=1e-4)
    assert not (resumed.folder / "checkpoints").exists()


def test_the_best_checkpoint_is_kept(fit_legal: Fit) -> None:
    result = fit_legal(learning_rate=0.3, max_steps=12, evaluations=6, schedule="constant")
    measured = {step: loss for step, loss in result.losses.validation.items() if step}
    assert result.best_step == min(measured, key=lambda step: measured[step])


def test_rows_that_are_too_long_are_refused(fit_legal: Fit) -> None:
    with pytest.raises(BadInputError, match=r"of \d+ rows are longer than 10 tokens .* the longest has \d+"):
        fit_legal(max_length=10)


def test_unknown_target_modules_are_refused(fit_legal: Fit) -> None:
    with pytest.raises(BadInputError, match=r"recipe\.target_modules: .*nonesuch"):
        fit_legal(target_modules=["nonesuch"])


def test_a_loss_that_is_not_finite_stops_the_run(fit_legal: Fit, base_record: Base, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(base_record.path, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckFailedError, match="loss is nan after step 0") as caught:
        fit_legal(base=base_record.model_copy(update={"path": broken}))
    assert "learning rate" in str(caught.value.hint)


def test_too_little_memory_says_what_to_lower() -> None:
    from locum.adapters.recipe import TrainingRecipe

    with pytest.raises(OutOfMemoryError, match="batch_size 8") as caught, _explained(TrainingRecipe()):
        import torch

        torch.empty(1 << 50)
    assert "--set batch_size=4 --set gradient_accumulation=2" in str(caught.value.hint)


def test_one_run_is_trained_by_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        run_folder(tmp_path, "legal-1", fresh=False),
        pytest.raises(ConflictError, match="another process"),
        run_folder(tmp_path, "legal-1", fresh=False),
    ):
        pass


def test_training_without_data_is_refused(fit_legal: Fit, settings: Settings, built: DataBuild) -> None:
    (settings.data_path("legal") / "validation.jsonl").write_text("")
    with pytest.raises(BadInputError, match="holds no conversation"):
        fit_legal()
