"""BLEU of one answer through sacrebleu."""

from __future__ import annotations

from functools import cache
from typing import Literal

from pydantic import Field
from sacrebleu.metrics import BLEU

from locum.evaluate.metrics.base import Options, PairMetric
from locum.evaluate.metrics.text import has_chinese


class BleuOptions(Options):
    """Settings of BLEU."""

    tokenize: Literal["auto", "13a", "intl", "zh", "char"] = Field(
        "auto", description="sacrebleu's tokenizer; `auto` takes zh where the reference has Chinese, else 13a"
    )
    lowercase: bool = Field(False, description="upper and lower case are the same")


class Bleu(PairMetric):
    """Sentence BLEU of each answer, as sacrebleu computes it with effective order and exponential smoothing.

    BLEU = brevity penalty · geometric mean of the n-gram precisions, n from 1 to 4 or to the length of a shorter
    answer. The k-th precision that is 0 counts as 1 / (2ᵏ · n-grams); without one shared token the score is 0. The
    brevity penalty is exp(1 − r/c) for an answer of c tokens that is shorter than its reference of r.

    From 0 to 1 (sacrebleu's figure over 100); no unit; higher is better. Departure from the paper: the mean over
    samples is a mean of sentence scores and not corpus BLEU, so that samples can be compared in pairs; do not hold it
    against published corpus figures.
    """

    metric = "bleu"
    source = (
        "Papineni, Roukos, Ward and Zhu: BLEU: a Method for Automatic Evaluation of Machine Translation. ACL 2002; "
        "Post: A Call for Clarity in Reporting BLEU Scores. WMT 2018 (sacrebleu); "
        "Chen and Cherry: A Systematic Comparison of Smoothing Techniques for Sentence-Level BLEU. WMT 2014"
    )
    options_type = BleuOptions

    def score_pair(self, predictions: str, references: str) -> float:
        tokenizer = self.options.tokenize
        if tokenizer == "auto":
            tokenizer = "zh" if has_chinese(references) else "13a"
        score = _scorer(tokenizer, self.options.lowercase).sentence_score(predictions, [references]).score
        return min(1.0, float(score) / 100)  # a perfect match comes as 100.00000000000004


@cache
def _scorer(tokenizer: str, lowercase: bool) -> BLEU:
    return BLEU(tokenize=tokenizer, lowercase=lowercase, effective_order=True)
