"""Whether a suite's metrics fit its samples, and whether its slices and thresholds can be judged with so many of them.

What a metric makes of a sample is asked of the metric itself, with the best answer that there can be: the expected one,
of which the model is sure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from locum.adapters.judge import DIMENSIONS
from locum.adapters.suites import SUITE_FILE
from locum.adapters.yamlfile import line_of
from locum.errors import BadInputError, LocumError
from locum.evaluate.answers import Answer, Likelihood
from locum.evaluate.findings import Check, Finding, Row
from locum.evaluate.harness import HarnessSuite, harness_metrics
from locum.evaluate.judge.rubric import HIGHEST
from locum.evaluate.judge.verdicts import PREFERENCE
from locum.evaluate.metrics.registry import Metric, load_metric
from locum.evaluate.samples import GENERATED, Sample
from locum.evaluate.suite import Suite

if TYPE_CHECKING:
    from locum.adapters.registry import Registry


@dataclass(frozen=True)
class Fit:
    """A metric, and its score of the best answer to each sample: none where it says nothing.

    `mean` is that of the answers that the suite writes out, where the text is all that the metric looks at.
    """

    metric: Metric
    best: Sequence[float | None]
    mean: float | None

    @property
    def said(self) -> int:
        """About how many samples it says something."""
        return sum(score is not None for score in self.best)


def check_fit(suite: Suite, rows: Sequence[Row], folder: Path) -> list[Finding]:
    """Metrics against samples, slices against their sizes, thresholds against both.

    Args:
        suite: with the samples that it asks, which its limit may make fewer than its rows.
        rows: where these samples stand.
        folder: the suite's own.
    """
    card = folder / SUITE_FILE
    fits: list[Fit] = []
    findings: list[Finding] = []
    if isinstance(suite, HarnessSuite):
        # The harness scores its own answers, every one of them: there is nothing to ask these metrics.
        fits += [Fit(metric, [1.0] * len(suite.samples), None) for metric in harness_metrics(suite)]
    for name in [] if fits else suite.metrics:
        try:
            metric = load_metric(name, suite.options.get(name, {}))
            fits.append(fit_of(metric, suite.samples))
        except LocumError as error:
            advice = error.hint or "docs/metrics.md tells them all, with their options"
            findings.append(_finding("metric", card, "metrics", sentence=str(error), advice=advice))
    findings += _silent(suite, fits, rows, card)
    findings += _primary(suite, fits, card)
    findings += _slices(suite, card)
    findings += _thresholds(suite, fits, card)
    return findings


def require_fit(suite: Suite, metrics: Sequence[Metric]) -> None:
    """Refuse, before anything is asked, a suite whose primary or hard metrics say nothing about any of its samples, or
    whose thresholds would stop nothing.

    Raises:
        BadInputError: there is such a metric or threshold.
    """
    for metric in metrics:
        if metric.name == suite.primary and not suite.guard and (idle := next(_idle(suite, metric), None)):
            field, sentence = idle
            raise BadInputError(
                f"suite {suite.name!r} of {suite.domain}: {sentence}",
                hint=f"thresholds.{field}: {metric.name} goes from {metric.low:g} to {metric.high:g}",
            )
        decides = metric.name == suite.primary or metric.name in suite.thresholds.hard
        if decides and not isinstance(suite, HarnessSuite) and not fit_of(metric, suite.samples).said:
            raise BadInputError(
                f"suite {suite.name!r} of {suite.domain}: {metric.name} says nothing about any of its samples",
                hint=f"locum suite check {suite.domain} {suite.name} says what is wrong",
            )


def check_size(suite: Suite, folder: Path, registry: Registry) -> list[Finding]:
    """Whether a version as good as production would be let through; where samples are too few that is told already."""
    from locum.evaluate.suite_power import last_evaluation, power_of

    try:
        found = power_of(suite, last_evaluation(registry, suite))
    except LocumError:
        return []  # there is no such metric, which is told already
    whole = found.whole
    if not found.known or whole.kept >= found.power or whole.samples < suite.thresholds.min_samples:
        return []
    needed = "no number of samples shows it" if whole.needed is None else f"{whole.needed:,} samples show it"
    return [
        _finding(
            "threshold",
            folder / SUITE_FILE,
            "thresholds",
            "margin",
            severity="note",
            sentence=f"{whole.samples} samples show that a version as good as production keeps the margin of "
            f"{whole.asked_margin:g}, {100 * whole.kept:.0f}% of the time ({found.margin_from}); {needed} "
            f"{100 * found.power:.4g}% of the time",
            advice=f"add samples, or ask for a wider margin: locum suite power {suite.domain} {suite.name}",
        )
    ]


def best_answer(sample: Sample) -> Answer:
    """The answer that the sample expects, by a model that is sure of it; an empty one where it expects no words."""
    generated = sample.kind in GENERATED
    texts = dict.fromkeys([sample.reference, *sample.continuations])
    return Answer(
        sample=sample.id,
        model="",
        digest="",
        messages=list(sample.messages),
        reference=sample.reference,
        answer=sample.reference if generated else None,
        likelihoods=[
            Likelihood(text=text, tokens=1, logprob=-0.01 if text == sample.reference else -10.0) for text in texts
        ],
        ratings={**{name: [float(HIGHEST)] for name in DIMENSIONS}, PREFERENCE: [1.0, 1.0]} if generated else {},
        first_token_s=0.1,
        latency_s=0.2,
        prompt_tokens=1,
        completion_tokens=2,
        finish_reason="stop",
    )


def fit_of(metric: Metric, samples: Sequence[Sample]) -> Fit:
    """What a metric makes of the best answers to some samples."""
    best = metric.score(samples, [best_answer(sample) for sample in samples])
    written = [score for sample, score in zip(samples, best, strict=True) if sample.reference and score is not None]
    return Fit(metric, best, sum(written) / len(written) if written and metric.needs == {"text"} else None)


def _silent(suite: Suite, fits: Sequence[Fit], rows: Sequence[Row], card: Path) -> Iterator[Finding]:
    kinds = Counter(sample.kind for sample in suite.samples)
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    for fit in fits:
        if not fit.said:
            yield _finding(
                "metric",
                card,
                "metrics",
                sentence=f"{fit.metric.name} says nothing about any of the samples ({told})",
                advice="take it out of `metrics`, or add samples that it looks at: docs/metrics.md",
            )
    if len(fits) < len(suite.metrics):
        return  # what the metrics say that could not be loaded is not known
    where = {row.sample.id: row.place for row in rows}
    for place, sample in enumerate(suite.samples):
        if all(fit.best[place] is None for fit in fits):
            yield Finding(
                check="metric",
                place=where[sample.id],
                sentence=f"no metric of the suite says anything about it (kind {sample.kind})",
                advice="add a metric for its kind: docs/metrics.md",
            )


def _primary(suite: Suite, fits: Sequence[Fit], card: Path) -> Iterator[Finding]:
    primary = next((fit for fit in fits if fit.metric.name == suite.primary), None)
    if primary and primary.said and primary.said < len(suite.samples):
        silent = len(suite.samples) - primary.said
        yield _finding(
            "metric",
            card,
            "primary",
            severity="note",
            sentence=f"{suite.primary} says nothing about {silent} of {len(suite.samples)} samples: "
            "the gate decides without these",
            advice="make them a suite of their own if they are to count",
        )


def _slices(suite: Suite, card: Path) -> Iterator[Finding]:
    least = suite.thresholds.slice_min_samples
    for place, field in enumerate(suite.card.slices):
        sizes = Counter(sample.slices[field] for sample in suite.samples if field in sample.slices)
        lacking = [sample.id for sample in suite.samples if field not in sample.slices]
        without = len(lacking)
        small = {value: count for value, count in sorted(sizes.items()) if count < least}
        if not sizes:
            sentence, advice = f"no sample has a {field}", f"give the rows a {field}, or take it out of `slices`"
            yield _finding("slice", card, "slices", place, sentence=sentence, advice=advice)
            continue
        if without:
            yield _finding(
                "slice",
                card,
                "slices",
                place,
                severity="note",
                sentence=f"{without} of {len(suite.samples)} samples {'has' if without == 1 else 'have'} no {field} "
                f"({_some(lacking)}) and {'is' if without == 1 else 'are'} in no slice of it",
                advice=f"give every row a {field}",
            )
        if small:
            some = _some([f"{value} ({count})" for value, count in small.items()])
            yield _finding(
                "slice",
                card,
                "slices",
                place,
                severity="note",
                sentence=f"{'no' if len(small) == len(sizes) else 'not every'} {field} has the {least} samples that "
                f"the gate judges a slice by: {some}",
                advice="add samples, or lower thresholds.slice_min_samples",
            )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _thresholds(suite: Suite, fits: Sequence[Fit], card: Path) -> Iterator[Finding]:
    asked = suite.thresholds
    primary = next((fit for fit in fits if fit.metric.name == suite.primary), None)
    counted = primary.said if primary and primary.said else len(suite.samples)

    def never(field: str, sentence: str, advice: str) -> Finding:
        return _finding("threshold", card, "thresholds", *field.split("."), sentence=sentence, advice=advice)

    if asked.min_samples > counted:
        sentence = f"min_samples asks {asked.min_samples} samples, and the suite has {counted}"
        yield never("min_samples", sentence, "add samples, or lower it: as it stands no version can pass")
    if primary:
        metric, best = primary.metric, primary.mean
        if not metric.higher_is_better:
            if asked.min_score and asked.min_score < metric.low:
                sentence = (
                    f"min_score asks at most {asked.min_score:g}, as less {metric.name} is better, and it goes down "
                    f"to {metric.low:g}"
                )
                yield never("min_score", sentence, "raise it: as it stands no version can pass")
        elif asked.min_score > metric.high:
            sentence = f"min_score asks {asked.min_score:g}, and {metric.name} goes up to {metric.high:g}"
            yield never("min_score", sentence, "lower it: as it stands no version can pass")
        elif best is not None and best < asked.min_score:
            sentence = f"min_score asks {asked.min_score:g}, and the expected answers themselves reach {best:.3f}"
            yield never("min_score", sentence, f"lower it, or correct the references: {metric.name} is not 1 for them")
        for field, sentence in _idle(suite, metric):
            yield never(field, sentence, f"ask for less: {metric.name} goes from {metric.low:g} to {metric.high:g}")
        if asked.min_gain is not None and asked.min_gain >= metric.high - metric.low:
            sentence = (
                f"min_gain asks more than {asked.min_gain:g}, and two scores by {metric.name} differ "
                f"by {metric.high - metric.low:g} at most"
            )
            yield never("min_gain", sentence, "lower it: as it stands no version can pass")
    for fit in fits:
        name = fit.metric.name
        if name not in asked.hard:
            continue
        if not fit.metric.higher_is_better:
            sentence = f"hard asks for a {name} of at least {asked.hard[name]:g}, and less of it is better"
            yield never(f"hard.{name}", sentence, "take it out of thresholds.hard")
        elif asked.hard[name] > fit.metric.high:
            sentence = f"{name} is asked to reach {asked.hard[name]:g}, and goes up to {fit.metric.high:g}"
            yield never(f"hard.{name}", sentence, "lower it: as it stands no version can pass")
        elif fit.mean is not None and fit.mean < asked.hard[name]:
            yield _finding(
                "threshold",
                card,
                "thresholds",
                "hard",
                name,
                severity="note",
                sentence=f"of the expected answers themselves {name} holds in {100 * fit.mean:.4g} %, "
                f"and {100 * asked.hard[name]:.4g} % are asked of the version",
                advice="see whether the references should show what is asked",
            )


def _idle(suite: Suite, metric: Metric) -> Iterator[tuple[str, str]]:
    """The thresholds of the primary metric that no loss could miss, as one in percent, and what is wrong with them."""
    span, asked = metric.high - metric.low, suite.thresholds
    slices = {"slice_margin": asked.slice_margin} if suite.card.slices else {}
    for field, loss in ({"margin": asked.margin, "min_gain": -(asked.min_gain or 0.0)} | slices).items():
        if loss > span:
            most = f"two scores by {metric.name} differ by {span:g} at most"
            yield field, f"{field} allows a loss of {loss:g}, and {most}"


def _finding(
    check: Check, card: Path, *field: int | str, sentence: str, advice: str, severity: str = "wrong"
) -> Finding:
    return Finding.model_validate(
        {
            "check": check,
            "severity": severity,
            "place": f"{card}:{line_of(card, *field)}",
            "sentence": sentence,
            "advice": advice,
        }
    )
