"""From answers to scores: each metric of the suite on each answer that it speaks about."""

from __future__ import annotations

import math
from collections.abc import Sequence

from locum.errors import BadInputError
from locum.evaluate.answers import Answer
from locum.evaluate.harness import HarnessSuite, harness_metrics
from locum.evaluate.metrics.registry import Metric, load_metric
from locum.evaluate.suite import Suite


def load_metrics(suite: Suite) -> list[Metric]:
    """The suite's metrics, each with the options that the suite or its domain's card gives it.

    Raises:
        NotFoundError: there is no metric of a name.
        BadInputError: a metric has no such option.
        UnavailableError: a package that a metric needs is not installed.
    """
    if isinstance(suite, HarnessSuite):
        return harness_metrics(suite)
    return [load_metric(name, suite.options.get(name, {})) for name in suite.metrics]


def needs(metrics: Sequence[Metric], what: str) -> bool:
    """Whether any of the metrics needs `text`, `likelihood` or `ratings`."""
    return any(what in metric.needs for metric in metrics)


def score_all(suite: Suite, metrics: Sequence[Metric], answers: Sequence[Answer]) -> list[Answer]:
    """The answers with their scores. One that failed has none, and neither has one that a metric does not speak about.

    A metric sees all of one model's answers at a time: some, such as `style`, compare them with each other.

    Raises:
        BadInputError: a score is not a finite number. It would fall through every comparison of the gate.
    """
    samples = {sample.id: sample for sample in suite.samples}
    scored: dict[tuple[str, str, int], dict[str, float]] = {}
    for model in dict.fromkeys(answer.model for answer in answers):
        said = [answer for answer in answers if answer.model == model and answer.error is None]
        asked = [samples[answer.sample] for answer in said]
        for metric in metrics:
            for answer, value in zip(said, metric.score(asked, said), strict=True):
                if value is not None:
                    if not math.isfinite(value):
                        raise BadInputError(
                            f"{metric.name} of {model} on sample {answer.sample} is {value}, expected a finite number",
                            hint="see what the endpoint answered there, and what the metric makes of it",
                        )
                    scored.setdefault((answer.sample, answer.model, answer.repeat), {})[metric.name] = value
    return [
        answer.model_copy(update={"scores": scored.get((answer.sample, answer.model, answer.repeat), {})})
        for answer in answers
    ]
