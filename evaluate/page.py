"""Reports for people: one self-contained HTML page on an evaluation, and one over the evaluations of all domains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from locum.evaluate import charts
from locum.evaluate.answers import SAMPLES_FILE, Answer
from locum.evaluate.calibrated import calibrations
from locum.evaluate.charts import Axis, around_zero, known_ends
from locum.evaluate.figures import Figures, p_value
from locum.evaluate.marking import Piece, beginning, mark_differences
from locum.evaluate.pairs import Pair, broken, improvements, paired, regressions, said
from locum.evaluate.result import EvaluationResult, MetricScale, SliceResult
from locum.evaluate.statistics import RESAMPLES, Estimate
from locum.evaluate.trend import Trend
from locum.evaluate.visible import visible

if TYPE_CHECKING:
    from jinja2 import Environment

PAIRS = 20  # of regressions and of improvements each; all answers are in samples.jsonl
PREVIEW = 320  # characters seen of a long answer before it is opened
_BROKEN = 5  # answers shown of each hard requirement
_SLICES = 12  # of one field; more are shown on demand, the worst first


@dataclass(frozen=True)
class Asked:
    """One question that both models were asked outside the suite, to show rather than to measure."""

    domain: str
    version: str
    question: str
    answer: str
    base_answer: str
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class MetricView:
    """How one metric is drawn: its numbers, and the axes of its scores and of its differences."""

    name: str
    figures: Figures
    scores: Axis
    differences: Axis
    margin: float | None  # of the difference to production, where the gate looks at it


@dataclass(frozen=True)
class SliceView:
    """The slices of one field, with the axis that they share."""

    field: str
    shown: list[SliceResult]
    hidden: list[SliceResult]
    axis: Axis


@dataclass(frozen=True)
class Histogram:
    """The scores of the version and of one other model by one metric."""

    metric: str
    ours: list[float]
    theirs: list[float]
    axis: Axis


@dataclass(frozen=True)
class Side:
    """One answer as HTML: all of it, and its beginning for where it is folded up."""

    whole: Markup
    start: Markup


@dataclass(frozen=True)
class Sides:
    """Both answers of a pair as HTML."""

    ours: Side
    theirs: Side


def html_report(result: EvaluationResult, answers: Sequence[Answer]) -> str:
    """One self-contained page on one evaluation."""
    pairs = result_pairs(result, answers)
    latencies = {
        model.name: [each.latency_s for each in answers if each.model == model.name and each.latency_s is not None]
        for model in result.models
    }
    baseline = result.production or (result.base if result.guard else None)
    slice_baseline = result.production or result.base
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            result=result,
            opponent=next(model for model in result.models if model.name == result.against),
            roles={model.name: model.role for model in result.models},
            percent=f"{100 * result.confidence:.4g} %",
            metrics={name: _metric_view(result, name) for name in result.models[0].scores},
            baseline=baseline,
            slice_baseline=slice_baseline,
            slices=_slices(result, slice_baseline),
            histograms=_histograms(result, answers),
            calibrations=calibrations(result, answers),
            latencies=latencies,
            slowest=max((max(values) for values in latencies.values() if values), default=0.0) or 1.0,
            broken=broken(result, answers, _BROKEN),
            regressions=regressions(pairs, PAIRS),
            improvements=improvements(pairs, PAIRS),
            resamples=RESAMPLES,
            samples_file=SAMPLES_FILE,
        )
    )


def summary_report(results: Sequence[EvaluationResult], asked: Sequence[Asked] = ()) -> str:
    """One self-contained page over the evaluations of several domains, with what both models said when asked."""
    return (
        _environment()
        .get_template("summary.html.j2")
        .render(
            results=results,
            asked=asked,
            axis=around_zero([result.gain for result in results]),
            percent=f"{100 * results[0].confidence:.4g} %",
            views=[_metric_view(result, result.metric) for result in results],
            resamples=RESAMPLES,
        )
    )


def trend_page(trends: Sequence[Trend]) -> str:
    """One self-contained page on a domain's versions over time."""
    return _environment().get_template("trend.html.j2").render(trends=trends)


