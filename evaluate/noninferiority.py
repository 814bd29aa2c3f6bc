"""How much worse than another model a version may be: one-sided bounds of a paired difference.

Non-inferiority turns the burden of proof round. Not "no loss was found", which too few samples always give, but "a
loss of more than the margin is ruled out": the lower one-sided bound of the difference lies above minus the margin.
Piaggio, Elbourne, Pocock, Evans & Altman, "Reporting of Noninferiority and Equivalence Randomized Trials: Extension of
the CONSORT 2010 Statement" (2012), figure 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from locum.errors import BadInputError
from locum.evaluate.groups import labels_of, variance_around_zero, variance_of_sum

if TYPE_CHECKING:
    from numpy import float64, intp
    from numpy.typing import NDArray

_IMAGINED_GROUPS = 0.125  # keeps the error rate with few groups; benchmarks/gate.py shows by how much
_EQUAL = 1e-9  # differences smaller than this are rounding


@dataclass(frozen=True)
class Change:
    """The version minus one other model on the same samples, turned so that positive is better.

    `low` and `high` are one-sided bounds: each holds by itself with the confidence asked for. They are infinite where
    all samples belong to one group. `error` is the standard error that the lower one amounts to.
    """

    name: str
    samples: int
    groups: int
    mean: float
    low: float
    high: float
    error: float


def change_from(
    name: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    groups: Sequence[str] | None = None,
    confidence: float,
    higher_is_better: bool = True,
) -> Change:
    """The change from the model called `name` to ours, with one-sided bounds.

    Scores of 0 and 1: the score interval of Tango, "Equivalence test and confidence interval for the difference in
    proportions for the paired-sample design" (1998). It is made for this question, and does not take few or no
    differing samples for certainty. Where samples share groups, counts are divided by the design effect found (Rao &
    Scott, "A Simple Method for the Analysis of Clustered Binary Data", 1992) and the normal quantile becomes Student's.
    Where no sample was won, the lower bound is at most the exact one for the share lost (Clopper & Pearson, "The Use of
    Confidence or Fiducial Limits", 1934), and likewise the upper one: a score interval promises too much there.

    Anything else: mean ± t × standard error over groups (Miller 2024, arXiv:2411.00640, sections 2.2 and 4.2), wider on
    the side to which differences are skewed: many small gains and few large losses are typical, and Student's bound
    is then too high. The correction is the first term of Hall, "Inverting an Edgeworth Expansion" (1983). Where no
    sample was won, the exact bound for the share lost holds here too, each counted as much as the worst of them.

    Student's t has one degree of freedom less than groups, as Cameron & Miller, "A Practitioner's Guide to
    Cluster-Robust Inference" (2015), advise where there are few.

    Args:
        groups: for each sample what it belongs to; none means that each stands alone.
        confidence: of each bound by itself, such as 0.95.
        higher_is_better: false turns the difference round.

    Raises:
        BadInputError: there is no pair, or the two have different lengths.
    """
    import numpy as np

    if len(ours) != len(theirs) or not len(ours):
        raise BadInputError(f"a paired difference needs as many scores of each, found {len(ours)} and {len(theirs)}")
    if not higher_is_better:
        ours, theirs = theirs, ours
    differences = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    labels = labels_of(groups, len(differences))
    total, count, mean = len(differences), int(labels.max()) + 1, float(differences.mean())
    if count < 2:
        return Change(name, total, count, mean, -math.inf, math.inf, math.inf)
    effect = _design_effect(differences, labels) if count < total else 1.0
    won, lost = (float(np.sum(sign * differences > _EQUAL)) / effect for sign in (1, -1))
    if set(ours) | set(theirs) <= {0.0, 1.0}:
        quantile = _student(confidence, count - 1) if count < total else NormalDist().inv_cdf(confidence)
        low, high = _tango_bounds(won, lost, total / effect, quantile)
    else:
        quantile = _student(confidence, count - 1)
        low, high = _skewed_bounds(differences, labels, quantile)
    largest = float(np.abs(differences).max()) or 1.0
    if not won:
        low = min(low, -largest * _exact_share(lost, total / effect, confidence))
    if not lost:
        high = max(high, largest * _exact_share(won, total / effect, confidence))
    return Change(name, total, count, mean, low, high, (mean - low) / quantile)


def _design_effect(differences: NDArray[float64], labels: NDArray[intp]) -> float:
    """By how much groups inflate the variance of the mean: at least 1, at most the size of a sample's group.

    It is 1 + (size of a sample's group - 1) × correlation (Kish 1965). Only groups of two or more tell the correlation:
    many samples that stand alone would hide that a few large groups differ as one. And where few samples differ, chance
    may put each into a group of its own, so a small part of a group that differs as one is imagined to be there.
    """
    import numpy as np

    sizes = np.bincount(labels)
    shared = sizes[labels] > 1
    inside = float(np.sum(sizes[sizes > 1] ** 2) / np.sum(shared))
    apart = np.where(shared, differences - differences.mean(), 0.0)
    over_groups, over_samples = (variance_around_zero(apart, each) for each in (labels, np.arange(len(labels))))
    found = (over_groups + _IMAGINED_GROUPS * inside**2) / (over_samples + _IMAGINED_GROUPS * inside)
    correlation = min(max(0.0, (found - 1) / (inside - 1)), 1.0)
    return 1 + (float(np.sum(sizes**2)) / len(labels) - 1) * correlation


def _skewed_bounds(differences: NDArray[float64], labels: NDArray[intp], quantile: float) -> tuple[float, float]:
    """mean ± (quantile + g (2 quantile² + 1) / 6) standard errors, g the skewness of the mean towards that side.

    Hall's correction would narrow the other side by as much. That is left out: few samples tell skewness badly.
    """
    import numpy as np

    mean, total = differences.mean(), len(differences)
    apart = np.bincount(labels, weights=differences - mean)
    error = math.sqrt(variance_of_sum(differences, labels)) / total
    skewness = float(np.sum(apart**3)) / (total * error) ** 3 if error else 0.0
    below, above = (quantile + max(0.0, side * skewness) * (2 * quantile**2 + 1) / 6 for side in (-1, 1))
    return float(mean - below * error), float(mean + above * error)


def _tango_bounds(won: float, lost: float, total: float, quantile: float) -> tuple[float, float]:
    """The differences that Tango's score statistic puts `quantile` standard errors below and above the one found."""
    found = (won - lost) / total

    def crossing(below: float, above: float, score: float) -> float:
        for _ in range(45):
            middle = (below + above) / 2
            if _tango_score(won, lost, total, middle) > score:
                below = middle
            else:
                above = middle
        return (below + above) / 2

    return crossing(-1.0, found, quantile), crossing(found, 1.0, -quantile)


def _tango_score(won: float, lost: float, total: float, difference: float) -> float:
    """Standard errors by which the difference found exceeds `difference`, were that the true one; falls with it.

    The share of samples that only theirs get right is taken as most likely given `difference` (Tango 1998, section 3).
    """
    a = 2 * total
    b = -won - lost + (2 * total - won + lost) * difference
    c = -lost * difference * (1 - difference)
    share = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = total * (2 * share + difference * (1 - difference))
    distance = won - lost - total * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _exact_share(count: float, total: float, confidence: float) -> float:
    """The upper bound of Clopper & Pearson (1934) for a share of which `count` of `total` were found."""
    from scipy.special import betaincinv

    return float(betaincinv(count + 1, total - count, confidence)) if count < total else 1.0


def _student(confidence: float, freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, confidence))
