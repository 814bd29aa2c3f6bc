"""From scored answers to estimates: how each model did, and how the version did against each of the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from locum.evaluate.answers import Answer, Contender
from locum.evaluate.metrics.registry import Metric
from locum.evaluate.result import Comparison, ModelResult, Service, SliceResult
from locum.evaluate.significance import Test, corrected, test_difference
from locum.evaluate.statistics import Estimate, difference_estimate, mean_estimate
from locum.evaluate.suite import Suite

# Differences smaller than this are rounding, not better or worse.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Scored:
    """One model's score on each sample by each metric, the mean over repeats; and its answers.

    A sample of which an answer failed is missing, and so is one that a metric says nothing about.
    """

    contender: Contender
    answers: Sequence[Answer]
    scores: Mapping[str, Mapping[str, float]]  # metric -> sample -> score


def by_model(contenders: Sequence[Contender], metrics: Sequence[Metric], answers: Sequence[Answer]) -> list[Scored]:
    """The answers of each contender with its scores, in the order of the contenders."""
    found = []
    for contender in contenders:
        said = [answer for answer in answers if answer.model == contender.name]
        found.append(Scored(contender, said, {metric.name: _sample_scores(said, metric.name) for metric in metrics}))
    return found


def describe(model: Scored, suite: Suite, metrics: Sequence[Metric], *, confidence: float) -> ModelResult:
    """One model's mean of each metric, and what its answers took."""
    return ModelResult(
        name=model.contender.name,
        role=model.contender.role,
        digest=model.contender.digest,
        scores={
            metric.name: _mean(model.scores[metric.name], suite, metric, confidence)
            for metric in metrics
            if model.scores[metric.name]
        },
        truncated=sum(answer.finish_reason == "length" for answer in model.answers),
        failed=sum(answer.error is not None for answer in model.answers),
        service=_service(model.answers),
    )


def compare(
    version: Scored, other: Scored, suite: Suite, metrics: Sequence[Metric], *, confidence: float
) -> Comparison:
    """The version against one other model, on the samples that both have answered."""
    primary = next(metric for metric in metrics if metric.name == suite.primary)
    changes = _differences(version, other, primary)
    better, worse = (sum(_sign(primary) * sign * change > _EQUAL for change in changes.values()) for sign in (1, -1))
    told = [metric for metric in metrics if _differences(version, other, metric)]
    return Comparison(
        name=other.contender.name,
        role=other.contender.role,
        differences={metric.name: _difference(version, other, suite, metric, confidence) for metric in told},
        tests=corrected({metric.name: _test(version, other, suite, metric) for metric in told}),
        better=better,
        equal=len(changes) - better - worse,
        worse=worse,
    )


def by_slice(
    models: Sequence[Scored], suite: Suite, metrics: Sequence[Metric], *, confidence: float
) -> list[SliceResult]:
    """How the models did on each slice of the suite, by its primary metric, in the order of the suite's `slices`.

    The first of `models` is the version. A sample without a value for a field is in none of that field's slices.
    """
    primary = next(metric for metric in metrics if metric.name == suite.primary)
    version, *others = models
    found = []
    for field in suite.card.slices:
        values: dict[str, set[str]] = {}
        for sample in suite.samples:
            if field in sample.slices:
                values.setdefault(sample.slices[field], set()).add(sample.id)
        for value, members in sorted(values.items()):
            means = {model.contender.name: _within(model.scores[primary.name], members) for model in models}
            if not all(means.values()):
                continue
            found.append(
                SliceResult(
                    field=field,
                    value=value,
                    samples=len(members),
                    scores={name: _mean(scores, suite, primary, confidence) for name, scores in means.items()},
                    differences={
                        other.contender.name: _difference(version, other, suite, primary, confidence, members)
                        for other in others
                        if _differences(version, other, primary, members)
                    },
                )
            )
    return found


