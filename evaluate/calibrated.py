"""Whether a model is as often right as it is sure, where the suite has multiple choices: read from the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from locum.evaluate.answers import Answer
from locum.evaluate.result import EvaluationResult

if TYPE_CHECKING:
    from locum.evaluate.metrics.calibration import Calibration

_OF_CHOICES = frozenset({"choice", "brier"})  # metrics that speak about multiple choices only


@dataclass(frozen=True)
class Calibrated:
    """One model's reliability diagram over `answers` multiple choices."""

    model: str
    role: str
    answers: int
    calibration: Calibration

    @property
    def points(self) -> list[tuple[float, float, int]]:
        """Mean confidence, accuracy and number of answers of each bin that holds any."""
        return [
            (each.confidence, each.accuracy, each.count)
            for each in self.calibration.bins
            if each.confidence is not None and each.accuracy is not None
        ]


def calibrations(result: EvaluationResult, answers: Sequence[Answer]) -> list[Calibrated]:
    """The calibration of each model; nothing where the suite has no multiple choice.

    The confidence is the probability of the choice that the metric `choice` takes as made (where the suite does not
    have it, `brier`): the log-likelihoods are normalised as its options say.
    """
    chosen = [answer for answer in answers if _OF_CHOICES & answer.scores.keys()]
    if not chosen:
        return []
    from locum.evaluate.metrics.calibration import calibration_bins, softmax
    from locum.evaluate.metrics.choice import normalise_logprobs

    settings = result.options.get("choice" if "choice" in result.metrics else "brier", {})
    normalised = settings.get("normalised", "none")
    found = []
    for model in result.models:
        sure, right = [], []
        for answer in chosen:
            if answer.model == model.name:
                logprobs, choices = zip(*((each.logprob, each.text) for each in answer.likelihoods), strict=True)
                probabilities = softmax(normalise_logprobs(logprobs, choices, by=normalised))
                likeliest = probabilities.index(max(probabilities))
                sure.append(probabilities[likeliest])
                right.append(answer.likelihoods[likeliest].text == answer.reference)
        if sure:
            found.append(Calibrated(model.name, model.role, len(sure), calibration_bins(sure, right)))
    return found
