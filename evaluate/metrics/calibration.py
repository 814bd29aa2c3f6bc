"""Whether a model's confidence in a choice is as high as it is right: Brier score and expected calibration error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from locum.evaluate.metrics.choice import ChoiceMetric


class Brier(ChoiceMetric):
    """How far the probabilities of the choices are from what is right.

    Σ over choices c of (p(c) − [c is right])², where p is the softmax of the choices' log-likelihoods, normalised by
    length if the options say so. From 0 (certain and right) to 2 (certain and wrong); a model that knows nothing scores
    1 − 1/choices; no unit; lower is better.

    Source: Brier 1950, the original over all classes; the form for two classes that is often meant is half of it.
    """

    metric = "brier"
    source = "Brier: Verification of forecasts expressed in terms of probability. Monthly Weather Review 78, 1950"
    high = 2.0
    higher_is_better = False

    def score_pair(self, logprobs: list[float], choices: list[str], correct: int) -> float:
        probabilities = softmax(self.weights(logprobs, choices))
        return sum((probability - (index == correct)) ** 2 for index, probability in enumerate(probabilities))


def softmax(weights: Sequence[float]) -> list[float]:
    """Probabilities from log-weights."""
    top = max(weights)
    if top == -math.inf:
        return [1 / len(weights)] * len(weights)
    powers = [math.exp(weight - top) for weight in weights]
    return [power / sum(powers) for power in powers]


@dataclass(frozen=True)
class CalibrationBin:
    """The samples whose confidence lies in (low, high]; accuracy and mean confidence are none where there are none."""

    low: float
    high: float
    count: int
    accuracy: float | None
    confidence: float | None


@dataclass(frozen=True)
class Calibration:
    """A reliability diagram and its one figure, the expected calibration error, from 0 to 1; lower is better."""

    bins: list[CalibrationBin]
    error: float


def calibration_bins(confidences: Sequence[float], correct: Sequence[bool], bins: int = 10) -> Calibration:
    """The expected calibration error and the bins behind it, as Guo et al. 2017 define them.

    ECE = Σ over bins B of |B| / n · |accuracy(B) − confidence(B)|, with bins of equal width ((m − 1)/M, m/M]; a
    confidence of 0 falls into the first. The error depends on the number of bins and is biased upwards for few samples.

    Args:
        confidences: the probability of the choice that was made, a sample; from 0 to 1.
        correct: whether that choice was right.
    """
    members: list[list[int]] = [[] for _ in range(bins)]
    for index, confidence in enumerate(confidences):
        # Rounded, because 0.7 * 10 is 7.000000000000001 in floating point.
        members[min(bins - 1, max(0, math.ceil(round(confidence * bins, 9)) - 1))].append(index)
    found = [
        CalibrationBin(
            low=number / bins,
            high=(number + 1) / bins,
            count=len(inside),
            accuracy=sum(correct[index] for index in inside) / len(inside) if inside else None,
            confidence=sum(confidences[index] for index in inside) / len(inside) if inside else None,
        )
        for number, inside in enumerate(members)
    ]
    error = sum(
        each.count / len(confidences) * abs(each.accuracy - each.confidence)
        for each in found
        if each.accuracy is not None and each.confidence is not None
    )
    return Calibration(found, error)
