"""Batches: the conversations of a batch in one row, their common prefix only once.

The conversations of a domain begin with the same system prompt, often most of their tokens. A block mask keeps them
apart and positions restart behind the prefix, so each token sees exactly what it would see alone: loss and gradients
are the same, for a fraction of the tokens.

Importing this module imports torch: do it inside the function that trains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from locum.adapters.recipe import VIRTUAL, TrainingRecipe
from locum.train.template import IGNORED

# Settings of models whose logits are more than the output layer's product; TRL knows how to treat each.
_SCALED_LOGITS = (
    "final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling",
    "output_router_logits", "num_local_experts", "num_experts",
)  # fmt: skip
# Models whose attention depends on mask and positions alone.
_SHARING = {"llama", "mistral", "qwen2", "qwen3"}


def collator(recipe: TrainingRecipe, tokenizer: Any, config: Any, *, gpu: bool) -> Collator:
    """What makes the batches of a training on conversations.

    Args:
        config: the base model's, of the text part where it has several.
    """
    # Only where our own loss is in force: TRL's counts tokens by the mask, and kernels of GPUs want no block mask.
    # Noise on the embeddings is measured by the length of a row, so that each row must be one conversation.
    plain = not gpu and recipe.method not in VIRTUAL and recipe.neftune is None and has_plain_logits(config)
    return Collator(
        pad_token_id=tokenizer.pad_token_id or 0,
        hidden_size=config.hidden_size,
        share=plain and can_share(config),
    )


def has_plain_logits(config: Any) -> bool:
    """Whether a model's logits are the output layer's product and nothing more."""
    return not any(getattr(config.get_text_config(), name, None) for name in _SCALED_LOGITS)


def can_share(config: Any) -> bool:
    """Whether a model computes the same with several conversations in one row: no sliding window, no recurrence."""
    layers = getattr(config, "layer_types", None) or ["full_attention"]
    window = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    return config.model_type in _SHARING and set(layers) == {"full_attention"} and not window


@dataclass(frozen=True)
class Collator:
    """Makes a batch of samples with `input_ids` and `labels`, in one row where that is less work than padding.

    The batch's `tokens` counts the tokens of the samples as they are alone.
    """

    pad_token_id: int
    hidden_size: int
    share: bool

    def __call__(self, samples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        lengths = [len(sample["input_ids"]) for sample in samples]
        prefix = _common_prefix(samples)
        one_row = prefix + sum(length - prefix for length in lengths)
        shared = self.share and self._work(one_row, one_row) < self._work(len(samples) * max(lengths), max(lengths))
        batch = _in_one_row(samples, prefix) if shared else self._padded(samples, max(lengths))
        return {**batch, "tokens": torch.tensor(sum(lengths))}

    def _work(self, tokens: int, row: int) -> int:
        """What a layer costs, up to a factor: matrices 24 h² a token, attention 4 h a token and place in its row."""
        return tokens * (6 * self.hidden_size + row)

    def _padded(self, samples: list[dict[str, list[int]]], length: int) -> dict[str, torch.Tensor]:
        def padded(values: list[list[int]], filler: int) -> torch.Tensor:
            return torch.tensor([value + [filler] * (length - len(value)) for value in values])

        return {
            "input_ids": padded([sample["input_ids"] for sample in samples], self.pad_token_id),
            "labels": padded([sample["labels"] for sample in samples], IGNORED),
            "attention_mask": padded([[1] * len(sample["input_ids"]) for sample in samples], 0),
        }


def _common_prefix(samples: list[dict[str, list[int]]]) -> int:
    """Number of tokens that all samples begin with, short of the token before the first that is learnt in any.

    That one predicts what is learnt, in each sample something else, so each sample needs its own.
    """
    first_learnt = min(next(i for i, label in enumerate(s["labels"]) if label != IGNORED) for s in samples)
    prefix = 0
    for column in zip(*(sample["input_ids"][: max(0, first_learnt - 1)] for sample in samples), strict=False):
        if len(set(column)) > 1:
            break
        prefix += 1
    return prefix


def _in_one_row(samples: list[dict[str, list[int]]], prefix: int) -> dict[str, torch.Tensor]:
    ids, labels = list(samples[0]["input_ids"][:prefix]), [IGNORED] * prefix
    positions, owner = list(range(prefix)), [0] * prefix
    for number, sample in enumerate(samples, start=1):
        own = len(sample["input_ids"]) - prefix
        ids += sample["input_ids"][prefix:]
        labels += sample["labels"][prefix:]
        positions += range(prefix, prefix + own)
        owner += [number] * own
    owners = torch.tensor(owner)
    seen = (owners[:, None] == owners[None, :]) | (owners[None, :] == 0)
    return {
        "input_ids": torch.tensor([ids]),
        "labels": torch.tensor([labels]),
        "position_ids": torch.tensor([positions]),
        "attention_mask": (seen & torch.ones_like(seen).tril())[None, None],
    }
