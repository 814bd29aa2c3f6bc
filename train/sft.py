"""TRL's SFTTrainer, with the output layer computed only where there is something to learn.

Importing this module imports torch and TRL: do it inside the function that trains.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from trl import SFTTrainer

from locum.train.template import IGNORED, Tokens

# Settings of models whose logits are more than the output layer's product; TRL knows how to treat each.
_SCALED_LOGITS = (
    "final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling",
    "output_router_logits", "num_local_experts", "num_experts",
)  # fmt: skip


class AnswerTrainer(SFTTrainer):  # type: ignore[misc]
    """Trains on answers that are short beside their prompts; measures tokens and the seconds that steps take."""

    tokens = 0
    """Tokens that were trained on, prompts included, without padding."""
    step_seconds = 0.0

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        started = time.monotonic()
        loss: torch.Tensor = super().training_step(model, inputs, *args, **kwargs)
        self.tokens += int(inputs["attention_mask"].sum())
        self.step_seconds += time.monotonic() - started
        return loss

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        # TRL selects the labelled positions by itself on GPUs only: elsewhere it computes the logits of the whole
        # vocabulary for every token of the prompt.
        plain = self.accelerator.unwrap_model(model).get_base_model()
        config = plain.config.get_text_config()
        scaled = any(getattr(config, name, None) for name in _SCALED_LOGITS)
        if return_outputs or scaled or self.args.device.type != "cpu":
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return selected_loss(plain, inputs, num_items_in_batch)


def selected_loss(model: Any, inputs: dict[str, torch.Tensor], num_items_in_batch: Any = None) -> torch.Tensor:
    """Cross-entropy over the labelled positions: the sum over `num_items_in_batch`, else the mean, in nats."""
    hidden = model.base_model(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
    ).last_hidden_state[:, :-1]
    labels = inputs["labels"][:, 1:]
    chosen = labels != IGNORED
    logits = model.get_output_embeddings()(hidden[chosen]).float()
    total = cross_entropy(logits, labels[chosen], reduction="sum")
    count = chosen.sum() if num_items_in_batch is None else torch.as_tensor(num_items_in_batch)
    return total / count.clamp(min=1)


class Padding:
    """Makes a batch: all rows as long as its longest."""

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)

        def padded(values: list[list[int]], filler: int) -> torch.Tensor:
            return torch.tensor([value + [filler] * (longest - len(value)) for value in values])

        return {
            "input_ids": padded([row["input_ids"] for row in rows], self.pad_token_id),
            "attention_mask": padded([[1] * len(row["input_ids"]) for row in rows], 0),
            "labels": padded([row["labels"] for row in rows], IGNORED),
        }


def dataset(rows: list[Tokens]) -> Any:
    """Rows as the `datasets` library holds them, in memory."""
    from datasets import Dataset

    return Dataset.from_dict({"input_ids": [row.input_ids for row in rows], "labels": [row.labels for row in rows]})
