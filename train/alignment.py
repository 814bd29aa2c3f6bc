"""Alignment on preference pairs by TRL's trainers, over token ids that Locum made.

TRL renders and tokenises by itself; what is learnt here must be exactly what a server shows.

Sources: DPO (Rafailov et al., 2023, https://arxiv.org/abs/2305.18290), ORPO (Hong et al., 2024,
https://arxiv.org/abs/2403.07691), KTO (Ethayarajh et al., 2024, https://arxiv.org/abs/2402.01306).

Importing this module imports torch and TRL: do it inside the function that trains.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # ORPO is among TRL's experimental parts

from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from locum.train.dealt import Dealt
from locum.train.measured import Measured
from locum.train.template import IGNORED, PairTokens


class PairDPO(Measured, Dealt, DPOTrainer):  # type: ignore[misc]
    """Direct preference optimisation. The reference is the start, or the base model where there is none."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


class PairKTO(Measured, Dealt, KTOTrainer):  # type: ignore[misc]
    """Kahneman-Tversky optimisation, with each pair as one wanted and one unwanted answer."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


class PairORPO(Measured, Dealt, ORPOTrainer):  # type: ignore[misc]
    """Odds ratio preference optimisation: cross-entropy of the chosen answer and odds against the rejected one."""

    def tokenize_row(self, feature: dict[str, list[int]], model: Any = None) -> dict[str, list[int]]:
        """The row in the columns that ORPO's collator reads."""
        prompt = feature["prompt_ids"]
        row = {"prompt_input_ids": prompt, "prompt_attention_mask": [1] * len(prompt)}
        for side in ("chosen", "rejected"):
            answer = feature[f"{side}_ids"]
            row[f"{side}_input_ids"] = prompt + answer
            row[f"{side}_attention_mask"] = [1] * (len(prompt) + len(answer))
            row[f"{side}_labels"] = [IGNORED] * len(prompt) + answer
        return row


TRAINERS = {"dpo": (PairDPO, DPOConfig), "kto": (PairKTO, KTOConfig), "orpo": (PairORPO, ORPOConfig)}


def pair_dataset(pairs: Sequence[PairTokens], method: str) -> Any:
    """Pairs as the `datasets` library holds them, in the columns that the method's trainer reads."""
    from datasets import Dataset

    return Dataset.from_list(_unpaired(pairs) if method == "kto" else [asdict(pair) for pair in pairs])


def _unpaired(pairs: Sequence[PairTokens]) -> list[dict[str, Any]]:
    """A row for each answer; the KL term compares with the answer to another prompt, that of the row before."""
    rows = [(pair.prompt_ids, pair.chosen_ids, True) for pair in pairs if pair.chosen_ids]
    rows += [(pair.prompt_ids, pair.rejected_ids, False) for pair in pairs if pair.rejected_ids]
    return [
        {
            "prompt_ids": prompt,
            "completion_ids": answer,
            "label": wanted,
            "KL_completion_ids": rows[place - 1][1],
        }
        for place, (prompt, answer, wanted) in enumerate(rows)
    ]
