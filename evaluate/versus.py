"""Two versions on the same samples, from answers that both have given before: nothing is asked again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from locum.errors import BadInputError, NotFoundError
from locum.evaluate.answers import Answer
from locum.evaluate.pairs import Pair, paired
from locum.evaluate.recorded import Recorded, read_evaluation
from locum.evaluate.result import MetricScale
from locum.evaluate.significance import Test, corrected, test_difference
from locum.evaluate.statistics import Estimate, difference_estimate, mean_estimate

if TYPE_CHECKING:
    from locum.adapters.manifest import Manifest
    from locum.adapters.registry import Registry


@dataclass(frozen=True)
class MetricRow:
    """Both versions' scores by one metric on the samples that both have, and the first minus the second."""

    metric: str
    scale: MetricScale
    samples: int
    ours: Estimate
    theirs: Estimate
    difference: Estimate
    test: Test


@dataclass(frozen=True)
class Versus:
    """How one version does against another on one suite. The first of `rows` is the metric that the gate decides by.

    `pairs` are ordered from the worst loss to the greatest gain by that metric.
    """

    ours: str
    theirs: str
    suite: str
    suite_digest: str
    confidence: float
    rows: list[MetricRow]
    pairs: list[Pair]
    notes: list[str]


def compare_versions(registry: Registry, ours: str, theirs: str, suite: str | None = None) -> list[Versus]:
    """Two versions on each suite that both have answered in the same state, newest answers first.

    A version's answers are found in its own evaluations, and in those of the other where it stood in production or
    was compared with.

    Raises:
        NotFoundError: there is no such version, or no suite that both have answered.
        BadInputError: both names mean one version, or versions of two domains.
    """
    first, second = registry.resolve(ours), registry.resolve(theirs)
    if first.name == second.name:
        raise BadInputError(f"{ours} and {theirs} are both {first.name}; expected two versions")
    if first.domain != second.domain:
        raise BadInputError(
            f"expected two versions of one domain, found {first.name} and {second.name}",
            hint="to see whether one domain's versions do harm to another's, its card names the other's suites under "
            "`elsewhere`",
        )
    known = _known(registry, first, second)
    found: dict[str, Versus] = {}
    for digest in dict.fromkeys(each.result.suite_digest for each in known):
        of_this = [each for each in known if each.result.suite_digest == digest]
        name = of_this[0].result.suite
        if name in found or suite not in (None, name):
            continue
        pair = [_newest_with(of_this, version) for version in (first, second)]
        if pair[0] and pair[1]:
            found[name] = versus(first.name, pair[0], second.name, pair[1])
    if not found:
        raise NotFoundError(_nothing_common(known, first, second, suite), hint=_what_to_type(known, first, second))
    return list(found.values())


def _known(registry: Registry, *versions: Manifest) -> list[Recorded]:
    """The evaluations of these versions, newest first; those whose folder is gone are passed over."""
    records = [record for version in versions for record in registry.evaluations(version.name)]
    records.sort(key=lambda record: record.created_at, reverse=True)
    found: dict[str, Recorded] = {}
    for record in records:
        if record.result_path not in found:
            try:
                found[record.result_path] = read_evaluation(Path(record.result_path))
            except BadInputError:  # NotFoundError is one, too
                continue
    return list(found.values())


def _newest_with(known: Sequence[Recorded], version: Manifest) -> Recorded | None:
    """The newest of these evaluations in which this very artifact answered."""
    for each in known:
        if (version.name, version.digest) in [(model.name, model.digest) for model in each.result.models]:
            return each
    return None


def versus(ours: str, ours_in: Recorded, theirs: str, theirs_in: Recorded) -> Versus:
    """One version's answers in one evaluation against another's in another, or the same, on one suite."""
    result = ours_in.result
    answers = [answer for answer in ours_in.answers if answer.model == ours]
    answers += [answer for answer in theirs_in.answers if answer.model == theirs]
    names = sorted(result.metrics, key=lambda name: name != result.metric)
    found = [_row(name, result.metrics[name], answers, ours, theirs, result.confidence) for name in names]
    rows = _corrected([row for row in found if row is not None])
    higher = result.metrics[result.metric].higher_is_better
    return Versus(
        ours=ours,
        theirs=theirs,
        suite=result.suite,
        suite_digest=result.suite_digest,
        confidence=result.confidence,
        rows=rows,
        pairs=paired(answers, ours, theirs, result.metric, higher_is_better=higher),
        notes=_notes(ours_in, theirs_in),
    )


def _row(
    metric: str, scale: MetricScale, answers: Sequence[Answer], ours: str, theirs: str, confidence: float
) -> MetricRow | None:
    """The scores of samples that both have, the mean over repeats; nothing where there are none."""
    found: dict[str, dict[str, list[float]]] = {}
    groups: dict[str, str] = {}
    for answer in answers:
        if metric in answer.scores:
            found.setdefault(answer.sample, {}).setdefault(answer.model, []).append(answer.scores[metric])
            groups[answer.sample] = answer.group or answer.sample
    both = {sample: models for sample, models in found.items() if len(models) == 2}
    if not both:
        return None
    left, right = ([_mean(models[name]) for models in both.values()] for name in (ours, theirs))
    inside = [groups[sample] for sample in both]
    high = float("inf") if scale.high is None else scale.high
    span = high - scale.low
    return MetricRow(
        metric,
        scale,
        len(both),
        mean_estimate(left, groups=inside, confidence=confidence, bounds=(scale.low, high)),
        mean_estimate(right, groups=inside, confidence=confidence, bounds=(scale.low, high)),
        difference_estimate(left, right, groups=inside, confidence=confidence, bounds=(-span, span)),
        test_difference(left, right, groups=inside),
    )


def _corrected(rows: Sequence[MetricRow]) -> list[MetricRow]:
    """The tests of all metrics as one family, as in an evaluation."""
    tests = corrected({row.metric: row.test for row in rows})
    return [replace(row, test=tests[row.metric]) for row in rows]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _notes(ours: Recorded, theirs: Recorded) -> list[str]:
    """What was not alike when the two were asked."""
    first, second = ours.result, theirs.result
    found = []
    if first.base_fingerprint != second.base_fingerprint:
        found.append(f"They stand on different base models: {first.base} and {second.base}.")
    if first.code_version != second.code_version:
        found.append(f"Locum {first.code_version} scored one, {second.code_version} the other.")
    if ours.folder != theirs.folder:
        found.append("Their answers are of two runs: the server may not have been the same in both.")
    return found


def _nothing_common(known: Sequence[Recorded], first: Manifest, second: Manifest, suite: str | None) -> str:
    answered = {
        version.name: {
            f"{each.result.suite} ({each.result.suite_digest[:8]})": None
            for each in known
            if version.name in [model.name for model in each.result.models] and suite in (None, each.result.suite)
        }
        for version in (first, second)
    }
    said = "; ".join(f"{name}: {', '.join(suites) or 'none'}" for name, suites in answered.items())
    wanted = "suite" if suite is None else f"state of suite {suite!r}"
    return f"there is no {wanted} that both have answered ({said})"


def _what_to_type(known: Sequence[Recorded], first: Manifest, second: Manifest) -> str:
    """The evaluation that would make them comparable: of the one that has none, else of the older version."""
    own = {each.result.version for each in known}
    lacking = [version for version in (first, second) if version.name not in own]
    version = lacking[0] if lacking else min((first, second), key=lambda each: each.number)
    other = second if version is first else first
    return f"locum eval {version.domain} --model {version.name} --against {other.name}"
