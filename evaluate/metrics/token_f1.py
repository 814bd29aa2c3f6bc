"""F1 of the tokens that an answer and its reference share, as a Hugging Face `evaluate` metric."""

from __future__ import annotations

from collections import Counter
from typing import Any

import datasets
import evaluate

from locum.evaluate.metrics.base import Scale
from locum.evaluate.metrics.text import tokens

_CITATION = """\
@inproceedings{rajpurkar-etal-2016-squad,
  title = {{SQuAD}: 100,000+ Questions for Machine Comprehension of Text},
  author = {Rajpurkar, Pranav and Zhang, Jian and Lopyrev, Konstantin and Liang, Percy},
  booktitle = {Proceedings of EMNLP 2016}, pages = {2383--2392}, year = {2016}
}"""


def token_f1(prediction: str, reference: str) -> float:
    """Harmonic mean of precision and recall over the bags of tokens, from 0 to 1.

    F1 = 2 · shared / (tokens of the prediction + tokens of the reference), a token shared as often as both have it.
    As SQuAD 2.0 decides: a text without tokens matches only another one, with 1. Departures from SQuAD: articles are
    kept, punctuation separates tokens instead of vanishing, and a Chinese character is a token.
    """
    found, expected = tokens(prediction), tokens(reference)
    if not found or not expected:
        return float(found == expected)
    shared = sum((Counter(found) & Counter(expected)).values())
    return 2 * shared / (len(found) + len(expected))


class TokenF1(Scale, evaluate.Metric):  # type: ignore[misc]  # evaluate is not typed
    """Mean of `token_f1` over the samples."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Mean F1 of the tokens that prediction and reference share, from 0 to 1.",
            citation=_CITATION,
            inputs_description="predictions, references: lists of texts of one length.",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, Any]:
        scores = [token_f1(*pair) for pair in zip(predictions, references, strict=True)]
        return {"token_f1": sum(scores) / len(scores), "scores": scores}
