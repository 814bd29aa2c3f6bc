"""The loss that is computed is the loss that is meant, however the batch is laid out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from locum.train.batch import Collator, can_share
from locum.train.sft import selected_loss
from locum.train.template import IGNORED

PADDED, SHARED = Collator(0, 64, share=False), Collator(0, 64, share=True)


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_base)


def sample(prompt: list[int], answer: list[int]) -> dict[str, list[int]]:
    return {"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer}


def loss_and_gradient(model: Any, loss: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return loss.detach(), torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


def test_the_loss_over_selected_positions_is_the_models_own(model: Any) -> None:
    batch = PADDED([sample([5, 6, 7], [8, 9]), sample([5], [6, 7, 8, 9])])
    inputs = {name: values for name, values in batch.items() if name != "tokens"}
    ours, our_gradient = loss_and_gradient(model, selected_loss(model, batch))
    theirs, their_gradient = loss_and_gradient(model, model(**inputs).loss)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_gradient, their_gradient)


def test_accumulated_steps_divide_by_the_tokens_of_all(model: Any) -> None:
    batch = PADDED([sample([5, 6], [8, 9, 7])])
    torch.testing.assert_close(selected_loss(model, batch, num_items_in_batch=6) * 2, selected_loss(model, batch))


tokens = st.integers(3, 360)
questions = st.lists(st.lists(tokens, min_size=1, max_size=6), min_size=2, max_size=5)


@settings(deadline=None, max_examples=25)
@given(
    prefix=st.lists(tokens, min_size=40, max_size=60), asked=questions, answer=st.lists(tokens, min_size=1, max_size=3)
)
def test_conversations_in_one_row_learn_as_they_do_apart(
    model: Any, prefix: list[int], asked: list[list[int]], answer: list[int]
) -> None:
    samples = [sample(prefix + question, answer) for question in asked]
    shared, padded = SHARED(samples), PADDED(samples)
    assert shared["input_ids"].shape[0] == 1
    assert shared["input_ids"].numel() < padded["input_ids"].numel()
    assert shared["tokens"] == padded["tokens"] == sum(len(each["input_ids"]) for each in samples)
    ours, our_gradient = loss_and_gradient(model, selected_loss(model, shared))
    theirs, their_gradient = loss_and_gradient(model, selected_loss(model, padded))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-3, atol=1e-4)


def test_conversations_without_a_common_prefix_are_padded_where_that_is_less_work() -> None:
    samples = [sample([number] * 200, [7]) for number in range(3, 11)]
    assert SHARED(samples)["input_ids"].shape[0] == len(samples)


def test_a_sliding_window_or_an_unknown_architecture_is_not_shared(tiny_base: Path) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(tiny_base)
    assert can_share(config)
    config.layer_types = ["full_attention", "sliding_attention"]
    assert not can_share(config)
    config.layer_types = None
    config.model_type = "mamba"
    assert not can_share(config)
