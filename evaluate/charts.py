"""Charts as inline SVG. They hold shapes only; the words beside them are HTML, which wraps and never shrinks.

All but `reliability` are drawn on a canvas that stretches to its container: x from 0 to 100, y from 0 to the given
height. Lines keep their width (`vector-effect`), and colours are the page's CSS classes, so that light and dark need
one drawing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from locum.evaluate.statistics import Estimate

BINS = 40


@dataclass(frozen=True)
class Axis:
    """The values at both ends of a chart."""

    low: float
    high: float

    def x(self, value: float) -> float:
        """Where a value stands, from 0 to 100; what lies outside stands at the edge."""
        span = self.high - self.low
        share = (value - self.low) / span if span > 0 else 0.5
        return round(100 * min(1.0, max(0.0, share)), 2)


def around_zero(estimates: Sequence[Estimate], *further: float) -> Axis:
    """An axis that holds zero, all the intervals and what else is drawn, with a little room at both ends."""
    ends = [0.0, *further, *known_ends(estimates)]
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low) or 0.05
    return Axis(low - room, high + room)


def known_ends(estimates: Sequence[Estimate]) -> list[float]:
    """The means and those ends of their intervals that there are; a metric without an upper end may have none."""
    found = [value for each in estimates for value in (each.low, each.mean, each.high)]
    return [value for value in found if math.isfinite(value)]


def score_bar(estimate: Estimate, tone: str, axis: Axis = Axis(0.0, 1.0)) -> Markup:
    """A bar from the axis' low end to the mean, with its interval as a whisker."""
    bar = Markup('<rect class="{}" x="0" y="4" width="{}" height="12" />').format(tone, axis.x(estimate.mean))
    return _svg(20, bar + _whisker(axis.x(estimate.low), axis.x(estimate.high), 10))


def difference_bar(estimate: Estimate, axis: Axis, tone: str, margin: float | None = None) -> Markup:
    """An interval with its mean, zero as a dashed line to be crossed or not, and the margin as a solid one."""
    zero = Markup('<line class="zero" x1="{0}" x2="{0}" y1="0" y2="20" />').format(axis.x(0))
    limit = Markup() if margin is None else Markup('<line class="margin" x1="{0}" x2="{0}" y1="0" y2="20" />')
    low, high = axis.x(estimate.low), axis.x(estimate.high)
    band = Markup('<rect class="{} band" x="{}" y="6" width="{}" height="8" />').format(
        tone, low, max(0.3, round(high - low, 2))
    )
    mean = Markup('<line class="{0} mean" x1="{1}" x2="{1}" y1="3" y2="17" />').format(tone, axis.x(estimate.mean))
    return _svg(20, zero + (limit.format(axis.x(margin)) if margin is not None else limit) + band + mean)


def outcome_bar(better: int, equal: int, worse: int) -> Markup:
    """One bar in three parts, wide as their shares: better, equal, worse."""
    total = better + equal + worse
    drawn, start = Markup(), 0.0
    for tone, count in (("good", better), ("even", equal), ("bad", worse)):
        width = 100 * count / total if total else 0.0
        drawn += Markup('<rect class="{}" x="{}" y="0" width="{}" height="20" />').format(
            tone, round(start, 2), round(width, 2)
        )
        start += width
    return _svg(20, drawn)


def histogram(values: Sequence[float], *, top: float, tone: str) -> Markup:
    """How many values fall into each of 40 equal bins from 0 to `top`; the tallest bin fills the height."""
    counts = _counts(values, Axis(0.0, top), BINS)
    return _svg(40, _bars(counts, max(counts), tone, base=40, up=True, height=40))