def result_pairs(result: EvaluationResult, answers: Sequence[Answer]) -> list[Pair]:
    """The version's answers beside those of the model that the report tells first."""
    return paired(
        answers,
        result.version,
        result.against,
        result.metric,
        higher_is_better=result.metrics[result.metric].higher_is_better,
    )


def _metric_view(result: EvaluationResult, name: str) -> MetricView:
    scale = result.metrics[name]
    estimates = [model.scores[name] for model in result.models if name in model.scores]
    differences = [other.differences[name] for other in result.comparisons if name in other.differences]
    gated = name == result.metric and (result.production is not None or result.guard)
    margin = _below(scale, result.thresholds.margin) if gated else None
    axis = around_zero(differences, *([margin] if margin is not None else []))
    return MetricView(name, Figures(scale), _score_axis(scale, estimates), axis, margin)


def _score_axis(scale: MetricScale, estimates: Sequence[Estimate]) -> Axis:
    if scale.high is not None:
        return Axis(scale.low, scale.high)
    return Axis(scale.low, 1.1 * max(known_ends(estimates), default=scale.low + 1) or 1.0)


def _below(scale: MetricScale, margin: float) -> float:
    """The difference at which a version is worse by the margin."""
    return -margin if scale.higher_is_better else margin


def _slices(result: EvaluationResult, against: str) -> list[SliceView]:
    """Each field's slices that have a difference to `against`: in their order where few, else the worst first."""
    scale = result.metrics[result.metric]
    margin = _below(scale, result.thresholds.slice_margin)
    sign = 1 if scale.higher_is_better else -1
    views = []
    for name in dict.fromkeys(each.field for each in result.slices):
        found = [each for each in result.slices if each.field == name and against in each.differences]
        if len(found) > _SLICES:
            found.sort(key=lambda each: sign * each.differences[against].mean)
        if found:
            axis = around_zero([each.differences[against] for each in found], margin)
            views.append(SliceView(name, found[:_SLICES], found[_SLICES:], axis))
    return views


def _histograms(result: EvaluationResult, answers: Sequence[Answer]) -> list[Histogram]:
    found = []
    for name, scale in result.metrics.items():
        ours, theirs = (
            [answer.scores[name] for answer in answers if answer.model == model and name in answer.scores]
            for model in (result.version, result.against)
        )
        if ours and theirs:
            high = max(*ours, *theirs) if scale.high is None else scale.high
            found.append(Histogram(name, ours, theirs, Axis(scale.low, max(high, scale.low + 1e-9))))
    return found


def _marked(pieces: Sequence[Piece], tag: str) -> Markup:
    """HTML in which the pieces that differ stand in `tag`: `ins` for the version's, `del` for the other's."""
    differing, same = Markup(f"<{tag}>{{}}</{tag}>"), Markup("{}")
    return Markup().join((differing if piece.differs else same).format(visible(piece.text)) for piece in pieces)


def _trend_line(trend: Trend) -> Markup:
    points = [(point.score, point.base_score, point.comparable) for point in trend.points]
    return charts.trend_line(points, trend.ends)


def _sides(pair: Pair) -> Sides:
    """Both answers as HTML, the words that differ marked."""
    ours, theirs = mark_differences(said(pair.ours), said(pair.theirs))
    return Sides(
        Side(_marked(ours, "ins"), _marked(beginning(ours, PREVIEW), "ins")),
        Side(_marked(theirs, "del"), _marked(beginning(theirs, PREVIEW), "del")),
    )


def _finalize(value: Any) -> Any:
    """All text that a template prints is made visible; what is markup already was made of such text."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        score_bar=charts.score_bar,
        difference_bar=charts.difference_bar,
        outcome_bar=charts.outcome_bar,
        histogram=charts.histogram,
        mirrored_histogram=charts.mirrored_histogram,
        reliability=charts.reliability,
        trend_line=_trend_line,
        sides=_sides,
        said=said,
    )
    environment.filters["p_value"] = p_value
    environment.filters["zip"] = zip
    return environment
