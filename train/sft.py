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
from locum.train.dealt import Dealt
from locum.train.measured import Measured
from locum.train.template import IGNORED, Tokens


class AnswerTrainer(Measured, Dealt, SFTTrainer):  # type: ignore[misc]
    """Trains on answers that are short beside their prompts."""

    def __init__(self, *args: Any, length_grouped: bool | None = None, **kwargs: Any) -> None:
        """`length_grouped` as in the recipe; none leaves it to whether rows share one."""
        super().__init__(*args, **kwargs)
        self.length_grouped = not self.data_collator.share if length_grouped is None else length_grouped
        # TRL selects the labelled positions by itself on GPUs only: elsewhere it computes the logits of the whole
        # vocabulary for every token of the prompt.
        whole = self.model
        plain = whole.get_base_model() if hasattr(whole, "get_base_model") else whole
        virtual = getattr(whole, "active_peft_config", None) is not None and whole.active_peft_config.is_prompt_learning
        self.selects = self.args.device.type == "cpu" and not virtual and has_plain_logits(plain.config)
        if self.selects:
            _give_selected_loss(plain)

    def lengths(self, rows: Any) -> list[int]:
        """Tokens of each row, where those of like length shall come together."""
        return [len(ids) if self.length_grouped else 0 for ids in rows["input_ids"]]

    def count(self, inputs: Any) -> int:
        """Tokens of a batch, as the collator counted them."""
        return int(inputs["tokens"])

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        inputs.pop("tokens")
        if num_items_in_batch is None:  # when measuring
            num_items_in_batch = self.accelerator.reduce((inputs["labels"][:, 1:] != IGNORED).sum(), reduction="sum")
        if not self.selects:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        # Through the model as it is called, so that whatever is wrapped around it sees the call.
        loss = model(**inputs, num_items_in_batch=num_items_in_batch).loss
        loss = loss * self.accelerator.num_processes  # over whose gradients the mean is taken
        return (loss, {"loss": loss}) if return_outputs else loss


def _give_selected_loss(model: Any) -> None:
    """Where there are labels, the model's answer is `selected_loss` and nothing else."""
    from transformers.modeling_outputs import CausalLMOutput

    answer = model.forward

    def forward(*args: Any, labels: Any = None, num_items_in_batch: Any = None, **inputs: Any) -> Any:
        if labels is None:
            return answer(*args, **inputs)
        return CausalLMOutput(loss=selected_loss(model, {**inputs, "labels": labels}, num_items_in_batch))

    model.forward = forward


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
