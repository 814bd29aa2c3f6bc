"""How sure a mean score is, and a difference of two: the bootstrap.

The interval is the percentile interval of Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13,
expanded as Hesterberg, "What Teachers Should Know About the Bootstrap" (2015), says for few groups. Whole groups of
samples are drawn, not single samples, because the samples of one group (the wordings of one code) are not independent:
the clusters of Miller, "Adding Error Bars to Evals" (2024, arXiv:2411.00640), section 2.2. Without groups every sample
is its own, and this is the ordinary bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, WithJsonSchema

from locum.errors import BadInputError
from locum.evaluate.groups import labels_of

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

RESAMPLES = 10_000
SEED = 0
_DRAWS_AT_ONCE = 1 << 22  # bounds the memory of one round to some 100 MB, whatever the number of samples


# An interval of a metric without an upper end may have none; JSON knows no infinite number.
End = Annotated[
    float, WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": ["Infinity", "-Infinity"]}], "title": "End"})
]


@dataclass(frozen=True)
class Estimate:
    """A mean with both ends of its confidence interval, all in the unit of the scores."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    mean: float
    low: End
    high: End

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean_estimate(
    scores: Sequence[float],
    *,
    groups: Sequence[str] | None = None,
    confidence: float,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    """Mean of scores with its bootstrap interval.

    Args:
        groups: for each score the group it belongs to; none means that each stands alone.
        confidence: the share of intervals that shall hold the true mean, such as 0.95.

    Returns:
        The mean of all scores, each weighing the same. Too few groups say nothing about spread (`enough_groups`): the
        interval is then `bounds`, the range of the scores. If all scores are equal the interval has no width, since a
        resample can be nothing else.

    Raises:
        BadInputError: there is no score.
    """
    return _bootstrap(scores, groups, confidence, bounds=bounds)


def difference_estimate(
    scores: Sequence[float],
    against: Sequence[float],
    *,
    groups: Sequence[str] | None = None,
    confidence: float,
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> Estimate:
    """Mean of the paired differences `scores - against` with its bootstrap interval.

    Pairing keeps a sample's difficulty out of the interval: both models met the same sample. Swapping the two models
    negates the estimate and swaps its ends, and a model against itself gives [0, 0].

    Returns:
        As `mean_estimate`; `bounds` is the range of the differences.

    Raises:
        BadInputError: there is no pair, or the two have different lengths.
    """
    if len(scores) != len(against):
        raise BadInputError(f"paired scores must be of one length, found {len(scores)} and {len(against)}")
    differences = [ours - theirs for ours, theirs in zip(scores, against, strict=True)]
    return _bootstrap(differences, groups, confidence, bounds=bounds)


def _bootstrap(
    values: Sequence[float], groups: Sequence[str] | None, confidence: float, *, bounds: tuple[float, float]
) -> Estimate:
    import numpy as np

    if not values:
        raise BadInputError("there are no scores to take a mean of")
    mean = float(np.mean(values))
    labels = labels_of(groups, len(values))
    counts = np.bincount(labels)
    if not enough_groups(len(counts), confidence):
        return Estimate(mean, *bounds)
    means = _resampled_means(np.bincount(labels, weights=values).astype(np.float64), counts.astype(np.float64))
    tail = _expanded_tail(len(counts), confidence)
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(mean, float(low), float(high))


def enough_groups(groups: int, confidence: float) -> bool:
    """Whether so many groups can show anything: chance puts all on one side of the truth in 2 × 0.5^groups.

    A resample never leaves the groups' range, so no bootstrap interval of fewer holds the truth as often as it says.
    """
    return groups > 1 and 2.0 ** (1 - groups) <= 1 - confidence + 1e-12


def _expanded_tail(groups: int, confidence: float) -> float:
    """What to cut off at each end: a little less than (1 - confidence) / 2, as resamples of few groups vary too little.

    Hesterberg's (2015) expanded percentile: Φ(-√(n / (n - 1)) × Student's quantile with n - 1 degrees of freedom).
    """
    from scipy.special import ndtr, stdtrit

    return float(ndtr(math.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, (1 - confidence) / 2)))


def _resampled_means(sums: NDArray[float64], counts: NDArray[float64]) -> NDArray[float64]:
    """The mean of each resample: as many groups as there are, drawn with replacement."""
    import numpy as np

    random = np.random.default_rng(SEED)
    size = len(sums)
    rounds = range(0, RESAMPLES, max(1, _DRAWS_AT_ONCE // size))
    drawn = (
        random.integers(0, size, size=(min(RESAMPLES - start, rounds.step), size), dtype=np.int32) for start in rounds
    )
    return np.concatenate([sums[draw].sum(axis=1) / counts[draw].sum(axis=1) for draw in drawn])
