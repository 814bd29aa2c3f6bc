"""Each method trains for real over the tiny base, and what cannot be served is refused before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from locum.adapters.artifact import inspect_artifact
from locum.adapters.recipe import TrainingRecipe
from locum.errors import BadInputError
from locum.train.recipe import with_overrides
from locum.train.result import TrainingResult

Fit = Callable[..., TrainingResult]


def adapter_config(result: TrainingResult) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((result.adapter / "adapter_config.json").read_text())
    return config


@pytest.mark.parametrize(
    "fields",
    [
        {"rslora": True},
        {"ranks": {"down_proj": 8, "0.self_attn.q_proj": 2}},
        {"target_modules": "all-linear"},
        {"neftune": 5},
        {"gradient_checkpointing": True},
        {"gradient_accumulation": 2, "batch_size": 4},
        {"method": "qlora"},
    ],
    ids=lambda fields: next(iter(fields.items())).__str__(),
)
def test_each_way_learns_and_is_let_in(fit_legal: Fit, tiny_base: Path, fields: dict[str, Any]) -> None:
    result = fit_legal(**fields)
    assert result.best_loss < result.first_loss
    artifact = inspect_artifact(result.adapter, tiny_base)
    assert artifact.parameters == result.parameters
    again = fit_legal(**fields, fresh=True)
    assert inspect_artifact(again.adapter, tiny_base).digest == artifact.digest


def test_conversations_of_like_length_come_together_where_the_card_asks(fit_legal: Fit, tiny_base: Path) -> None:
    mixed, grouped = (
        inspect_artifact(fit_legal(**fields).adapter, tiny_base) for fields in ({}, {"length_grouped": True})
    )
    assert mixed.digest != grouped.digest


def test_ranks_by_module_are_what_the_names_say(fit_legal: Fit, tiny_base: Path) -> None:
    from safetensors.torch import load_file

    result = fit_legal(ranks={"down_proj": 8, "0.self_attn.q_proj": 2})
    ranks = {
        name.removeprefix("base_model.model.model.layers.").removesuffix(".lora_A.weight"): len(tensor)
        for name, tensor in load_file(result.adapter / "adapter_model.safetensors").items()
        if "lora_A" in name
    }
    assert (ranks["0.self_attn.q_proj"], ranks["1.self_attn.q_proj"], ranks["1.mlp.down_proj"]) == (2, 4, 8)
    assert inspect_artifact(result.adapter, tiny_base).rank == 8


def test_rslora_is_said_in_the_adapter(fit_legal: Fit) -> None:
    assert adapter_config(fit_legal(rslora=True))["use_rslora"] is True


def test_all_linear_leaves_the_output_layer_out(fit_legal: Fit) -> None:
    targets = adapter_config(fit_legal(target_modules="all-linear"))["target_modules"]
    ends = {name.rpartition(".")[2] for name in targets}
    assert ends == {"down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"}


def test_gradient_checkpointing_changes_memory_and_not_what_is_learnt(fit_legal: Fit) -> None:
    plain, checkpointed = fit_legal(dropout=0), fit_legal(dropout=0, gradient_checkpointing=True)
    assert checkpointed.losses.train == pytest.approx(plain.losses.train, rel=1e-4)


def test_patience_ends_a_training_that_gets_no_better(fit_legal: Fit) -> None:
    result = fit_legal(learning_rate=0.3, max_steps=40, evaluations=20, schedule="constant", patience=2)
    measured = sorted(result.losses.validation)
    assert result.steps < 40
    assert measured[-1] == result.steps
    assert measured.index(result.steps) - measured.index(result.best_step) == 2


def test_dora_is_trained_and_not_let_in(fit_legal: Fit, tiny_base: Path) -> None:
    result = fit_legal(method="dora")
    assert result.best_loss < result.first_loss
    with pytest.raises(BadInputError, match="use_dora: the server cannot hold this"):
        inspect_artifact(result.adapter, tiny_base)


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_virtual_tokens_are_trained_and_not_let_in(fit_legal: Fit, tiny_base: Path, method: str) -> None:
    result = fit_legal(method=method, rank=16, alpha=32, virtual_tokens=4, learning_rate=0.05)
    assert result.best_loss < result.first_loss
    assert result.first_loss == pytest.approx(fit_legal().first_loss, rel=1e-4)  # both begin with the base model
    with pytest.raises(BadInputError, match=f"peft_type: expected 'LORA', found '{method.upper()}_TUNING'"):
        inspect_artifact(result.adapter, tiny_base)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"method": "prefix", "rank": 8}, "rank would mean nothing with method prefix"),
        ({"method": "full", "rslora": True}, "rslora would mean nothing with method full"),
        ({"virtual_tokens": 5}, "virtual_tokens would mean nothing with method lora"),
        ({"beta": 0.3, "method": "dora"}, "beta would mean nothing with method dora"),
        ({"method": "dpo", "neftune": 5}, "neftune would mean nothing with method dpo"),
        ({"method": "dpo", "dropout": 0.1}, "dropout would mean nothing with method dpo"),
        ({"method": "dpo", "thinking": "mask"}, "thinking: mask would mean nothing with method dpo"),
        ({"method": "qlora", "start": "legal@1"}, "start would mean nothing with method qlora"),
        ({"start": "legal@1", "rank": 8}, "rank would mean nothing with start legal@1, whose shape is kept"),
        ({"method": "kto", "batch_size": 1}, "method kto compares .* batch_size of at least 2"),
        ({"ranks": {"a(b+)+": 4}}, "ranks"),
    ],
)
def test_a_field_that_means_nothing_is_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        TrainingRecipe.model_validate(fields)


def test_another_method_on_the_command_line_leaves_out_what_means_nothing_any_more() -> None:
    card = TrainingRecipe(rank=8, rslora=True, learning_rate=3e-4, epochs=2)
    aligned = with_overrides(card, ["method=dpo", "start=legal@1"])
    assert (aligned.rank, aligned.rslora, aligned.learning_rate, aligned.epochs) == (16, False, 1e-4, 2)
    assert "rank" not in aligned.in_force()
    assert with_overrides(card, ["method=dora"]).rank == 8
    assert with_overrides(card, ["epochs=3"]).learning_rate == 3e-4
    with pytest.raises(BadInputError, match="rank would mean nothing with method full"):
        with_overrides(card, ["method=full", "rank=4"])
