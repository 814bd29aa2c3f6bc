"""The last part of an evaluation: from scored answers to the result that is reported and recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from locum import __version__
from locum.errors import BadInputError
from locum.evaluate.answers import Answer, Contender
from locum.evaluate.comparison import Scored, by_model, by_slice, compare, describe
from locum.evaluate.evidence import evidence_of
from locum.evaluate.gate import decide
from locum.evaluate.judge.summary import JudgeSummary
from locum.evaluate.metrics.registry import Metric
from locum.evaluate.result import EvaluationResult, MetricScale
from locum.evaluate.suite import Suite


@dataclass(frozen=True)
class Run:
    """Who answered where, and how that came about. The version is the first of `contenders`, the base the second."""

    contenders: Sequence[Contender]
    against: str
    endpoint: str
    concurrency: int
    command: str
    folder: Path
    created_by: str
    recorded: bool = True
    reused: int = 0
    notes: Sequence[str] = ()
    judge: JudgeSummary | None = None


def conclude(suite: Suite, metrics: Sequence[Metric], answers: Sequence[Answer], run: Run) -> EvaluationResult:
    """Compare the answers, hold them against the suite's thresholds, and put all that together.

    Raises:
        BadInputError: the version and the base model, or whom the report tells first, have no sample in common to which
            both have an answer with a score.
    """
    version, base, *_ = run.contenders
    confidence = suite.thresholds.confidence
    models = by_model(run.contenders, metrics, answers)
    for model in models:
        if model.contender in (version, base) or model.contender.name == run.against:
            _require_scores(models[0], model, suite)
    verdict = decide(suite.thresholds, evidence_of(suite, metrics, models))
    return EvaluationResult(
        domain=suite.domain,
        version=version.name,
        version_digest=version.digest,
        base=base.name,
        base_fingerprint=base.digest,
        suite=suite.name,
        suite_version=suite.card.version,
        suite_digest=suite.digest,
        suite_parts=dict(suite.parts),
        guard=suite.guard,
        metric=suite.primary,
        metrics={metric.name: _scale(metric) for metric in metrics},
        options={name: dict(options) for name, options in suite.options.items()},
        samples=len(suite.samples),
        groups=len({sample.group for sample in suite.samples}),
        confidence=confidence,
        generation=suite.generation,
        thresholds=suite.thresholds,
        endpoint=run.endpoint,
        concurrency=run.concurrency,
        models=[describe(model, suite, metrics, confidence=confidence) for model in models],
        comparisons=[compare(models[0], other, suite, metrics, confidence=confidence) for other in models[1:]],
        against=run.against,
        slices=by_slice(models, suite, metrics, confidence=confidence),
        judge=run.judge,
        checks=verdict.checks,
        notes=list(run.notes),
        status=verdict.status,
        recorded=run.recorded,
        reused=run.reused,
        command=run.command,
        folder=run.folder,
        code_version=__version__,
        created_at=datetime.now(UTC),
        created_by=run.created_by,
    )


def _require_scores(version: Scored, model: Scored, suite: Suite) -> None:
    """Raises BadInputError where there is nothing by which the version can be held against a model."""
    if version.scores[suite.primary].keys() & model.scores[suite.primary].keys():
        return
    lacking = model if version.scores[suite.primary] else version
    failed = [answer.error for answer in lacking.answers if answer.error is not None]
    raise BadInputError(
        f"suite {suite.name}: {lacking.contender.name} has no answer that {suite.primary} can score and compare; "
        f"{len(failed)} of its {len(lacking.answers)} answers failed{f', the last: {failed[-1]}' if failed else ''}",
        hint="the server must take what the suite asks: how long its prompts are, and how its answers are generated",
    )


def _scale(metric: Metric) -> MetricScale:
    return MetricScale(
        unit=metric.unit,
        low=metric.low,
        high=metric.high if math.isfinite(metric.high) else None,
        higher_is_better=metric.higher_is_better,
        binary=metric.binary,
    )
