"""How scores are written: with the digits that their scale needs, their unit and their direction."""

from __future__ import annotations

from math import inf

import pytest

from locum.evaluate.figures import Figures, p_value
from locum.evaluate.result import MetricScale
from locum.evaluate.significance import Test
from locum.evaluate.statistics import Estimate


def figures(*, unit: str = "", low: float = 0.0, high: float | None = 1.0, higher: bool = True) -> Figures:
    return Figures(MetricScale(unit=unit, low=low, high=high, higher_is_better=higher, binary=False))


@pytest.mark.parametrize(
    ("high", "number", "written"),
    [
        (1.0, 0.7254, "0.725"),
        (2.0, 0.7254, "0.73"),
        (5.0, 4.256, "4.26"),
        (100.0, 42.123, "42.1"),
        (None, 0.0423, "0.042"),
        (None, 1.234, "1.23"),
        (None, 12.34, "12.3"),
        (None, 1234.5, "1234"),
        (None, inf, "inf"),
    ],
)
def test_a_score_has_the_digits_that_its_scale_needs(high: float | None, number: float, written: str) -> None:
    assert figures(high=high).value(number) == written


def test_an_interval_tells_its_unit_and_a_difference_its_signs() -> None:
    found = Estimate(12.34, 10.0, 15.5)
    assert figures(unit="s", high=None).estimate(found) == "12.3 [10.0, 15.5] s"
    assert figures().difference(Estimate(0.1, -0.05, 0.25)) == "+0.100 [-0.050, +0.250]"


def test_the_range_says_what_is_better_where_that_is_not_more() -> None:
    assert figures().range() == "0 to 1"
    assert figures(low=-1.0, high=100.0, unit="points").range() == "-1 to 100, points"
    assert figures(high=None, unit="s", higher=False).range() == "from 0, s, lower is better"


@pytest.mark.parametrize(
    ("low", "high", "higher", "told"),
    [
        (0.1, 0.2, True, "good"),
        (0.1, 0.2, False, "bad"),
        (-0.2, -0.1, True, "bad"),
        (-0.2, -0.1, False, "good"),
        (-0.1, 0.1, True, "even"),
        (0.0, 0.1, True, "even"),
    ],
)
def test_a_difference_is_good_in_the_direction_of_the_metric(low: float, high: float, higher: bool, told: str) -> None:
    assert figures(higher=higher).better(Estimate((low + high) / 2, low, high)) == told


def test_a_p_value_is_never_told_as_nought() -> None:
    assert p_value(Test(name="mcnemar", p=0.0321)) == "p = 0.032"
    assert p_value(Test(name="mcnemar", p=0.0321, p_adjusted=0.0963)) == "p = 0.096"
    assert p_value(Test(name="permutation", p=0.0)) == "p < 0.001"
