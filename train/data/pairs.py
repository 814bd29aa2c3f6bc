"""What preference pairs look like: how long both answers are, and which of them is the longer.

Models that learn from pairs whose preferred answers are mostly the longer ones learn to answer at length (Singhal,
Goyal, Xu, Durrett, "A Long Way to Go: Investigating Length Correlations in RLHF", 2023,
https://arxiv.org/abs/2310.03716).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from locum.adapters.conversations import Preference, read_preferences
from locum.train.data.build import DataBuild, load_build, split_file
from locum.train.data.lengths import Lengths
from locum.train.data.split import NAMES

SAMPLES = 5
LEANS = 0.6  # of the pairs


@dataclass(frozen=True)
class Pairs:
    """The preference pairs of a domain, of all splits together."""

    build: DataBuild
    chosen: Lengths
    rejected: Lengths
    chosen_longer: int
    rejected_longer: int
    pairs: int
    wanted: int
    """Single answers that are wanted."""
    unwanted: int
    samples: list[Preference]

    @property
    def told(self) -> str:
        """How many pairs and single answers there are, and which of two answers is the longer, in sentences."""
        single = (
            f"{self.wanted + self.unwanted:,} single answers, {self.wanted:,} of them wanted: "
            "the method kto alone learns from these"
        )
        if not self.pairs:
            return single
        return f"{self._longer}. {single}" if self.wanted + self.unwanted else self._longer

    @property
    def _longer(self) -> str:
        share, other = self.chosen_longer / self.pairs, self.rejected_longer / self.pairs
        found = (
            f"The chosen answer is the longer one in {share:.0%} of {self.pairs:,} pairs, the rejected one in "
            f"{other:.0%} (mean {self.chosen.mean:,.0f} and {self.rejected.mean:,.0f} {self.chosen.unit}s)"
        )
        if share >= LEANS:
            return f"{found}: a model may learn from them to answer at length rather than well"
        if other >= LEANS:
            return f"{found}: a model may learn from them to answer briefly rather than well"
        return f"{found}: length alone does not tell which is preferred"


def look_at_pairs(path: Path, measure: Callable[[Sequence[str]], int], unit: str) -> Pairs:
    """Look at the pairs built in the folder `path`, measured in `unit`s."""
    build = load_build(path)
    chosen, rejected = Lengths(unit), Lengths(unit)
    longer = {"chosen": 0, "rejected": 0}
    paired = wanted = unwanted = 0
    samples: list[Preference] = []
    rows = sum(split.rows for split in build.record.splits.values())
    pairs = (pair for name in NAMES for pair in read_preferences(split_file(path, name)))
    for number, pair in enumerate(pairs):
        if pair.chosen is None or pair.rejected is None:
            wanted, unwanted = wanted + (pair.rejected is None), unwanted + (pair.chosen is None)
            continue
        paired += 1
        lengths = measure([pair.chosen]), measure([pair.rejected])
        chosen.add(lengths[0])
        rejected.add(lengths[1])
        if lengths[0] != lengths[1]:
            longer["chosen" if lengths[0] > lengths[1] else "rejected"] += 1
        if number % max(1, rows // SAMPLES) == 0 and len(samples) < SAMPLES:
            samples.append(pair)
    return Pairs(build, chosen, rejected, longer["chosen"], longer["rejected"], paired, wanted, unwanted, samples)
