"""ROUGE-1, ROUGE-2 and ROUGE-L through `rouge_score`."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal

from pydantic import Field
from rouge_score.rouge_scorer import RougeScorer

from locum.adapters.wordings import tokens
from locum.evaluate.metrics.base import Options, PairMetric


class RougeOptions(Options):
    """Settings of ROUGE."""

    measure: Literal["f", "precision", "recall"] = Field("f", description="`recall` is what Lin's paper began with")


class _Tokens:
    """The tokenizer that `rouge_score` asks for; its own drops all letters beyond a-z, and so all Chinese."""

    def tokenize(self, text: str) -> list[str]:
        return tokens(text)


class _Rouge(PairMetric):
    options_type = RougeOptions
    kind: ClassVar[str]
    source = "Lin: ROUGE: A Package for Automatic Evaluation of Summaries. Text Summarization Branches Out, ACL 2004"

    @cached_property
    def _scorer(self) -> RougeScorer:
        return RougeScorer([self.kind], tokenizer=_Tokens())

    def score_pair(self, predictions: str, references: str) -> float:
        found = self._scorer.score(target=references, prediction=predictions)[self.kind]
        return float({"f": found.fmeasure, "precision": found.precision, "recall": found.recall}[self.options.measure])


class Rouge1(_Rouge):
    """F-measure of the tokens that prediction and reference share, without stemming.

    F = 2PR / (P + R), where P and R are the shared tokens over those of the prediction and of the reference. 0 when
    either has none, as in `rouge_score`. From 0 to 1; no unit; higher is better. Departure from `rouge_score`: letters
    beyond a-z count, and a Chinese character is a token. On ASCII text the two agree.
    """

    metric = "rouge_1"
    kind = "rouge1"


class Rouge2(_Rouge):
    """F-measure of the pairs of neighbouring tokens that prediction and reference share; else as ROUGE-1.

    0 when either has fewer than two tokens, as in `rouge_score`: a one-word answer is better scored by another metric.
    From 0 to 1; no unit; higher is better.
    """

    metric = "rouge_2"
    kind = "rouge2"


class RougeL(_Rouge):
    """F-measure of the longest common subsequence of tokens, without stemming; else as ROUGE-1.

    P and R are the subsequence's length over the tokens of prediction and reference. From 0 to 1; no unit; higher is
    better. Departure from the paper: β = 1, as in `rouge_score`.
    """

    metric = "rouge_l"
    kind = "rougeL"
