"""Multiple choice by log-likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import datasets
from pydantic import Field

from locum.evaluate.metrics.base import INTEGER, NUMBER, TEXT, Options, PairMetric

if TYPE_CHECKING:
    from locum.evaluate.answers import Answer
    from locum.evaluate.samples import Sample

Normalisation = Literal["none", "bytes", "characters"]


class ChoiceOptions(Options):
    """Settings of what looks at the likelihoods of choices."""

    normalised: Normalisation = Field(
        "none", description="divide each choice's log-likelihood by its length in UTF-8 bytes or in characters"
    )


class ChoiceMetric(PairMetric):
    """A metric over the likelihoods of a sample's choices."""

    options_type = ChoiceOptions
    options = ChoiceOptions()
    inputs: ClassVar[dict[str, Any]] = {
        "logprobs": datasets.Sequence(NUMBER),
        "choices": datasets.Sequence(TEXT),
        "correct": INTEGER,
    }
    needs = frozenset({"likelihood"})

    def columns(self, sample: Sample, answer: Answer) -> dict[str, Any] | None:
        """The log-likelihood of each choice; none where the sample has no choices or one of them is not known."""
        known = {likelihood.text: likelihood.logprob for likelihood in answer.likelihoods}
        if not sample.choices or sample.correct is None or any(choice not in known for choice in sample.choices):
            return None
        logprobs = [known[choice] for choice in sample.choices]
        return {"logprobs": logprobs, "choices": list(sample.choices), "correct": sample.correct}

    def weights(self, logprobs: list[float], choices: list[str]) -> list[float]:
        """The choices' log-likelihoods, normalised as the options say."""
        return normalise_logprobs(logprobs, choices, by=self.options.normalised)


def normalise_logprobs(logprobs: Sequence[float], choices: Sequence[str], *, by: Normalisation) -> list[float]:
    """Each log-likelihood over its choice's length in `bytes` or `characters`, or as it is with `none`."""
    if by == "none":
        return list(logprobs)
    lengths = [len(choice.encode() if by == "bytes" else choice) for choice in choices]
    return [logprob / length for logprob, length in zip(logprobs, lengths, strict=True)]


class Choice(ChoiceMetric):
    """1 if the right choice is the most likely one, else 0.

    argmax over choices c of log p(c | messages), or of that over the length of c with `normalised: bytes` or
    `characters`; of equals the first. Without `normalised` this is lm-evaluation-harness' `acc`, with `bytes` its
    `acc_bytes`, with `characters` its `acc_norm`.

    Binary; no unit; higher is better. Source: lm-evaluation-harness. Departure: each choice is scored as the
    assistant's answer in the chat template.
    """

    metric = "choice"
    source = "Gao et al.: The Language Model Evaluation Harness, as in `ConfigurableTask.process_results` of 0.4"
    binary = True

    def score_pair(self, logprobs: list[float], choices: list[str], correct: int) -> float:
        weights = self.weights(logprobs, choices)
        return float(weights.index(max(weights)) == correct)
