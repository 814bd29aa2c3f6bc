"""How long texts are, counted as they come."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Lengths:
    """How long texts are, in `unit`s: how many are up to each power of two, and the extremes."""

    unit: str
    counts: Counter[int] = field(default_factory=Counter)
    total: int = 0
    longest: int = 0

    def add(self, length: int) -> None:
        self.counts[max(1, 1 << (length - 1).bit_length())] += 1
        self.total += length
        self.longest = max(self.longest, length)

    @property
    def mean(self) -> float:
        return self.total / max(1, self.counts.total())

    @property
    def bars(self) -> list[tuple[str, int, float]]:
        """For each power of two from the least to the greatest: its name, the rows, and their share of the most."""
        if not self.counts:
            return []
        most = max(self.counts.values())
        up_to = [1 << power for power in range(min(self.counts).bit_length() - 1, max(self.counts).bit_length())]
        return [(f"≤ {limit:,}", self.counts[limit], 100 * self.counts[limit] / most) for limit in up_to]
