"""TRL's SFTTrainer, with the output layer computed only where there is something to learn.

Importing this module imports torch and TRL: do it inside the function that trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from trl import SFTTrainer

from locum.train.batch import has_plain_logits
from locum.train.measured import Measured
from locum.train.template import IGNORED, Tokens


class AnswerTrainer(Measured, SFTTrainer):  # type: ignore[misc]
    """Trains on answers that are short beside their prompts."""

    def count(self, inputs: Any) -> int:
        """Tokens of a batch, as the collator counted them."""
        return int(inputs["tokens"])

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        inputs.pop("tokens")
        # TRL selects the labelled positions by itself on GPUs only: elsewhere it computes the logits of the whole
        # vocabulary for every token of the prompt.
        whole = self.accelerator.unwrap_model(model)
        plain = whole.get_base_model() if hasattr(whole, "get_base_model") else whole
        virtual = getattr(whole, "active_peft_config", None) is not None and whole.active_peft_config.is_prompt_learning
        if self.args.device.type != "cpu" or virtual or not has_plain_logits(plain.config):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss = selected_loss(plain, inputs, num_items_in_batch)
        return (loss, {"loss": loss}) if return_outputs else loss


def selected_loss(model: Any, inputs: dict[str, torch.Tensor], num_items_in_batch: Any = None) -> torch.Tensor:
    """Cross-entropy over the labelled positions: the sum over `num_items_in_batch`, else the mean, in nats."""
    seen = {name: inputs[name] for name in ("input_ids", "attention_mask", "position_ids") if name in inputs}
    hidden = model.base_model(**seen, use_cache=False).last_hidden_state[:, :-1]
    labels = inputs["labels"][:, 1:]
    chosen = labels != IGNORED
    logits = model.get_output_embeddings()(hidden[chosen]).float()
    total = cross_entropy(logits, labels[chosen], reduction="sum")
    count = chosen.sum() if num_items_in_batch is None else torch.as_tensor(num_items_in_batch)
    return total / count.clamp(min=1)


def dataset(rows: Sequence[Tokens]) -> Any:
    """Rows as the `datasets` library holds them, in memory."""
    from datasets import Dataset

    return Dataset.from_dict({"input_ids": [row.input_ids for row in rows], "labels": [row.labels for row in rows]})
