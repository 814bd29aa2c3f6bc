"""The gate: the rule that turns estimates into a verdict with reasons. Pure, so that it can be argued about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict

from locum.adapters.suites import Thresholds
from locum.evaluate.statistics import Estimate

Status = Literal["passed", "failed", "not enough evidence"]
Kind = Literal["samples", "answered", "score", "gain", "non-inferiority", "slice", "hard"]


class Check(BaseModel):
    """One question to the evidence: whether it is met, missed, or cannot be told; and the sentence that says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    status: Literal["met", "missed", "unclear"]
    reason: str

    @property
    def met(self) -> bool:
        return self.status == "met"


@dataclass(frozen=True)
class Verdict:
    """Whether a version may be released as far as this suite goes: only when every check is met."""

    checks: list[Check]

    @property
    def status(self) -> Status:
        found = {check.status for check in self.checks}
        return "failed" if "missed" in found else "not enough evidence" if "unclear" in found else "passed"

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    @property
    def reasons(self) -> list[str]:
        """One sentence for each check, met or not."""
        return [check.reason for check in self.checks]


@dataclass(frozen=True)
class SliceChange:
    """The difference to the baseline within one slice: `topic=Neoplasms`."""

    name: str
    samples: int
    change: Estimate


@dataclass(frozen=True)
class Hard:
    """A hard metric: its mean over the version's answers, and the samples that it is lower on than asked."""

    mean: float
    broken: Sequence[str]
    samples: int


@dataclass(frozen=True)
class Evidence:
    """What an evaluation has found, as far as the gate is concerned. All but `hard` is of the primary metric.

    `baseline` is the version in production if that is another one; for a suite of elsewhere, the base model while
    nothing is in production. The lists of paired scores are there so that tests can be made of them.
    """

    samples: int
    failed: int
    score: Estimate
    gain: Estimate | None = None
    baseline: str | None = None
    change: Estimate | None = None
    slices: Sequence[SliceChange] = ()
    hard: Mapping[str, Hard] = field(default_factory=dict)


def decide(thresholds: Thresholds, evidence: Evidence) -> Verdict:
    """Hold the evidence against the suite's thresholds."""
    checks = [_enough_samples(thresholds, evidence), _good_enough(thresholds, evidence.score)]
    if evidence.failed:
        checks.append(_answered(evidence))
    if thresholds.min_gain is not None and evidence.gain is not None:
        checks.append(_better_than_base(thresholds, thresholds.min_gain, evidence.gain))
    if evidence.baseline is not None and evidence.change is not None:
        checks.append(_not_worse(thresholds, evidence.baseline, evidence.change))
    checks += [
        _slice_not_worse(thresholds, each) for each in evidence.slices if each.samples >= thresholds.slice_min_samples
    ]
    checks += [_hard(name, lowest, evidence.hard[name]) for name, lowest in thresholds.hard.items()]
    return Verdict(checks)


def interval(estimate: Estimate, confidence: float) -> str:
    """`95 % confidence interval [+0.640, +0.800]`."""
    return f"{100 * confidence:.4g} % confidence interval [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def _enough_samples(thresholds: Thresholds, evidence: Evidence) -> Check:
    met = evidence.samples >= thresholds.min_samples
    found = f"{evidence.samples} samples are {'enough' if met else 'too few'}"
    return Check(
        kind="samples",
        status="met" if met else "unclear",
        reason=f"{found}: the suite asks for at least {thresholds.min_samples}.",
    )


def _answered(evidence: Evidence) -> Check:
    reason = f"{evidence.failed} answers failed and were not scored: without them nothing is shown."
    return Check(kind="answered", status="unclear", reason=reason)


def _good_enough(thresholds: Thresholds, score: Estimate) -> Check:
    met = score.mean >= thresholds.min_score
    relation = "reaches" if met else "falls short of"
    digits = 4 if not met and f"{score.mean:.3f}" == f"{thresholds.min_score:.3f}" else 3
    reason = f"The score {score.mean:.{digits}f} {relation} the minimum of {thresholds.min_score:.{digits}f}."
    return Check(kind="score", status="met" if met else "missed", reason=reason)


def _better_than_base(thresholds: Thresholds, min_gain: float, gain: Estimate) -> Check:
    met = gain.low > min_gain
    relation = "exceeds" if met else "does not exceed"
    found = f"The gain over the base model is {gain.mean:+.3f}, {interval(gain, thresholds.confidence)}"
    return Check(
        kind="gain", status="met" if met else "missed", reason=f"{found}: its lower end {relation} {min_gain:+.3f}."
    )


def _not_worse(thresholds: Thresholds, baseline: str, change: Estimate) -> Check:
    found = f"The difference to {baseline} is {change.mean:+.3f}, {interval(change, thresholds.confidence)}"
    return Check(kind="non-inferiority", **_within(found, change, thresholds.margin))


def _slice_not_worse(thresholds: Thresholds, each: SliceChange) -> Check:
    found = f"On {each.name} ({each.samples} samples) the difference is {each.change.mean:+.3f}"
    return Check(kind="slice", **_within(found, each.change, thresholds.slice_margin))


def _within(found: str, change: Estimate, margin: float) -> dict[str, str]:
    if change.low > -margin:
        return {"status": "met", "reason": f"{found}: not worse by more than {margin:.3f}."}
    if change.high < -margin:
        return {"status": "missed", "reason": f"{found}: worse by more than {margin:.3f}."}
    return {"status": "unclear", "reason": f"{found}: not enough evidence that it is at most {margin:.3f} worse."}


def _hard(name: str, lowest: float, found: Hard) -> Check:
    met = found.mean >= lowest
    reason = f"{name} holds in {100 * found.mean:.4g} % of {found.samples} answers; asked are {100 * lowest:.4g} %."
    if not met:
        reason += f" It does not in: {', '.join(found.broken[:5])}."
    return Check(kind="hard", status="met" if met else "missed", reason=reason)
