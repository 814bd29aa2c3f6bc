"""A trainer of transformers whose steps and measurements do not depend on the number of processes.

Importing this module imports torch: do it inside the function that trains.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from locum.train.order import Order


class _Loader(DataLoader):  # type: ignore[misc]
    """Tells its order which epoch begins."""

    def set_epoch(self, epoch: int) -> None:
        self.batch_sampler.set_epoch(epoch)


class Dealt:
    """Goes before a trainer of transformers in a class's bases.

    The gradient of a step is the mean over the processes, so each of them must have an equal share of the rows.
    """

    def lengths(self, rows: Any) -> list[int]:
        """Lengths of a data set's rows, where those of similar length shall come together."""
        return [0] * len(rows)

    def get_train_dataloader(self) -> Any:
        """This process's share of each step."""
        return self._loader(self.train_dataset, learning=True)  # type: ignore[attr-defined]

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """This process's share of the validation rows."""
        return self._loader(self.eval_dataset, learning=False)  # type: ignore[attr-defined]

    def _loader(self, rows: Any, *, learning: bool) -> Any:
        args: Any = self.args  # type: ignore[attr-defined]
        share = args.per_device_train_batch_size
        order = Order(
            self.lengths(rows),
            share * args.world_size,
            seed=args.seed,
            learning=learning,
            group=share * args.world_size * args.gradient_accumulation_steps if learning else None,
            rank=args.process_index,
            world=args.world_size,
        )
        return _Loader(
            self._remove_unused_columns(rows),  # type: ignore[attr-defined]
            batch_sampler=order,
            collate_fn=self.data_collator,  # type: ignore[attr-defined]
            pin_memory=args.dataloader_pin_memory,
        )

    def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
        """The loss of one validation batch, over all processes."""
        loss, *rest = super().prediction_step(*args, **kwargs)  # type: ignore[misc]
        loss = self.accelerator.reduce(loss, reduction="mean")  # type: ignore[attr-defined]
        self._batch_losses.append(loss)
        return (loss, *rest)

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        """Validation loss, in which each row counts the same."""
        self._batch_losses: list[torch.Tensor] = []
        output = super().evaluation_loop(dataloader, *args, **kwargs)  # type: ignore[misc]
        sizes = torch.tensor(dataloader.batch_sampler.sizes, dtype=torch.float64)
        losses = torch.stack(self._batch_losses).double().cpu()
        output.metrics["eval_loss"] = float((losses * sizes).sum() / sizes.sum())
        return output
