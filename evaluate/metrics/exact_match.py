"""Exact match after normalisation, as a Hugging Face `evaluate` metric."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from locum.evaluate.metrics.base import Scale
from locum.evaluate.metrics.text import normalise

_CITATION = """\
@inproceedings{rajpurkar-etal-2016-squad,
  title = {{SQuAD}: 100,000+ Questions for Machine Comprehension of Text},
  author = {Rajpurkar, Pranav and Zhang, Jian and Lopyrev, Konstantin and Liang, Percy},
  booktitle = {Proceedings of EMNLP 2016}, pages = {2383--2392}, year = {2016}
}"""


class ExactMatch(Scale, evaluate.Metric):  # type: ignore[misc]  # evaluate is not typed
    """1 for an answer that equals its reference after `normalise`, else 0. Articles count, unlike in SQuAD."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Share of predictions equal to their reference after normalisation, from 0 to 1.",
            citation=_CITATION,
            inputs_description="predictions, references: lists of texts of one length.",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, Any]:
        scores = [
            float(normalise(prediction) == normalise(reference))
            for prediction, reference in zip(predictions, references, strict=True)
        ]
        return {"exact_match": sum(scores) / len(scores), "scores": scores}
