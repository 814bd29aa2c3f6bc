"""Charts as inline SVG. They hold shapes only; the words beside them are HTML, which wraps and never shrinks.

All are drawn on a canvas that stretches to its container: x from 0 to 100, y from 0 to the given height. Lines keep
their width (`vector-effect`), and colours are the page's CSS classes, so that light and dark need one drawing.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from locum.evaluate.statistics import Estimate

BINS = 40


def score_bar(estimate: Estimate, tone: str) -> Markup:
    """A bar from 0 to the mean, with its interval as a whisker. Scores are from 0 to 1."""
    bar = Markup('<rect class="{}" x="0" y="4" width="{}" height="12" />').format(tone, _x(estimate.mean))
    return _svg(20, bar + _whisker(_x(estimate.low), _x(estimate.high), 10))


def difference_bar(estimate: Estimate, *, low: float, high: float) -> Markup:
    """An interval on a scale from `low` to `high`, with its mean, and zero as a line to be crossed or not."""

    def x(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    tone = "good" if estimate.low > 0 else "bad" if estimate.high < 0 else "even"
    zero = Markup('<line class="zero" x1="{0}" x2="{0}" y1="0" y2="20" />').format(x(0))
    band = Markup('<rect class="{} band" x="{}" y="6" width="{}" height="8" />').format(
        tone, x(estimate.low), max(0.3, round(x(estimate.high) - x(estimate.low), 2))
    )
    mean = Markup('<line class="{0} mean" x1="{1}" x2="{1}" y1="3" y2="17" />').format(tone, x(estimate.mean))
    return _svg(20, zero + band + mean)


def outcome_bar(better: int, equal: int, worse: int) -> Markup:
    """One bar in three parts, wide as their shares: better, equal, worse."""
    total = better + equal + worse
    drawn, start = Markup(), 0.0
    for tone, count in (("good", better), ("even", equal), ("bad", worse)):
        width = 100 * count / total
        drawn += Markup('<rect class="{}" x="{}" y="0" width="{}" height="20" />').format(
            tone, round(start, 2), round(width, 2)
        )
        start += width
    return _svg(20, drawn)


def histogram(values: Sequence[float], *, top: float, tone: str) -> Markup:
    """How many values fall into each of 40 equal bins from 0 to `top`; the tallest bin fills the height."""
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, int(BINS * value / top))] += 1
    tallest, width = max(counts), 100 / BINS
    bars = Markup().join(
        Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}" />').format(
            tone,
            round(index * width, 2),
            round(40 - 40 * count / tallest, 2),
            round(width * 0.86, 2),
            round(40 * count / tallest, 2),
        )
        for index, count in enumerate(counts)
        if count
    )
    return _svg(40, bars)


def _whisker(low: float, high: float, y: float) -> Markup:
    """Three lines, each over a wider one in the card's colour: they stay readable on a bar of any colour."""
    lines = [(low, high, y, y), (low, low, y - 4, y + 4), (high, high, y - 4, y + 4)]
    return Markup().join(
        Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}" />').format(kind, *line)
        for kind in ("halo", "whisker")
        for line in lines
    )


def _x(score: float) -> float:
    return round(100 * score, 2)


def _svg(height: int, content: Markup) -> Markup:
    return Markup('<svg viewBox="0 0 100 {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>').format(
        height, content
    )