def mirrored_histogram(ours: Sequence[float], theirs: Sequence[float], *, axis: Axis, tones: tuple[str, str]) -> Markup:
    """Two distributions over 20 equal bins on one scale, the first upwards and the second downwards."""
    up, down = _counts(ours, axis, BINS // 2), _counts(theirs, axis, BINS // 2)
    tallest = max(*up, *down, 1)
    middle = Markup('<line class="zero" x1="0" x2="100" y1="40" y2="40" />')
    drawn = _bars(up, tallest, tones[0], base=40, up=True, height=38)
    return _svg(80, drawn + _bars(down, tallest, tones[1], base=40, up=False, height=38) + middle)


def trend_line(points: Sequence[tuple[Estimate, float | None, bool]], ends: tuple[float, float]) -> Markup:
    """Scores from left to right with their intervals, joined where they are comparable; the base model below them.

    Each point is a score, the base model's, and whether it is of the suite as it is now.
    """
    axis = Axis(*ends)
    step = 100 / len(points)
    places = [round(step * (index + 0.5), 2) for index in range(len(points))]
    tops = [round(100 - axis.x(score.mean), 2) for score, _, _ in points]
    grid = Markup().join(
        Markup('<line class="grid" x1="0" x2="100" y1="{0}" y2="{0}" />').format(at) for at in (0, 50, 100)
    )
    line = Markup('<polyline points="{}" />').format(
        " ".join(f"{x},{y}" for x, y, (_, _, comparable) in zip(places, tops, points, strict=True) if comparable)
    )
    drawn = Markup()
    for x, y, (score, base, comparable) in zip(places, tops, points, strict=True):
        tone = "version" if comparable else "old"
        if base is not None:
            at = round(100 - axis.x(base), 2)
            drawn += Markup('<line class="base dot" x1="{0}" x2="{0}" y1="{1}" y2="{1}" />').format(x, at)
        drawn += Markup('<line class="{} reach" x1="{}" x2="{}" y1="{}" y2="{}" />').format(
            tone, x, x, round(100 - axis.x(score.low), 2), round(100 - axis.x(score.high), 2)
        )
        drawn += Markup('<line class="{0} dot" x1="{1}" x2="{1}" y1="{2}" y2="{2}" />').format(tone, x, y)
    return _svg(100, grid + line + drawn)


def reliability(points: Sequence[tuple[float, float, int]]) -> Markup:
    """How often answers are right (upwards) that are given with a confidence (to the right), on a square of 100.

    Each point is confidence, accuracy and how many answers it stands for, which its area shows. On the diagonal a
    model is right as often as it is sure.
    """
    most = max((count for _, _, count in points), default=1)
    grid = Markup().join(
        Markup(
            '<line class="grid" x1="{0}" x2="{0}" y1="0" y2="100" />'
            '<line class="grid" x1="0" x2="100" y1="{0}" y2="{0}" />'
        ).format(at)
        for at in (0, 25, 50, 75, 100)
    )
    diagonal = Markup('<line class="zero" x1="0" y1="100" x2="100" y2="0" />')
    drawn = Markup().join(
        Markup(
            '<line class="gap" x1="{0}" x2="{0}" y1="{1}" y2="{2}" />'
            '<circle class="version" cx="{0}" cy="{1}" r="{3}" />'
        ).format(
            round(100 * confidence, 2),
            round(100 - 100 * accuracy, 2),
            round(100 - 100 * confidence, 2),
            round(1.2 + 3.8 * (count / most) ** 0.5, 2),
        )
        for confidence, accuracy, count in points
        if count
    )
    return Markup('<svg class="square" viewBox="-6 -6 112 112" aria-hidden="true">{}</svg>').format(
        grid + diagonal + drawn
    )


def _counts(values: Sequence[float], axis: Axis, bins: int) -> list[int]:
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int(bins * axis.x(value) / 100))] += 1
    return counts


def _bars(counts: Sequence[int], tallest: int, tone: str, *, base: int, up: bool, height: int) -> Markup:
    width = 100 / len(counts)
    return Markup().join(
        Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}" />').format(
            tone,
            round(index * width, 2),
            round(base - height * count / tallest, 2) if up else base,
            round(width * 0.86, 2),
            round(height * count / tallest, 2),
        )
        for index, count in enumerate(counts)
        if count
    )


def _whisker(low: float, high: float, y: float) -> Markup:
    """Three lines, each over a wider one in the card's colour: they stay readable on a bar of any colour."""
    lines = [(low, high, y, y), (low, low, y - 4, y + 4), (high, high, y - 4, y + 4)]
    return Markup().join(
        Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}" />').format(kind, *line)
        for kind in ("halo", "whisker")
        for line in lines
    )


def _svg(height: int, content: Markup) -> Markup:
    return Markup('<svg viewBox="0 0 100 {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>').format(
        height, content
    )
