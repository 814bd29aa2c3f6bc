"""F1 of the tokens that an answer and its reference share."""

from __future__ import annotations

from collections import Counter

from locum.adapters.wordings import tokens
from locum.evaluate.metrics.base import PairMetric


class TokenF1(PairMetric):
    """Harmonic mean of precision and recall over the bags of tokens.

    F1 = 2 · shared / (tokens of the prediction + tokens of the reference), a token shared as often as both have it.
    As SQuAD 2.0 decides: a text without tokens matches only another one, with 1. From 0 to 1; no unit; higher is
    better. Departures from the source: articles are kept, punctuation separates tokens instead of vanishing, and a
    Chinese character is a token.
    """

    metric = "token_f1"
    source = (
        "Rajpurkar, Zhang, Lopyrev and Liang: SQuAD: 100,000+ Questions for Machine Comprehension of Text. EMNLP 2016"
    )

    def score_pair(self, predictions: str, references: str) -> float:
        found, expected = tokens(predictions), tokens(references)
        if not found or not expected:
            return float(found == expected)
        shared = sum((Counter(found) & Counter(expected)).values())
        return 2 * shared / (len(found) + len(expected))
