"""ROUGE-L through `rouge_score`, as a Hugging Face `evaluate` metric that needs no hub."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
from rouge_score.rouge_scorer import RougeScorer

from locum.evaluate.metrics.base import Scale
from locum.evaluate.metrics.text import tokens

_CITATION = """\
@inproceedings{lin-2004-rouge,
  title = {{ROUGE}: A Package for Automatic Evaluation of Summaries},
  author = {Lin, Chin-Yew}, booktitle = {Text Summarization Branches Out}, pages = {74--81}, year = {2004}
}"""


class _Tokens:
    """The tokenizer that `rouge_score` asks for; its own drops all letters beyond a-z, and so all Chinese."""

    def tokenize(self, text: str) -> list[str]:
        return tokens(text)


class RougeL(Scale, evaluate.Metric):  # type: ignore[misc]  # evaluate is not typed
    """Mean F-measure of the longest common subsequence of tokens, without stemming.

    F = 2PR / (P + R), where P and R are the subsequence's length over the tokens of prediction and reference. 0 when
    either has no tokens, as in `rouge_score`.
    """

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Mean ROUGE-L F-measure, from 0 to 1.",
            citation=_CITATION,
            inputs_description="predictions, references: lists of texts of one length.",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, Any]:
        scorer = RougeScorer(["rougeL"], tokenizer=_Tokens())
        scores = [
            float(scorer.score(target=reference, prediction=prediction)["rougeL"].fmeasure)
            for prediction, reference in zip(predictions, references, strict=True)
        ]
        return {"rouge_l": sum(scores) / len(scores), "scores": scores}
