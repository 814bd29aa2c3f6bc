"""Samples that belong together: which, and how much a sum over them varies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import float64, intp
    from numpy.typing import NDArray


def labels_of(groups: Sequence[str] | None, count: int) -> NDArray[intp]:
    """The number of each sample's group, from 0; without groups each of the `count` samples has its own."""
    import numpy as np

    return np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]


def variance_of_sum(values: NDArray[float64], labels: NDArray[intp]) -> float:
    """The estimated variance of the sum of all values, when whole groups are what is independent.

    The sum over groups of (sum of the deviations from the mean)², times G / (G - 1): the cluster-robust variance of
    Miller (2024, arXiv:2411.00640, section 2.2) with the usual correction for few groups (Cameron & Miller 2015). With
    each sample in its own group it is n times the sample variance. There must be two groups.
    """
    return variance_around_zero(values - values.mean(), labels)


def variance_around_zero(deviations: NDArray[float64], labels: NDArray[intp]) -> float:
    """The same of deviations from a mean that is known already."""
    import numpy as np

    count = int(labels.max()) + 1
    return float(np.sum(np.bincount(labels, weights=deviations) ** 2)) * count / (count - 1)
