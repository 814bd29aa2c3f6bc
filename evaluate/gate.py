"""The gate: the rule that turns evidence into a verdict, with reasons. Pure, so that it can be argued about.

Every question has three answers. *Met*: the evidence shows that it holds. *Missed*: it shows that it does not.
*Unclear*: it shows neither, and the reason says how many samples would. `docs/statistics.md` says why each rule is
what it is, and how often it errs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal

from pydantic import BaseModel, ConfigDict

from locum.adapters.suites import Thresholds
from locum.evaluate.noninferiority import Change
from locum.evaluate.power import Spread, samples_for_margin, samples_needed
from locum.evaluate.significance import Test, holm
from locum.evaluate.statistics import Estimate, enough_groups

TOLERATED_FAILURES = 0.01  # at their worst they move a mean score by as much, a tenth of the usual margin
_FIRST = 5  # so many names a reason gives; the report has all

Kind = Literal["answered", "samples", "score", "gain", "non-inferiority", "slice", "hard", "harm"]
Finding = Literal["met", "missed", "unclear"]
Status = Literal["passed", "failed", "not enough evidence"]


class Check(BaseModel):
    """One question to the evidence: what it shows, and the sentence that says so with its numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    status: Finding
    reason: str

    @property
    def met(self) -> bool:
        return self.status == "met"


@dataclass(frozen=True)
class Slice:
    """One slice of a suite: the change from the baseline, and whether that is a loss at all."""

    change: Change
    worse: Test


@dataclass(frozen=True)
class Evidence:
    """What an evaluation has found, as far as the gate is concerned. All but `hard` is of the primary metric.

    Differences are turned so that positive is better.

    Args:
        samples: how many all models that are compared have answered, and the metric speaks of for each of them.
        groups: how many groups these belong to; 0 where each stands alone.
        score: the version's mean.
        failed: samples that some model left without an answer, or on which the metric speaks of one compared model and
            not of another; they are in no difference.
        gain: the version minus the base model, two-sided.
        change: the version minus its baseline, if it has one: the version in production; on a guard suite, the
            base model while nothing is in production.
        slices: the version minus production on each slice, by its name, such as `topic Neoplasms`; minus the base model
            while nothing is in production.
        hard: for each metric that the thresholds call hard, the score of each sample that it speaks of.
        higher_is_better: false for a primary metric such as perplexity; `min_score` is then the most allowed.
        guard: it is a guard suite: the question is not whether the version is good there, but whether it harms.
    """

    samples: int
    score: Estimate
    groups: int = 0
    failed: int = 0
    gain: Estimate | None = None
    change: Change | None = None
    slices: Mapping[str, Slice] = field(default_factory=dict)
    hard: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    higher_is_better: bool = True
    guard: bool = False


@dataclass(frozen=True)
class SliceFinding:
    """What the evidence shows of one slice. `p` is the chance of such a loss between equally good models, `p_adjusted`
    the same after Holm's correction over all slices judged; None where this one is not judged.
    """

    name: str
    change: Change
    status: Literal["met", "missed", "unclear", "too small"]
    p: float
    p_adjusted: float | None


@dataclass(frozen=True)
class Verdict:
    """Whether a version may be released as far as this suite goes: yes, when every check is met."""

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
        """One sentence or two for each check, met or not."""
        return [check.reason for check in self.checks]


def decide(thresholds: Thresholds, evidence: Evidence) -> Verdict:
    """Hold a version against its suite's thresholds."""
    checks = [
        _answered(evidence),
        _enough_samples(thresholds, evidence),
        _good_enough(thresholds, evidence),
        _better_than_base(thresholds, evidence),
        _no_worse(thresholds, evidence),
        *_slices_kept(thresholds, evidence),
        *(_hard_kept(metric, lowest, evidence) for metric, lowest in thresholds.hard.items()),
    ]
    return Verdict([check for check in checks if check is not None])


def judge_slices(thresholds: Thresholds, slices: Mapping[str, Slice]) -> list[SliceFinding]:
    """What the evidence shows of each slice, in the order given.

    A slice is *missed* when it has lost significantly, after Holm's correction over all slices that are judged, and
    has lost more than the slice margin by the best estimate. It is *met* when a loss of more than the margin is ruled
    out. Slices are small, so many are neither.
    """
    large = {name: each.worse.p for name, each in slices.items() if each.change.samples >= thresholds.slice_min_samples}
    adjusted = holm(large)

    def status(name: str, change: Change) -> Literal["met", "missed", "unclear", "too small"]:
        if name not in large:
            return "too small"
        if adjusted[name] <= 1 - thresholds.confidence and change.mean < -thresholds.slice_margin:
            return "missed"
        return "met" if change.low > -thresholds.slice_margin else "unclear"

    return [
        SliceFinding(name, each.change, status(name, each.change), each.worse.p, adjusted.get(name))
        for name, each in slices.items()
    ]


