"""Perplexity of the reference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from locum.evaluate.metrics.base import INTEGER, NUMBER, PairMetric

if TYPE_CHECKING:
    from locum.evaluate.answers import Answer
    from locum.evaluate.samples import Sample


class Perplexity(PairMetric):
    """How surprised the model is by the reference, a token.

    perplexity = exp(−log p(reference | messages) / tokens), by the endpoint's own tokenizer: models with different
    tokenizers cannot be compared. From 1 (expected) without bound; no unit; lower is better. For a choice the right one
    is the reference, for a preference the chosen answer. Nothing is said where the reference's likelihood is not known.

    Source: Jelinek et al. 1977. Departure from perplexity over a corpus, exp of the mean over all tokens: the mean over
    samples is a mean of perplexities, so that samples can be compared in pairs; a few hard ones weigh much in it.
    """

    metric = "perplexity"
    source = (
        "Jelinek, Mercer, Bahl and Baker: Perplexity – a measure of the difficulty of speech recognition tasks. 1977"
    )
    inputs: ClassVar[dict[str, Any]] = {"logprobs": NUMBER, "tokens": INTEGER}
    low = 1.0
    high = math.inf
    higher_is_better = False
    needs = frozenset({"likelihood"})

    def columns(self, sample: Sample, answer: Answer) -> dict[str, Any] | None:
        """The reference's log-probability and its tokens."""
        for likelihood in answer.likelihoods:
            if likelihood.text == sample.reference and likelihood.tokens:
                return {"logprobs": likelihood.logprob, "tokens": likelihood.tokens}
        return None

    def score_pair(self, logprobs: float, tokens: int) -> float:
        return math.exp(min(-logprobs / tokens, _LARGEST))


_LARGEST = 700.0  # exp() of more is too large for a float