def paired(
    version: Scored, other: Scored, metric: str, suite: Suite, members: Collection[str] | None = None
) -> tuple[list[float], list[float], list[str]]:
    """The scores of both on the samples that both have, and the groups of those samples."""
    ours, theirs = version.scores[metric], other.scores[metric]
    chosen = [
        sample
        for sample in suite.samples
        if sample.id in ours and sample.id in theirs and (members is None or sample.id in members)
    ]
    return (
        [ours[sample.id] for sample in chosen],
        [theirs[sample.id] for sample in chosen],
        [sample.group for sample in chosen],
    )


def _sample_scores(answers: Sequence[Answer], metric: str) -> dict[str, float]:
    failed = {answer.sample for answer in answers if answer.error is not None}  # a repeat that did is not made up for
    found: dict[str, list[float]] = {}
    for answer in answers:
        if metric in answer.scores and answer.sample not in failed:
            found.setdefault(answer.sample, []).append(answer.scores[metric])
    return {sample: sum(values) / len(values) for sample, values in found.items()}


def _within(scores: Mapping[str, float], members: Collection[str]) -> dict[str, float]:
    return {sample: value for sample, value in scores.items() if sample in members}


def _mean(scores: Mapping[str, float], suite: Suite, metric: Metric, confidence: float) -> Estimate:
    chosen = [sample for sample in suite.samples if sample.id in scores]
    return mean_estimate(
        [scores[sample.id] for sample in chosen],
        groups=[sample.group for sample in chosen],
        confidence=confidence,
        bounds=(metric.low, metric.high),
    )


def _difference(
    version: Scored,
    other: Scored,
    suite: Suite,
    metric: Metric,
    confidence: float,
    members: Collection[str] | None = None,
) -> Estimate:
    ours, theirs, groups = paired(version, other, metric.name, suite, members)
    span = metric.high - metric.low
    return difference_estimate(ours, theirs, groups=groups, confidence=confidence, bounds=(-span, span))


def _test(version: Scored, other: Scored, suite: Suite, metric: Metric) -> Test:
    ours, theirs, groups = paired(version, other, metric.name, suite)
    return test_difference(ours, theirs, groups=groups)


def _differences(
    version: Scored, other: Scored, metric: Metric, members: Collection[str] | None = None
) -> dict[str, float]:
    ours, theirs = version.scores[metric.name], other.scores[metric.name]
    return {
        sample: ours[sample] - theirs[sample]
        for sample in ours
        if sample in theirs and (members is None or sample in members)
    }


def _sign(metric: Metric) -> int:
    return 1 if metric.higher_is_better else -1


def _service(answers: Sequence[Answer]) -> Service:
    import numpy as np

    done = [answer for answer in answers if answer.error is None]
    latencies = [answer.latency_s for answer in done if answer.latency_s is not None]
    first = [answer.first_token_s for answer in done if answer.first_token_s is not None]
    per_token = _per_token(done)

    def quantile(values: Sequence[float], share: float) -> float | None:
        return round(float(np.quantile(values, share)), 4) if values else None

    return Service(
        answers=len(answers),
        failed=len(answers) - len(done),
        retried=sum(answer.attempts > 1 for answer in answers),
        prompt_tokens=sum(answer.prompt_tokens or 0 for answer in done),
        completion_tokens=sum(answer.completion_tokens or 0 for answer in done),
        latency_median_s=quantile(latencies, 0.5),
        latency_p95_s=quantile(latencies, 0.95),
        first_token_median_s=quantile(first, 0.5),
        first_token_p95_s=quantile(first, 0.95),
        per_token_median_s=quantile(per_token, 0.5),
    )


def _per_token(answers: Sequence[Answer]) -> list[float]:
    """Seconds from one token to the next, of the answers that have more than one."""
    found = []
    for answer in answers:
        tokens = answer.completion_tokens or 0
        if answer.latency_s is not None and answer.first_token_s is not None and tokens > 1:
            found.append((answer.latency_s - answer.first_token_s) / (tokens - 1))
    return found
