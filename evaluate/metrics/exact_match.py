"""Exact match after normalisation."""

from __future__ import annotations

from locum.evaluate.metrics.base import PairMetric
from locum.evaluate.metrics.text import normalise


class ExactMatch(PairMetric):
    """1 for an answer that equals its reference after `normalise`, else 0.

    Binary; no unit; higher is better. Departure from the source: articles count.
    """

    metric = "exact_match"
    source = (
        "Rajpurkar, Zhang, Lopyrev and Liang: SQuAD: 100,000+ Questions for Machine Comprehension of Text. EMNLP 2016"
    )
    binary = True

    def score_pair(self, predictions: str, references: str) -> float:
        return float(normalise(predictions) == normalise(references))
