"""When two texts are nearly the same: what the data that a domain learns from and the suites that test it both ask.

A text is the set of its runs of three words (of Chinese, of three characters); two texts are as similar as these sets
are, by Jaccard. Source: Broder, "On the resemblance and containment of documents" (1997).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from locum.adapters.conversations import normalise

RUN = 3
FEWEST = 8  # runs; of a shorter text each word is too large a part of it
_WORD = re.compile(r"[぀-ヿ㐀-鿿豈-﫿]|[^\W_぀-ヿ㐀-鿿豈-﫿]+")


def runs(text: str) -> frozenset[str]:
    """All runs of three words of a text, without case and punctuation."""
    words = _WORD.findall(normalise(text))
    return frozenset(map(" ".join, zip(*(words[start:] for start in range(RUN)), strict=False)))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Size of the intersection over that of the union; 0 when both are empty."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if one or other else 0.0


@dataclass(frozen=True)
class Like:
    """The place of a text in an index, and how similar it is to the one that was looked up, from 0 to 1."""

    place: int
    similarity: float


class LikenessIndex:
    """A few thousand texts, in which those that are nearly the same as any other text are found, none missed.

    Two sets of similarity t share at least one of the rarest |A| - ceil(t · |A|) + 1 members of each, so only these are
    looked up, and the sets decide. Source: Chaudhuri, Ganti, Kaushik, "A primitive operator for similarity joins in
    data cleaning" (2006): prefix filtering. Texts with fewer than `FEWEST` runs are like none.
    """

    def __init__(self, texts: Sequence[str], *, threshold: float) -> None:
        self.threshold = threshold
        self._sets = [runs(text) for text in texts]
        often = Counter(run for found in self._sets for run in found)
        self._places: dict[str, list[int]] = {}
        for place, found in enumerate(self._sets):
            for run in self._rarest(found, often):
                self._places.setdefault(run, []).append(place)

    def like(self, text: str) -> Iterator[Like]:
        """The texts of the index that are at least as similar to `text` as the threshold, by place."""
        found = runs(text)
        if len(found) < FEWEST:
            return
        for place in sorted({place for run in found for place in self._places.get(run, ())}):
            similarity = jaccard(found, self._sets[place])
            if similarity >= self.threshold:
                yield Like(place, similarity)

    def _rarest(self, found: frozenset[str], often: Mapping[str, int]) -> list[str]:
        if len(found) < FEWEST:
            return []
        count = len(found) - math.ceil(self.threshold * len(found) - 1e-9) + 1
        return sorted(found, key=lambda run: (often[run], run))[:count]