def interval(estimate: Estimate, confidence: float) -> str:
    """`95 % confidence interval [+0.640, +0.800]`."""
    return f"{_percent(confidence)} confidence interval [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def _answered(evidence: Evidence) -> Check | None:
    if not evidence.failed:
        return None
    total = evidence.samples + evidence.failed
    found = (
        f"{evidence.failed} of {total} samples {'is' if evidence.failed == 1 else 'are'} without an answer or a score "
        f"({_percent(evidence.failed / total)}) and in no comparison"
    )
    if evidence.failed <= TOLERATED_FAILURES * total:
        reason = f"{found}: no more than the {_percent(TOLERATED_FAILURES)} that may be missing."
        return Check(kind="answered", status="met", reason=reason)
    return Check(
        kind="answered",
        status="unclear",
        reason=f"{found}: more than {_percent(TOLERATED_FAILURES)} could hide a loss. "
        "The same command asks them again.",
    )


def _enough_samples(thresholds: Thresholds, evidence: Evidence) -> Check:
    enough = evidence.samples >= thresholds.min_samples
    found = f"{evidence.samples} samples are {'enough' if enough else 'too few'}"
    reason = f"{found}: the suite asks for at least {thresholds.min_samples}."
    return Check(kind="samples", status="met" if enough else "unclear", reason=reason)


def _good_enough(thresholds: Thresholds, evidence: Evidence) -> Check | None:
    score, wanted = evidence.score.mean, thresholds.min_score
    if not evidence.higher_is_better and not wanted:
        return None  # nothing is asked: a perplexity of 0 is none
    met = score >= wanted if evidence.higher_is_better else score <= wanted
    digits = 4 if not met and f"{score:.3f}" == f"{wanted:.3f}" else 3
    if evidence.higher_is_better:
        said = f"{'reaches' if met else 'falls short of'} the minimum of {wanted:.{digits}f}"
    else:
        said = f"{'stays within' if met else 'exceeds'} the maximum of {wanted:.{digits}f}"
    return Check(kind="score", status="met" if met else "missed", reason=f"The score {score:.{digits}f} {said}.")


def _better_than_base(thresholds: Thresholds, evidence: Evidence) -> Check | None:
    gain, wanted = evidence.gain, thresholds.min_gain
    if wanted is None:
        return None
    if gain is None:
        reason = "The gain over the base model is unknown: the base model answered nothing to compare with."
        return Check(kind="gain", status="unclear", reason=reason)
    found = f"The gain over the base model is {gain.mean:+.3f}"
    if not enough_groups(groups := evidence.groups or evidence.samples, thresholds.confidence):
        reason = f"{found}, and how much that may vary is unknown: {_listed_groups(groups)}."
        return Check(kind="gain", status="unclear", reason=reason)
    found = f"{found}, {interval(gain, thresholds.confidence)}"
    if gain.low > wanted:
        return Check(kind="gain", status="met", reason=f"{found}: its lower end exceeds {wanted:+.3f}.")
    if gain.high <= wanted:
        return Check(kind="gain", status="missed", reason=f"{found}: not even its upper end exceeds {wanted:+.3f}.")
    reason = f"{found}: its lower end does not exceed {wanted:+.3f}. {_more_for_gain(gain, thresholds, evidence)}"
    return Check(kind="gain", status="unclear", reason=reason.strip())


def _listed_groups(groups: int) -> str:
    return "all samples belong to one group" if groups == 1 else f"the samples belong to only {groups} groups"


def _more_for_gain(gain: Estimate, thresholds: Thresholds, evidence: Evidence) -> str:
    above = gain.mean - (thresholds.min_gain or 0.0)
    if above <= 0:
        return "More samples will show it only if the true gain is larger than the one found."
    error = (gain.high - gain.low) / 2 / NormalDist().inv_cdf((1 + thresholds.confidence) / 2)
    if not math.isfinite(error):  # squares of perplexities near 1e300 are too large for a float
        return ""
    spread = Spread(error * math.sqrt(evidence.samples))
    needed = samples_needed(above, spread, confidence=thresholds.confidence)
    return (
        f"To show such a gain four times in five takes about {_about(needed)} samples; there are {evidence.samples:,}."
    )


def _no_worse(thresholds: Thresholds, evidence: Evidence) -> Check | None:
    change, margin, sure = evidence.change, thresholds.margin, _percent(thresholds.confidence)
    if change is None:
        return None
    kind: Kind = "harm" if evidence.guard else "non-inferiority"
    found = f"The difference to {change.name} is {change.mean:+.3f}"
    if change.groups < 2:
        reason = f"{found}, and how much that may vary is unknown: all samples belong to one group."
        return Check(kind=kind, status="unclear", reason=reason)
    if change.low > -margin:
        loss = " There is a loss, but a smaller one." if change.high < 0 else ""
        reason = (
            f"{found}, and with {sure} confidence no lower than {change.low:+.3f}: "
            f"worse by more than {margin:.3f} is ruled out.{loss}"
        )
        return Check(kind=kind, status="met", reason=reason)
    if change.high < -margin:
        reason = (
            f"{found}, and with {sure} confidence no higher than {change.high:+.3f}: a loss of more than {margin:.3f}."
        )
        return Check(kind=kind, status="missed", reason=reason)
    loss = "there is a loss, and " if change.high < 0 else ""
    reason = (
        f"{found}, and with {sure} confidence no lower than {change.low:+.3f}: "
        f"{loss}worse by more than {margin:.3f} is not ruled out."
    )
    return Check(kind=kind, status="unclear", reason=f"{reason} {_more_for_margin(thresholds, change)}".strip())


