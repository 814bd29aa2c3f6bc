"""Scores of a domain's versions over time, from what the registry has recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from locum.adapters.manifest import EvaluationRecord
from locum.errors import BadInputError, NotFoundError, UnavailableError
from locum.evaluate.figures import Figures
from locum.evaluate.result import MetricScale
from locum.evaluate.statistics import Estimate
from locum.text import alternatives

if TYPE_CHECKING:
    from locum.adapters.registry import Registry

PLOTTED = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Point:
    """One version's newest score on a suite. `comparable` is false where the suite has been changed since."""

    version: str
    score: Estimate
    base_score: float | None
    status: str
    samples: int
    suite_digest: str
    comparable: bool
    at: datetime


@dataclass(frozen=True)
class Trend:
    """A suite's primary metric over the versions of its domain, in their order."""

    domain: str
    suite: str
    metric: str
    scale: MetricScale
    points: list[Point]

    @property
    def figures(self) -> Figures:
        return Figures(self.scale)

    @property
    def ends(self) -> tuple[float, float]:
        """The axis: all intervals and the base model, with a little room, within what the metric can be."""
        values = [end for point in self.points for end in (point.score.low, point.score.high)]
        values += [point.base_score for point in self.points if point.base_score is not None]
        low, high = min(values), max(values)
        room = 0.08 * (high - low) or 0.05
        top = high + room if self.scale.high is None else min(self.scale.high, high + room)
        return max(self.scale.low, low - room), top


def trends(registry: Registry, domain: str, suite: str | None = None) -> list[Trend]:
    """One trend for each suite that versions of the domain were evaluated on.

    Raises:
        NotFoundError: no version of the domain was evaluated, or none on that suite.
    """
    newest: dict[str, list[EvaluationRecord]] = {}
    for manifest in registry.versions(domain):
        of_version = {record.suite: record for record in reversed(registry.evaluations(manifest.name))}
        for name, record in of_version.items():
            newest.setdefault(name, []).append(record)
    if not newest:
        raise NotFoundError(
            f"no version of {domain} was evaluated", hint=f"locum eval {domain} evaluates its candidate"
        )
    if suite is not None and suite not in newest:
        raise NotFoundError(f"no version of {domain} was evaluated on {suite!r}{alternatives(suite, sorted(newest))}")
    return [trend_of(domain, name, newest[name]) for name in sorted(newest) if suite in (None, name)]


def trend_of(domain: str, suite: str, records: Sequence[EvaluationRecord]) -> Trend:
    """The trend of evaluations on one suite, one a version, in the order of the versions.

    The newest says what the suite is now. Scores by another metric than its one are left out.
    """
    last = max(records, key=lambda record: record.created_at)
    low, high = last.score_range or (0.0, 1.0)
    scale = MetricScale(unit=last.unit, low=low, high=high, higher_is_better=last.higher_is_better, binary=False)
    points = [
        Point(
            version=f"{domain}@{record.number}",
            score=Estimate(record.score, *(record.score_interval or (record.score, record.score))),
            base_score=record.base_score,
            status=record.status or ("passed" if record.passed else "failed"),
            samples=record.samples,
            suite_digest=record.suite_digest,
            comparable=record.suite_digest == last.suite_digest,
            at=record.created_at,
        )
        for record in records
        if record.metric == last.metric
    ]
    return Trend(domain, suite, last.metric, scale, points)


def interval_line(point: Point, ends: tuple[float, float], width: int) -> str:
    """A score in characters: `   ├──●──┤    `, and `·` where the base model stands."""

    def at(value: float) -> int:
        span = ends[1] - ends[0]
        share = (value - ends[0]) / span if span > 0 else 0.5
        return min(width - 1, max(0, round(share * (width - 1))))

    cells = [" "] * width
    if point.base_score is not None:
        cells[at(point.base_score)] = "·"
    low, high = at(point.score.low), at(point.score.high)
    cells[low : high + 1] = "─" * (high - low + 1)
    cells[low], cells[high] = "├", "┤"
    cells[at(point.score.mean)] = "●"
    return "".join(cells)


def check_plot(path: Path) -> None:
    """Refuse a file that no plot can be written to, by its name.

    Raises:
        BadInputError: the ending is none that is known.
    """
    if path.suffix not in (".html", *PLOTTED):
        raise BadInputError(f"{path}: expected a name that ends in .html, {', '.join(PLOTTED)}")


def write_trend(path: Path, found: Sequence[Trend]) -> None:
    """Write the plot as a picture or as a self-contained page, by the ending of the file's name.

    Raises:
        BadInputError: the ending is none that is known, or the file cannot be written.
        UnavailableError: matplotlib is not installed.
    """
    check_plot(path)
    if path.suffix == ".html":
        from locum.evaluate.page import trend_page
        from locum.evaluate.report import write_text

        write_text(path, trend_page(found))
    else:
        _plot(path, found)


def _plot(path: Path, found: Sequence[Trend]) -> None:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise UnavailableError(
            "pictures need matplotlib, which is not installed", hint="pip install 'locum[eval]'"
        ) from None

    figure = Figure(figsize=(8, 3.2 * len(found)), layout="constrained")
    for axes, trend in zip(figure.subplots(len(found), squeeze=False)[:, 0], found, strict=True):
        for comparable, look in ((True, {"color": "#2563c9", "label": "version"}), (False, {"color": "#98a2b3"})):
            some = [(place, each.score) for place, each in enumerate(trend.points) if each.comparable == comparable]
            axes.errorbar(
                [place for place, _ in some],
                [score.mean for _, score in some],
                yerr=[[score.mean - score.low for _, score in some], [score.high - score.mean for _, score in some]],
                marker="o",
                capsize=4,
                linestyle="-" if comparable else "none",
                **look,
            )
        base = [(place, point.base_score) for place, point in enumerate(trend.points) if point.base_score is not None]
        if base:
            axes.plot(*zip(*base, strict=True), linestyle=":", color="#98a2b3", label="base model")
        axes.set_xticks(range(len(trend.points)), [_label(point) for point in trend.points])
        axes.set_ylim(*trend.ends)
        axes.set_title(f"{trend.domain} on {trend.suite}", loc="left")
        axes.set_ylabel(f"{trend.metric} ({trend.figures.range()})")
        axes.grid(axis="y", alpha=0.3)
        axes.legend(frameon=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise BadInputError(f"{path} cannot be written: {error.strerror}") from None


def _label(point: Point) -> str:
    return point.version if point.comparable else f"{point.version}\n(other suite)"
