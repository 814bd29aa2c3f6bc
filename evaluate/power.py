"""How many samples a suite needs, and what a suite of a given size can show.

All formulas are normal approximations for the mean of paired differences: n samples with standard deviation sd have a
standard error of sd × sqrt(design effect / n). A *gain* is asked two-sided, as the gate asks whether a version is
better than the base model; a *margin* one-sided, as it asks whether it is no worse than production. `confidence` and
`power` are shares such as 0.95 and 0.8: how often a difference that is not there stays unseen, and one that is there is
seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from locum.errors import BadInputError
from locum.evaluate.groups import labels_of, variance_of_sum

CONFIDENCE, POWER = 0.95, 0.8


@dataclass(frozen=True)
class Spread:
    """How much the difference between two models varies from sample to sample.

    `sd` is the root mean square of the differences. For scores of 0 and 1 (`binary`) it is the square root of the
    *discordance*, the share of samples that exactly one of the two gets right; then a difference d of the means takes
    d² off the variance. `design_effect` is by how much shared groups inflate the variance of the mean; 1 without.
    """

    sd: float
    binary: bool = False
    design_effect: float = 1.0

    @classmethod
    def of_discordance(cls, share: float, *, design_effect: float = 1.0) -> Spread:
        """Two models of which exactly one is right on this share of the samples."""
        return cls(math.sqrt(share), binary=True, design_effect=design_effect)

    def error(self, samples: float, difference: float = 0.0) -> float:
        """Standard error of the mean difference."""
        variance = self.sd**2 - difference**2 if self.binary else self.sd**2
        return math.sqrt(self.design_effect * max(0.0, variance) / samples)


def observed_spread(ours: Sequence[float], theirs: Sequence[float], *, groups: Sequence[str] | None = None) -> Spread:
    """The spread that an earlier evaluation found; its design effect is at least 1.

    The design effect is the variance of the mean over groups, as Miller (2024, arXiv:2411.00640) takes it, divided by
    that over samples.

    Raises:
        BadInputError: there are fewer than two pairs or two groups, or the two have different lengths.
    """
    import numpy as np

    if len(ours) != len(theirs):
        raise BadInputError(f"paired scores must be of one length, found {len(ours)} and {len(theirs)}")
    labels = labels_of(groups, len(ours))
    count = len(set(labels.tolist()))
    if count < 2:
        raise BadInputError(f"spread needs at least two independent samples or groups, found {count}")
    differences = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    over_groups, over_samples = (variance_of_sum(differences, each) for each in (labels, np.arange(len(ours))))
    binary = set(ours) | set(theirs) <= {0.0, 1.0}
    sd = float(np.sqrt(np.mean(differences**2))) if binary else float(np.std(differences, ddof=1))
    return Spread(sd, binary=binary, design_effect=max(1.0, over_groups / over_samples) if over_samples else 1.0)


def design_effect(group_sizes: Sequence[int], correlation: float) -> float:
    """By how much groups inflate the variance of a mean: 1 + (m - 1) × correlation.

    m is the size of the group that a sample finds itself in on average, sum of squares over sum: Kish, "Survey
    Sampling" (1965); for unequal sizes Donner & Klar, "Design and Analysis of Cluster Randomization Trials" (2000).
    The correlation is that of two samples of one group, from 0 (as good as independent) to 1 (copies).

    Raises:
        BadInputError: there is no group.
    """
    if not group_sizes:
        raise BadInputError("a design effect needs the sizes of the groups, found none")
    return 1 + (sum(size**2 for size in group_sizes) / sum(group_sizes) - 1) * correlation


def samples_needed(difference: float, spread: Spread, *, confidence: float = CONFIDENCE, power: float = POWER) -> int:
    """Samples by which a gain of `difference` is told from none.

    n = ((z(1 - α/2) × sd₀ + z(power) × sd₁) / difference)² × design effect, where sd₀ and sd₁ are the standard
    deviations without and with the difference: for scores of 0 and 1 Connor, "Sample size for testing differences in
    proportions for the paired-sample design" (1987); else Chow, Shao & Wang, "Sample Size Calculations in Clinical
    Research" (2nd ed., 2008), section 3.1.

    Raises:
        BadInputError: the difference is 0, or larger than the discordance.
    """
    if not difference or (spread.binary and abs(difference) > spread.sd**2 + 1e-12):
        most = f" and at most {spread.sd**2:.3f}, the share of samples on which the two differ" if spread.binary else ""
        raise BadInputError(f"the difference to show must not be 0{most}, found {difference:g}")
    normal = NormalDist()
    reach = normal.inv_cdf((1 + confidence) / 2) * spread.error(1) + normal.inv_cdf(power) * spread.error(1, difference)
    return math.ceil((reach / difference) ** 2 - 1e-9)


def smallest_difference(
    samples: int, spread: Spread, *, confidence: float = CONFIDENCE, power: float = POWER
) -> float | None:
    """The smallest gain that so many samples tell from none, or None where they cannot: `samples_needed` inverted."""
    normal = NormalDist()
    if not spread.binary:
        return (normal.inv_cdf((1 + confidence) / 2) + normal.inv_cdf(power)) * spread.error(samples)
    low, high = 0.0, spread.sd**2
    if not high or samples_needed(high, spread, confidence=confidence, power=power) > samples:
        return None
    for _ in range(50):
        middle = (low + high) / 2
        enough = samples_needed(middle, spread, confidence=confidence, power=power) <= samples
        low, high = (low, middle) if enough else (middle, high)
    return high


def samples_for_margin(
    margin: float,
    spread: Spread,
    *,
    difference: float = 0.0,
    confidence: float = CONFIDENCE,
    power: float = POWER,
) -> int:
    """Samples by which a version is shown to be no worse than `margin`, if it truly differs by `difference`.

    n = ((z(confidence) + z(power)) × sd / (difference + margin))² × design effect: Chow, Shao & Wang (2008),
    section 3.1; for scores of 0 and 1 the variance is discordance - difference².

    Raises:
        BadInputError: the version is truly worse by the margin or more, which no number of samples makes good.
    """
    if difference + margin <= 0:
        raise BadInputError(f"a version that is worse by {-difference:g} is not within a margin of {margin:g}")
    normal = NormalDist()
    reach = (normal.inv_cdf(confidence) + normal.inv_cdf(power)) * spread.error(1, difference)
    return max(2, math.ceil((reach / (difference + margin)) ** 2 - 1e-9))


def smallest_margin(
    samples: int,
    spread: Spread,
    *,
    difference: float = 0.0,
    confidence: float = CONFIDENCE,
    power: float = POWER,
) -> float:
    """The smallest margin that so many samples can show to be kept: `samples_for_margin` inverted."""
    normal = NormalDist()
    return (normal.inv_cdf(confidence) + normal.inv_cdf(power)) * spread.error(samples, difference) - difference


def power_for_margin(
    samples: int, margin: float, spread: Spread, *, difference: float = 0.0, confidence: float = CONFIDENCE
) -> float:
    """How often a version that truly differs by `difference` is shown to be no worse than `margin`."""
    normal = NormalDist()
    error = spread.error(samples, difference)
    if not error:
        return float(difference + margin > 0)
    return normal.cdf((difference + margin) / error - normal.inv_cdf(confidence))
