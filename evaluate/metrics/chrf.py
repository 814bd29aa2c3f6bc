"""chrF through sacrebleu."""

from __future__ import annotations

from functools import cached_property

from pydantic import Field
from sacrebleu.metrics import CHRF

from locum.adapters.wordings import spaced
from locum.evaluate.metrics.base import Options, PairMetric


class ChrFOptions(Options):
    """Settings of chrF."""

    word_order: int = Field(0, ge=0, le=4, description="longest word n-gram that counts too; 2 makes it chrF++")
    beta: int = Field(2, ge=1, le=5, description="recall counts so many times as much as precision")
    lowercase: bool = Field(False, description="upper and lower case are the same")


class ChrF(PairMetric):
    """Character n-gram F-score, as sacrebleu computes it for one sentence.

    F = (1 + β²) · P · R / (β² · P + R), where P and R are the means of the precisions and recalls of the character
    n-grams, n from 1 to 6 and white space left out; β = 2. From 0 to 1 (sacrebleu's figure over 100); no unit; higher
    is better. Chinese needs no segmentation for characters; with `word_order`, a Chinese character is a word.
    """

    metric = "chrf"
    source = (
        "Popović: chrF: character n-gram F-score for automatic MT evaluation. WMT 2015; "
        "chrF++: words helping character n-grams. WMT 2017"
    )
    options_type = ChrFOptions

    @cached_property
    def _scorer(self) -> CHRF:
        options = self.options
        return CHRF(word_order=options.word_order, beta=options.beta, lowercase=options.lowercase)

    def score_pair(self, predictions: str, references: str) -> float:
        return float(self._scorer.sentence_score(spaced(predictions), [spaced(references)]).score) / 100