def _more_for_margin(thresholds: Thresholds, change: Change) -> str:
    if not thresholds.margin or not math.isfinite(change.error):
        return ""
    spread = Spread(change.error * math.sqrt(change.samples))
    needed = samples_for_margin(thresholds.margin, spread, confidence=thresholds.confidence)
    about = _about(needed)
    if needed <= change.samples:
        return f"A version as good as {change.name} is shown to be so by about {about} samples four times in five."
    return (
        f"To show this four times in five of a version as good as {change.name} takes about {about} samples; "
        f"there are {change.samples:,}."
    )


def _slices_kept(thresholds: Thresholds, evidence: Evidence) -> list[Check]:
    """One check for each slice that has lost; where none has, one for all."""
    if not evidence.slices:
        return []
    found = judge_slices(thresholds, evidence.slices)
    margin, judged = thresholds.slice_margin, sum(each.status != "too small" for each in found)
    lost = [
        Check(
            kind="slice",
            status="missed",
            reason=f"On {each.name} ({each.change.samples} samples) the difference to {each.change.name} is "
            f"{each.change.mean:+.3f} (p = {each.p_adjusted:.2g} after correction for {judged} slices): "
            f"a significant loss, and by the best estimate one of more than {margin:.3f}.",
        )
        for each in found
        if each.status == "missed"
    ]
    if lost:
        return lost
    baseline = found[0].change.name
    if not judged:
        reason = f"No slice is large enough to be judged against {baseline}."
    else:
        shown = sum(each.status == "met" for each in found)
        worst = min((each for each in found if each.status != "too small"), key=lambda each: each.change.mean)
        reason = (
            f"None of {judged} slice{'' if judged == 1 else 's'} has a significant loss against {baseline} that is "
            f"larger than {margin:.3f}. With {_percent(thresholds.confidence)} confidence for each by itself, so large "
            f"a loss is ruled out on {shown}. The lowest is {worst.name} with {worst.change.mean:+.3f}."
        )
    reason += _too_small(thresholds, found) + _perhaps_lost(thresholds, found)
    return [Check(kind="slice", status="met", reason=reason)]


def _too_small(thresholds: Thresholds, found: Sequence[SliceFinding]) -> str:
    small = [each.name for each in found if each.status == "too small"]
    if not small:
        return ""
    return f" Too small to judge, with fewer than {thresholds.slice_min_samples} samples: {_listed(small)}."


def _perhaps_lost(thresholds: Thresholds, found: Sequence[SliceFinding]) -> str:
    """Names slices that have lost more than the margin by the best estimate, which the gate does not hold against the
    version: they are too small to judge, or such a loss may be chance."""
    lost = sorted((each for each in found if each.change.mean < -thresholds.slice_margin), key=lambda x: x.change.mean)
    if not lost:
        return ""
    figures = [f"{each.name} ({each.change.mean:+.3f}, {each.change.samples} samples)" for each in lost]
    return (
        f" Unclear, though by the best estimate a loss of more than {thresholds.slice_margin:.3f}: {_listed(figures)}. "
        "Look at their answers, or add samples."
    )


def _hard_kept(metric: str, lowest: float, evidence: Evidence) -> Check:
    scores = evidence.hard.get(metric)
    if not scores:
        reason = f"{metric} is required, but no sample of the suite tells anything about it."
        return Check(kind="hard", status="unclear", reason=reason)
    broken = [sample for sample, score in scores.items() if score < lowest]
    if not broken:
        return Check(kind="hard", status="met", reason=f"All {len(scores)} samples meet {metric}.")
    mean = math.fsum(scores.values()) / len(scores)
    verb = "breaks" if len(broken) == 1 else "break"
    found = f"{len(broken)} of {len(scores)} samples {verb} {metric} ({_listed(broken)})"
    if mean >= lowest:
        reason = f"{found}: its mean of {mean:.3f} reaches the required {lowest:.3f}."
        return Check(kind="hard", status="met", reason=reason)
    wanted = "every sample must meet it" if lowest == 1 else f"its mean of {mean:.3f} falls short of {lowest:.3f}"
    return Check(kind="hard", status="missed", reason=f"{found}: {wanted}.")


def _about(samples: int) -> str:
    """Two digits, rounded up: more would claim to know the spread better than one evaluation tells."""
    step = 10 ** max(0, len(str(samples)) - 2)
    return f"{math.ceil(samples / step) * step:,}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FIRST} more" if len(names) > _FIRST else ""
    return f"{', '.join(names[:_FIRST])}{more}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
