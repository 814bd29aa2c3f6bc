"""The gate: the rule that turns estimates into pass or fail, with reasons. Pure, so that it can be argued about."""

from __future__ import annotations

from dataclasses import dataclass

from locum.adapters.card import GateCard
from locum.evaluate.statistics import Estimate


@dataclass(frozen=True)
class Verdict:
    """Whether a version may be released as far as this suite goes. `reasons` has one sentence for each threshold."""

    passed: bool
    reasons: list[str]


def decide(
    gate: GateCard,
    *,
    samples: int,
    score: Estimate,
    gain: Estimate,
    production: str | None = None,
    change: Estimate | None = None,
) -> Verdict:
    """Hold a version against its domain's thresholds. It passes when every one of them is met.

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
    return Verdict(all(met for met, _ in checks), [reason for _, reason in checks])


def _enough_samples(gate: GateCard, samples: int) -> tuple[bool, str]:
    met = samples >= gate.min_samples
    return met, f"{samples} samples are {'enough' if met else 'too few'}: at least {gate.min_samples} are asked for."


def _good_enough(gate: GateCard, score: Estimate) -> tuple[bool, str]:
    met = score.mean >= gate.min_score
    relation = "reaches" if met else "falls short of"
    return met, f"The score {score.mean:.3f} {relation} the minimum of {gate.min_score:.3f}."


def _better_than_base(gate: GateCard, gain: Estimate) -> tuple[bool, str]:
    met = gain.low > gate.min_gain
    relation = "exceeds" if met else "does not exceed"
    return met, (
        f"The gain over the base model is {gain.mean:+.3f}, {_interval(gate, gain)}: "
        f"its lower end {relation} {gate.min_gain:+.3f}."
    )


def _not_worse_than_production(gate: GateCard, production: str, change: Estimate) -> tuple[bool, str]:
    found = f"The difference to {production} in production is {change.mean:+.3f}, {_interval(gate, change)}"
    if change.high >= 0:
        return True, f"{found}: no significant loss."
    if gate.allow_loss_to_production:
        return True, f"{found}: a significant loss, which the card allows."
    return False, f"{found}: a significant loss."


def _interval(gate: GateCard, estimate: Estimate) -> str:
    return f"{100 * gate.confidence:.4g} % confidence interval [{estimate.low:+.3f}, {estimate.high:+.3f}]"
