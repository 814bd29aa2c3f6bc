"""What every metric is: an `evaluate.Metric` that says its scale, reads its columns from samples, and scores pairs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import datasets
import evaluate
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from locum.evaluate.answers import Answer
    from locum.evaluate.samples import Sample

TEXT = datasets.Value("string")
FLAG = datasets.Value("bool")
INTEGER = datasets.Value("int64")
NUMBER = datasets.Value("float64")


class Options(BaseModel):
    """What a suite may set about a metric. One with settings names its own subclass as `options_type`."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Scale:
    """How to read a metric's scores, and what it needs to know of a sample and its answer.

    `low` and `high` bound a score; `unit` is empty for a plain number. A `binary` metric scores 0 or 1 and nothing
    between, which decides the test of a difference. `needs` names what must have been asked for: the answer's "text",
    the "likelihood" of given answers, a judge's "ratings".
    """

    options_type: ClassVar[type[Options]] = Options
    unit: ClassVar[str] = ""
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    higher_is_better: ClassVar[bool] = True
    binary: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({"text"})

    options: Any = Options()

    def columns(self, sample: Sample, answer: Answer) -> dict[str, Any] | None:
        """The inputs of `_compute` for one pair; none where the metric says nothing about it.

        By default the answer's text and the reference: nothing is said where one of them is missing. An empty answer
        is an answer.
        """
        if answer.answer is None or not sample.reference:
            return None
        return {"predictions": answer.answer, "references": sample.reference}


class PairMetric(evaluate.Metric, Scale):  # type: ignore[misc]  # evaluate is not typed
    """A metric that scores each pair by itself. A subclass has a docstring, a name, a source and `score_pair`."""

    metric: ClassVar[str]
    source: ClassVar[str]
    """Where the formula comes from."""
    inputs: ClassVar[Mapping[str, Any]] = {"predictions": TEXT, "references": TEXT}
    score_pair: Callable[..., float]
    """The score of one pair; its arguments are called as the inputs are."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description=inspect.getdoc(type(self)),
            citation=self.source,
            inputs_description=f"Lists of one length: {', '.join(self.inputs)}.",
            features=datasets.Features(dict(self.inputs)),
        )

    def _compute(self, **columns: list[Any]) -> dict[str, Any]:
        rows = zip(*columns.values(), strict=True)
        scores = [self.score_pair(**dict(zip(columns, row, strict=True))) for row in rows]
        return {self.metric: sum(scores) / len(scores), "scores": scores}
