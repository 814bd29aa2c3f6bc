"""Scores that another tool has given already, such as lm-evaluation-harness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from locum.evaluate.metrics.base import NUMBER, PairMetric

if TYPE_CHECKING:
    from locum.evaluate.answers import Answer
    from locum.evaluate.samples import Sample


class Given(PairMetric):
    """The score that an answer came with, from 0 to 1, by the other tool's definition."""

    metric = "given"
    source = "the tool that gave it"
    inputs: ClassVar[Mapping[str, Any]] = {"given": NUMBER}

    def columns(self, sample: Sample, answer: Answer) -> dict[str, Any] | None:
        return {"given": answer.scores[self.metric]} if self.metric in answer.scores else None

    def score_pair(self, given: float) -> float:
        return given
