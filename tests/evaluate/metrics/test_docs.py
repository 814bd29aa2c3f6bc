"""The documentation's tables say of each metric what the metric says of itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from locum.evaluate.metrics.registry import METRICS, load_metric

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
NEEDED: dict[str, dict[str, Any]] = {
    "notice": {"notices": ["a"]},
    "sources": {"pattern": "."},
    "forbidden": {"wordings": ["a"]},
}


def rows() -> dict[str, list[str]]:
    """Name to the other cells of its row."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name.strip("`"): others for name, *others in cells}


def test_every_metric_has_a_row_and_every_row_a_metric() -> None:
    assert set(rows()) == METRICS.keys()


@pytest.mark.parametrize("name", METRICS)
def test_a_row_says_range_unit_direction_and_options(name: str) -> None:
    metric = load_metric(name, NEEDED.get(name))
    what, found_range, unit, better, options, _source = rows()[name]
    high = "∞" if metric.high == math.inf else f"{metric.high:g}"
    assert what
    assert found_range == ("0 or 1" if metric.binary else f"{metric.low:g} to {high}")
    assert unit == metric.unit
    assert better == ("higher" if metric.higher_is_better else "lower")
    assert sorted(options.replace("`", "").replace(" ", "").split(",")) == sorted(
        metric.module.options_type.model_fields or [""]
    )
