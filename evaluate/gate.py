"""The gate: the rule that turns estimates into pass or fail, with reasons. Pure, so that it can be argued about."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from locum.adapters.card import GateCard
from locum.evaluate.statistics import Estimate


class Check(BaseModel):
    """One threshold: whether it was met, and the sentence that says so with its numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    met: bool
    reason: str


@dataclass(frozen=True)
class Verdict:
    """Whether a version may be released as far as this suite goes: yes, when every check is met."""

    checks: list[Check]

    @property
    def passed(self) -> bool:
        return all(check.met for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """One sentence for each check, met or not."""
        return [check.reason for check in self.checks]


def decide(
    gate: GateCard,
    *,
    samples: int,
    score: Estimate,
    gain: Estimate,
    production: str | None = None,
    change: Estimate | None = None,
) -> Verdict:
    """Hold a version against its domain's thresholds.

    Args:
        gate: the thresholds of the domain's card; all concern the suite's primary metric.
        samples: how many samples were scored.
        score: the version's mean score.
        gain: the mean difference to the base model on the same samples; its lower end must exceed `min_gain`.
        production: the version in production, if there is another one than the version itself.
        change: the mean difference to `production` on the same samples; a loss is significant when even its upper
            end lies below zero.
    """
    checks = [_enough_samples(gate, samples), _good_enough(gate, score), _better_than_base(gate, gain)]
    if production is not None and change is not None:
        checks.append(_not_worse_than_production(gate, production, change))
    return Verdict(checks)


def interval(estimate: Estimate, confidence: float) -> str:
    """`95 % confidence interval [+0.640, +0.800]`."""
    return f"{100 * confidence:.4g} % confidence interval [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def _enough_samples(gate: GateCard, samples: int) -> Check:
    met = samples >= gate.min_samples
    found = f"{samples} samples are {'enough' if met else 'too few'}"
    return Check(met=met, reason=f"{found}: the card asks for at least {gate.min_samples}.")


def _good_enough(gate: GateCard, score: Estimate) -> Check:
    met = score.mean >= gate.min_score
    relation = "reaches" if met else "falls short of"
    digits = 4 if not met and f"{score.mean:.3f}" == f"{gate.min_score:.3f}" else 3
    reason = f"The score {score.mean:.{digits}f} {relation} the minimum of {gate.min_score:.{digits}f}."
    return Check(met=met, reason=reason)


def _better_than_base(gate: GateCard, gain: Estimate) -> Check:
    met = gain.low > gate.min_gain
    relation = "exceeds" if met else "does not exceed"
    found = f"The gain over the base model is {gain.mean:+.3f}, {interval(gain, gate.confidence)}"
    return Check(met=met, reason=f"{found}: its lower end {relation} {gate.min_gain:+.3f}.")


def _not_worse_than_production(gate: GateCard, production: str, change: Estimate) -> Check:
    found = f"The difference to {production} in production is {change.mean:+.3f}, {interval(change, gate.confidence)}"
    if change.high >= 0:
        return Check(met=True, reason=f"{found}: no significant loss.")
    if gate.allow_loss_to_production:
        return Check(met=True, reason=f"{found}: a significant loss, which the card allows.")
    return Check(met=False, reason=f"{found}: a significant loss.")
