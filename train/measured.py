"""How fast a trainer is: the tokens it was shown, and the seconds that its steps took."""

from __future__ import annotations

import time
from typing import Any


class Measured:
    """Goes before a trainer of transformers in a class's bases."""

    tokens = 0
    """Tokens that this process trained on, prompts included, without padding."""
    step_seconds = 0.0
    _logged = (0, 0.0)

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """One step of the trainer, with its tokens and seconds counted."""
        started = time.monotonic()
        tokens = self.count(inputs)
        loss = super().training_step(model, inputs, *args, **kwargs)  # type: ignore[misc]
        self.tokens += tokens
        self.step_seconds += time.monotonic() - started
        return loss

    def all_tokens(self) -> int:
        """Tokens that all processes trained on."""
        import torch

        tokens = torch.tensor(self.tokens, device=self.args.device)  # type: ignore[attr-defined]
        return int(self.accelerator.reduce(tokens, reduction="sum"))  # type: ignore[attr-defined]

    def count(self, inputs: Any) -> int:
        """Tokens of a batch."""
        masks = [mask for name, mask in inputs.items() if name.endswith("attention_mask") and "prompt" not in name]
        return sum(int(mask.sum()) for mask in masks)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Tell all that listen, with the speed of the steps since the last time."""
        tokens, seconds = self.tokens - self._logged[0], self.step_seconds - self._logged[1]
        if "loss" in logs and seconds:
            logs["tokens_per_second"] = round(tokens / seconds, 1)
            self._logged = (self.tokens, self.step_seconds)
        super().log(logs, *args, **kwargs)  # type: ignore[misc]
