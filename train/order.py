"""Which rows each step learns from: a function of seed and epoch, the same on however many processes.

Importing this module imports torch: do it inside the function that trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class Order(Sampler):  # type: ignore[misc]
    """The batches of an epoch, each of them dealt out among the processes; this is what falls to one of them.

    To learn from, every batch is full: when an epoch runs out of rows, some of them come a second time. To measure
    with, each row comes once, and a last batch that cannot be dealt out evenly falls to each process whole.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        *,
        seed: int,
        learning: bool,
        group: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Rows of similar length come together.

        Args:
            lengths: of all rows.
            batch_size: rows in a batch of all processes together.
            learning: full batches, in another order each epoch.
            group: rows that should be of similar length, where that is more than a batch.
        """
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.learning = learning
        self.group = group or batch_size
        self.rank = rank
        self.world = world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before an epoch begins, or is taken up."""
        self.epoch = epoch if self.learning else 0

    def batches(self) -> list[list[int]]:
        """The batches of the epoch, for all processes together."""
        # Twenty bits an epoch's number: no two pairs of seed and epoch draw alike.
        drawn = torch.Generator().manual_seed((self.seed << 20) + self.epoch)
        rows = get_length_grouped_indices(self.lengths, self.group, generator=drawn)
        while self.learning and len(rows) % self.batch_size:
            again = torch.randperm(len(self.lengths), generator=drawn).tolist()
            rows += again[: self.batch_size - len(rows) % self.batch_size]
        return [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]

    @property
    def sizes(self) -> list[int]:
        """Rows in each batch, for all processes together."""
        return [len(batch) for batch in self.batches()]

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches():
            # Neighbours are of similar length: in turns, each process has as much to do.
            yield batch if len(batch) % self.world else batch[self.rank :: self.world]

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)
