"""What of an evaluation the gate looks at."""

from __future__ import annotations

from collections.abc import Sequence

from locum.evaluate.comparison import Scored, by_slice, compare, describe
from locum.evaluate.gate import Evidence, Hard, SliceChange
from locum.evaluate.metrics.registry import Metric
from locum.evaluate.suite import Suite


def evidence_of(suite: Suite, metrics: Sequence[Metric], models: Sequence[Scored]) -> Evidence:
    """The evidence on the first of `models`, the version; the second is the base model.

    The baseline is the version in production, where that is another one; for a guard, else the base model.
    """
    version, base, *others = models
    confidence = suite.thresholds.confidence
    production = next((model for model in others if model.contender.role == "production"), None)
    baseline = production or (base if suite.guard else None)
    described = describe(version, suite, metrics, confidence=confidence)
    against_base = compare(version, base, suite, metrics, confidence=confidence)
    against_baseline = compare(version, baseline, suite, metrics, confidence=confidence) if baseline else None
    slices = by_slice([version, baseline], suite, metrics, confidence=confidence) if baseline else []
    return Evidence(
        samples=len(version.scores[suite.primary]),
        failed=sum(answer.error is not None for model in models for answer in model.answers),
        score=described.scores[suite.primary],
        gain=against_base.differences[suite.primary],
        baseline=None if baseline is None else _named(baseline),
        change=against_baseline.differences[suite.primary] if against_baseline else None,
        slices=[
            SliceChange(f"{each.field} {each.value}", each.samples, each.differences[baseline.contender.name])
            for each in slices
            if baseline and baseline.contender.name in each.differences
        ],
        hard={name: _hard(version, name, lowest) for name, lowest in suite.thresholds.hard.items()},
    )


def _named(baseline: Scored) -> str:
    contender = baseline.contender
    return f"{contender.name} in production" if contender.role == "production" else f"the base model {contender.name}"


def _hard(version: Scored, name: str, lowest: float) -> Hard:
    scores = version.scores[name]
    mean = sum(scores.values()) / len(scores) if scores else 0.0
    return Hard(mean, [sample for sample, value in scores.items() if value < min(lowest, 1.0)], len(scores))
