"""What trackers are told, read back from TensorBoard's files: losses, speed, and the recipe's schedules."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from locum.adapters.artifact import inspect_artifact
from locum.errors import UnavailableError
from locum.settings import Settings
from locum.train.result import TrainingResult
from locum.train.tracking import require_trackers
from tests.train.conftest import kill_after_a_checkpoint

Fit = Callable[..., TrainingResult]


def followed(result: TrainingResult) -> EventAccumulator:
    """What TensorBoard would show of a run."""
    read = EventAccumulator(str(result.folder / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    read.Reload()
    return read


def scalars(result: TrainingResult, tag: str) -> dict[int, float]:
    """A figure by step; each step is there once."""
    events = followed(result).Scalars(tag)
    assert len({event.step for event in events}) == len(events)
    return {event.step: event.value for event in events}


def test_tensorboard_shows_losses_speed_and_the_recipe(fit_legal: Fit) -> None:
    result = fit_legal(tracking=["tensorboard"])
    assert scalars(result, "train/loss") == pytest.approx(result.losses.train, rel=1e-5)
    assert scalars(result, "eval/loss") == pytest.approx(result.losses.validation, rel=1e-5)
    assert all(speed > 0 for speed in scalars(result, "train/tokens_per_second").values())
    [recipe] = followed(result).Tensors("recipe/text_summary")
    assert '"rank": 4' in recipe.tensor_proto.string_val[0].decode()


def test_tracking_changes_neither_the_run_nor_the_adapter(fit_legal: Fit, tiny_base: Path) -> None:
    plain, followed_run = fit_legal(), fit_legal(tracking=["tensorboard"], fresh=True)
    assert not followed_run.reused
    assert followed_run.run == plain.run
    digest = inspect_artifact(followed_run.adapter, tiny_base).digest
    assert digest == inspect_artifact(fit_legal(fresh=True).adapter, tiny_base).digest
    assert not (plain.folder / "tensorboard").exists()  # the last fit had no tracker


def test_a_run_that_is_taken_up_goes_on_with_the_same_log(fit_legal: Fit, settings: Settings) -> None:
    kill_after_a_checkpoint(settings, max_steps=60, evaluations=20)
    time.sleep(1)  # TensorBoard orders files by the second; a command would take longer to start
    resumed = fit_legal(max_steps=60, evaluations=20, tracking=["tensorboard"])
    assert resumed.resumed_at > 0
    assert len(list((resumed.folder / "tensorboard").iterdir())) == 2
    assert sorted(scalars(resumed, "train/loss")) == list(range(1, 61))
    assert scalars(resumed, "eval/loss") == pytest.approx(resumed.losses.validation, rel=1e-5)


def test_a_tracker_that_is_not_installed_is_refused_with_what_to_install() -> None:
    require_trackers(["tensorboard"])
    with pytest.raises(UnavailableError, match="tracking: mlflow is not installed") as caught:
        require_trackers(["tensorboard", "mlflow"])
    assert "pip install mlflow" in str(caught.value.hint)


def expected_rates(schedule: str, peak: float, steps: int, warmup: int) -> list[float]:
    """The learning rate of each step, from the definitions of the schedules."""
    rates = []
    for done in range(steps):
        left = (done - warmup) / (steps - warmup)
        if done < warmup:
            rates.append(peak * done / warmup)
        elif schedule == "constant":
            rates.append(peak)
        elif schedule == "linear":
            rates.append(peak * (1 - left))
        else:
            rates.append(peak * 0.5 * (1 + math.cos(math.pi * left)))
    return rates


@pytest.mark.parametrize("warmup_ratio", [0, 0.25])
@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_learning_rate_of_each_step_is_what_schedule_and_warm_up_say(
    fit_legal: Fit, schedule: str, warmup_ratio: float
) -> None:
    result = fit_legal(tracking=["tensorboard"], schedule=schedule, warmup_ratio=warmup_ratio, max_steps=12)
    rates = scalars(result, "train/learning_rate")
    expected = expected_rates(schedule, 2e-2, 12, round(12 * warmup_ratio))
    assert [rates[step] for step in range(1, 13)] == pytest.approx(expected, rel=1e-5, abs=1e-12)


def test_weight_decay_pulls_what_is_trained_towards_nothing(fit_legal: Fit) -> None:
    def norm(**fields: Any) -> float:
        from safetensors.torch import load_file

        weights = load_file(fit_legal(**fields).adapter / "adapter_model.safetensors")
        return math.sqrt(sum(float(tensor.square().sum()) for name, tensor in weights.items() if "lora_A" in name))

    assert norm(weight_decay=5.0) < 0.8 * norm()


def test_nothing_is_sent_by_default(monkeypatch: pytest.MonkeyPatch, fit_legal: Fit) -> None:
    """Even where the variables of such a tracker are set."""
    monkeypatch.setitem(os.environ, "WANDB_PROJECT", "ours")
    import socket

    def refused(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    fit_legal(tracking=["tensorboard"])
