"""What charts draw, read from their SVG."""

from __future__ import annotations

import re
from math import inf

import pytest

from locum.evaluate.charts import (
    Axis,
    around_zero,
    difference_bar,
    histogram,
    mirrored_histogram,
    outcome_bar,
    reliability,
    score_bar,
    trend_line,
)
from locum.evaluate.statistics import Estimate


def values(svg: str, pattern: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, svg)]


def test_a_score_is_drawn_from_the_low_end_of_its_scale() -> None:
    drawn = score_bar(Estimate(15, 12.5, 17.5), "version", Axis(10, 20))
    assert values(drawn, r'<rect class="version" x="0" y="4" width="([\d.]+)"') == [50.0]
    assert values(drawn, r'<line class="whisker" x1="([\d.]+)"')[:2] == [25.0, 25.0]


def test_what_lies_outside_a_scale_stands_at_its_edge() -> None:
    assert [Axis(0, 1).x(value) for value in (-5, 0.5, 5, inf)] == [0, 50, 100, 100]
    assert Axis(1, 1).x(1) == 50


def test_an_axis_of_differences_holds_zero_the_margin_and_every_end_that_there_is() -> None:
    axis = around_zero([Estimate(0.2, 0.1, 0.3)], -0.1)
    assert axis.low < -0.1 < 0 < 0.3 < axis.high
    unbounded = around_zero([Estimate(0.2, -inf, inf)])
    assert unbounded.low < 0 < 0.2 < unbounded.high < 1


def test_a_difference_shows_zero_and_the_margin_where_there_is_one() -> None:
    axis = Axis(-1, 1)
    assert values(difference_bar(Estimate(0.5, 0, 1), axis, "good", -0.5), r'class="margin" x1="([\d.]+)"') == [25.0]
    assert "margin" not in difference_bar(Estimate(0.5, 0, 1), axis, "good")
    assert values(difference_bar(Estimate(0.5, 0, 1), axis, "good"), r'class="zero" x1="([\d.]+)"') == [50.0]


@pytest.mark.parametrize(("counts", "widths"), [((1, 2, 1), [25.0, 50.0, 25.0]), ((0, 0, 0), [0.0, 0.0, 0.0])])
def test_outcomes_fill_the_bar_by_their_shares(counts: tuple[int, int, int], widths: list[float]) -> None:
    assert values(outcome_bar(*counts), r'y="0" width="([\d.]+)"') == widths


def test_the_tallest_bin_of_a_histogram_fills_its_height() -> None:
    heights = values(histogram([0.0, 0.01, 1.0], top=1.0, tone="base"), r' height="([\d.]+)"')
    assert heights == [40.0, 20.0]


def test_two_distributions_share_one_scale_of_heights() -> None:
    drawn = mirrored_histogram([0.0] * 4, [1.0] * 2, axis=Axis(0, 1), tones=("version", "base"))
    assert values(drawn, r'class="version" x="0.0" y="2.0" width="[\d.]+" height="([\d.]+)"') == [38.0]
    assert values(drawn, r'class="base" x="95.0" y="40" width="[\d.]+" height="([\d.]+)"') == [19.0]


def test_a_model_that_is_too_sure_stands_below_the_diagonal() -> None:
    drawn = reliability([(0.9, 0.5, 10), (0.2, 0.2, 40)])
    assert values(drawn, r'<circle class="version" cx="([\d.]+)"') == [90.0, 20.0]
    assert values(drawn, r'cy="([\d.]+)"') == [50.0, 80.0]
    small, large = values(drawn, r' r="([\d.]+)"')
    assert small < large


def test_a_trend_joins_only_the_points_that_can_be_compared() -> None:
    score = Estimate(0.5, 0.4, 0.6)
    drawn = trend_line([(score, 0.1, False), (score, None, True), (score, 0.1, True)], (0, 1))
    [line] = re.findall(r'<polyline points="([^"]*)"', drawn)
    assert line == "50.0,50.0 83.33,50.0"
    assert len(re.findall(r'class="base dot"', drawn)) == 2
    assert len(re.findall(r'class="old dot"', drawn)) == 1
