"""From answers to estimates: how each model did, and how the version did against each of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from locum.evaluate.answers import Answer, Contender
from locum.evaluate.result import Comparison, ModelResult
from locum.evaluate.statistics import difference_estimate, mean_estimate
from locum.evaluate.suite import Suite

Answers = Mapping[str, Sequence[Answer]]


def by_model(suite: Suite, contenders: Sequence[Contender], answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    """The answers of each contender in the order of the suite's samples, so that they pair up.

    Raises:
        KeyError: a contender has not answered a sample.
    """
    found = {answer.key: answer for answer in answers}
    return {contender.name: [found[sample.id, contender.name] for sample in suite.samples] for contender in contenders}


def describe(contender: Contender, answers: Answers, suite: Suite, *, confidence: float) -> ModelResult:
    """One model's mean of each metric, and what its answers took."""
    import numpy as np

    said = answers[contender.name]
    latencies = [answer.latency_s for answer in said if answer.latency_s is not None]
    return ModelResult(
        name=contender.name,
        role=contender.role,
        digest=contender.digest,
        scores={
            metric: mean_estimate(scores(said, metric), groups=groups(suite), confidence=confidence)
            for metric in suite.metrics
        },
        truncated=sum(answer.finish_reason == "length" for answer in said),
        completion_tokens=sum(answer.completion_tokens or 0 for answer in said),
        latency_median_s=round(float(np.median(latencies)), 4),
        latency_p95_s=round(float(np.quantile(latencies, 0.95)), 4),
    )


def compare(version: Contender, other: Contender, answers: Answers, suite: Suite, *, confidence: float) -> Comparison:
    """The version against one other model, sample by sample."""
    ours, theirs = answers[version.name], answers[other.name]
    primary = list(zip(scores(ours, suite.primary), scores(theirs, suite.primary), strict=True))
    return Comparison(
        name=other.name,
        role=other.role,
        differences={
            metric: difference_estimate(
                scores(ours, metric), scores(theirs, metric), groups=groups(suite), confidence=confidence
            )
            for metric in suite.metrics
        },
        better=sum(our > their for our, their in primary),
        equal=sum(our == their for our, their in primary),
        worse=sum(our < their for our, their in primary),
    )


def scores(answers: Sequence[Answer], metric: str) -> list[float]:
    return [answer.scores[metric] for answer in answers]


def groups(suite: Suite) -> list[str]:
    return [sample.group for sample in suite.samples]
