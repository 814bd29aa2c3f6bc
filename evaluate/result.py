"""The result of an evaluation, as result.json holds it."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.manifest import EvaluationRecord, Part
from locum.adapters.suites import Generation, Thresholds
from locum.evaluate.answers import Role
from locum.evaluate.gate import Check, Status
from locum.evaluate.judge.summary import JudgeSummary
from locum.evaluate.significance import Test
from locum.evaluate.statistics import Estimate

RESULT_FILE = "result.json"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MetricScale(_Record):
    """What a metric's numbers mean."""

    unit: str
    low: float
    high: float | None = Field(description="none where there is no upper end")
    higher_is_better: bool
    binary: bool


class Service(_Record):
    """What a model's answers took, as the client saw it."""

    answers: int
    failed: int = Field(description="answers that the server refused for good")
    retried: int = Field(description="answers that took more than one attempt")
    prompt_tokens: int
    completion_tokens: int = Field(description="tokens of all answers, where the server counts them")
    latency_median_s: float | None
    latency_p95_s: float | None
    first_token_median_s: float | None
    first_token_p95_s: float | None
    per_token_median_s: float | None


class ModelResult(_Record):
    """How one model did on the suite."""

    name: str
    role: Role
    digest: str
    scores: dict[str, Estimate] = Field(description="mean and interval of each metric")
    truncated: int = Field(description="answers that `max_tokens` cut off")
    failed: int = Field(description="answers that the server refused for good; they are not scored")
    service: Service


class SliceResult(_Record):
    """How the models did on the samples that share a value of a field, by the primary metric."""

    field: str
    value: str
    samples: int
    scores: dict[str, Estimate] = Field(description="mean and interval of each model, by its name")
    differences: dict[str, Estimate] = Field(description="version minus other, by the other's name")


class Comparison(_Record):
    """How the version did against one other model on the same samples."""

    name: str
    role: Role
    differences: dict[str, Estimate] = Field(description="version minus other, mean and interval of each metric")
    tests: dict[str, Test] = Field(
        description="whether that may be chance, corrected over the metrics by Holm's method"
    )
    better: int = Field(description="samples on which the version scores higher by the suite's primary metric")
    equal: int
    worse: int


class EvaluationResult(_Record):
    """One suite on one version against one live endpoint. The first of `models` is the version, the second the base."""

    format: Literal[2] = 2
    domain: str
    version: str
    version_digest: str
    base: str
    base_fingerprint: str
    suite: str
    suite_version: int
    suite_digest: str
    suite_parts: dict[Part, str] = Field({}, description="the digests that the suite's is made of")
    guard: bool = Field(description="it is a guard suite, asked to show that the version does no harm there")
    metric: str = Field(description="the suite's primary metric, by which the gate decides")
    metrics: dict[str, MetricScale]
    options: dict[str, dict[str, Any]] = Field({}, description="settings of metrics, by name, where any are set")
    samples: int
    groups: int = Field(description="independent groups among the samples; the bootstrap draws these")
    confidence: float
    generation: Generation
    thresholds: Thresholds
    endpoint: str
    concurrency: int
    models: list[ModelResult] = Field(min_length=2)
    comparisons: list[Comparison] = Field(min_length=1, description="the first is with the base model")
    against: str = Field(description="the model whose comparison the report tells first")
    slices: list[SliceResult]
    judge: JudgeSummary | None = Field(None, description="who rated the answers, at what cost and how consistently")
    checks: list[Check]
    notes: list[str] = []
    status: Status
    recorded: bool = Field(description="false for a quick look, which is no evidence for a release")
    reused: int = Field(description="answers taken over from an earlier run of the same command")
    command: str = Field(description="what was typed, to type again")
    folder: Path
    code_version: str
    created_at: datetime
    created_by: str

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    @property
    def score(self) -> Estimate:
        """The version's score by the primary metric."""
        return self.models[0].scores[self.metric]

    @property
    def base_score(self) -> Estimate:
        return self.models[1].scores[self.metric]

    @property
    def gain(self) -> Estimate:
        """The version's score minus the base model's, by the primary metric."""
        return self.comparisons[0].differences[self.metric]

    @property
    def headline(self) -> Comparison:
        """The comparison with `against`."""
        return next(comparison for comparison in self.comparisons if comparison.name == self.against)

    @property
    def production(self) -> str | None:
        """The version in production that this one was compared with, if any."""
        return next((comparison.name for comparison in self.comparisons if comparison.role == "production"), None)

    @property
    def reasons(self) -> list[str]:
        return [check.reason for check in self.checks]

    def record(self) -> EvaluationRecord:
        """What the registry keeps of it."""
        scale = self.metrics[self.metric]
        return EvaluationRecord(
            domain=self.domain,
            number=int(self.version.rpartition("@")[2]),
            version_digest=self.version_digest,
            base_fingerprint=self.base_fingerprint,
            suite=self.suite,
            suite_digest=self.suite_digest,
            suite_parts=self.suite_parts,
            suite_version=self.suite_version,
            passed=self.passed,
            status=self.status,
            reasons=self.reasons,
            missed=[check.reason for check in self.checks if check.status == "missed"],
            unclear=[check.reason for check in self.checks if check.status == "unclear"],
            samples=self.samples,
            metric=self.metric,
            score=self.score.mean,
            score_interval=_finite(self.score),
            score_range=(scale.low, scale.high),
            higher_is_better=scale.higher_is_better,
            unit=scale.unit,
            base_score=self.base_score.mean,
            gain=self.gain.mean,
            gain_interval=_finite(self.gain),
            production=self.production,
            endpoint=self.endpoint,
            result_path=str(self.folder),
            created_at=self.created_at,
            created_by=self.created_by,
        )


def result_schema() -> dict[str, Any]:
    """The JSON schema that every result.json keeps to, as JSON Schema 2020-12."""
    schema = EvaluationResult.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _finite(estimate: Estimate) -> tuple[float, float] | None:
    """The interval, where both of its ends are known: JSON, and PostgreSQL with it, has no infinity."""
    ends = (estimate.low, estimate.high)
    return ends if all(math.isfinite(end) for end in ends) else None
