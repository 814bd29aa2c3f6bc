"""What of an evaluation the gate looks at."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from locum.evaluate.comparison import Scored, paired
from locum.evaluate.gate import Evidence, Slice
from locum.evaluate.metrics.registry import Metric
from locum.evaluate.noninferiority import Change, change_from
from locum.evaluate.significance import test_difference
from locum.evaluate.statistics import Estimate, difference_estimate, mean_estimate
from locum.evaluate.suite import Suite


def evidence_of(suite: Suite, metrics: Sequence[Metric], models: Sequence[Scored]) -> Evidence:
    """The evidence on the first of `models`, the version; the second is the base model.

    The baseline is the version in production, where that is another one; for a guard, else the base model. Slices are
    always held against one of the two: a first release may have lost a topic that the base model knew.
    """
    version, base, *others = models
    primary = next(metric for metric in metrics if metric.name == suite.primary)
    production = next((model for model in others if model.contender.role == "production"), None)
    baseline = production or (base if suite.guard else None)
    slice_baseline = production or base
    failed = {answer.sample for model in models for answer in model.answers if answer.error is not None}
    base_counts = suite.guard or suite.thresholds.min_gain is not None or (suite.card.slices and slice_baseline is base)
    compared = [version, *([production] if production else []), *([base] if base_counts else [])]
    spoken_of = [model.scores[primary.name].keys() for model in compared]
    of_all = {sample for sample in spoken_of[0] if all(sample in each for each in spoken_of)}
    failed |= {sample for each in spoken_of for sample in each} - of_all  # a judge may fail just on the bad answers
    scored = of_all - failed
    return Evidence(
        samples=len(scored),
        groups=len({sample.group for sample in suite.samples if sample.id in scored}),
        score=_score(version, suite, primary),
        failed=len(failed),
        gain=_gain(version, base, suite, primary),
        change=_change(version, baseline, suite, primary) if baseline else None,
        slices=_slices(version, slice_baseline, suite, primary),
        hard={name: version.scores[name] for name in suite.thresholds.hard},
        higher_is_better=primary.higher_is_better,
        guard=suite.guard,
    )


def _score(version: Scored, suite: Suite, primary: Metric) -> Estimate:
    ours, _, groups = paired(version, version, primary.name, suite)
    bounds = (primary.low, primary.high)
    return mean_estimate(ours, groups=groups, confidence=suite.thresholds.confidence, bounds=bounds)


def _gain(version: Scored, base: Scored, suite: Suite, primary: Metric) -> Estimate | None:
    ours, theirs, groups = paired(version, base, primary.name, suite)
    if not ours:
        return None
    if not primary.higher_is_better:
        ours, theirs = theirs, ours
    span = primary.high - primary.low
    return difference_estimate(
        ours, theirs, groups=groups, confidence=suite.thresholds.confidence, bounds=(-span, span)
    )


def _change(version: Scored, baseline: Scored, suite: Suite, primary: Metric) -> Change | None:
    ours, theirs, groups = paired(version, baseline, primary.name, suite)
    if not ours:
        return None
    return change_from(
        _named(baseline),
        ours,
        theirs,
        groups=groups,
        confidence=suite.thresholds.confidence,
        higher_is_better=primary.higher_is_better,
    )


def _slices(version: Scored, baseline: Scored, suite: Suite, primary: Metric) -> dict[str, Slice]:
    found = {}
    for name, members in _members(suite):
        ours, theirs, groups = paired(version, baseline, primary.name, suite, members)
        if not ours:
            continue
        if not primary.higher_is_better:
            ours, theirs = theirs, ours
        found[name] = Slice(
            change_from(_named(baseline), ours, theirs, groups=groups, confidence=suite.thresholds.confidence),
            test_difference(ours, theirs, groups=groups, side="worse"),
        )
    return found


def _members(suite: Suite) -> Iterator[tuple[str, Collection[str]]]:
    """The suite's slices by their names, with the samples in each."""
    for field in suite.card.slices:
        for value in sorted({sample.slices[field] for sample in suite.samples if field in sample.slices}):
            yield f"{field} {value}", {sample.id for sample in suite.samples if sample.slices.get(field) == value}


def _named(baseline: Scored) -> str:
    contender = baseline.contender
    return f"{contender.name} in production" if contender.role == "production" else f"the base model {contender.name}"
