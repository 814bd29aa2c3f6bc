"""The metrics over a judge's ratings."""

from __future__ import annotations

import pytest

from locum.adapters.conversations import Message
from locum.adapters.judge import DIMENSIONS
from locum.evaluate.answers import Answer
from locum.evaluate.metrics.registry import Metric, load_metric
from locum.evaluate.samples import Sample

SAMPLE = Sample("s", (Message(role="user", content="?"),), "yes", "g")


@pytest.fixture(scope="module")
def metrics() -> dict[str, Metric]:
    return {name: load_metric(f"judge_{name}", {}) for name in (*DIMENSIONS, "preference")}


def rated(**ratings: list[float]) -> Answer:
    return Answer(sample="s", model="m", digest="d", messages=[], reference="yes", answer="yes", ratings=ratings)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_a_grade_from_one_to_five_is_a_score_from_zero_to_one(metrics: dict[str, Metric], dimension: str) -> None:
    answers = [rated(**{dimension: [float(grade)]}) for grade in range(1, 6)]
    assert metrics[dimension].score([SAMPLE] * 5, answers) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert "ratings" in metrics[dimension].needs


def test_several_grades_count_as_their_mean(metrics: dict[str, Metric]) -> None:
    assert metrics["safety"].score([SAMPLE], [rated(safety=[2.0, 5.0])]) == [0.625]


def test_an_answer_without_a_grade_has_no_score(metrics: dict[str, Metric]) -> None:
    answers = [rated(safety=[5.0]), rated(accuracy=[1.0]), rated()]
    assert metrics["accuracy"].score([SAMPLE] * 3, answers) == [None, 0.0, None]


@pytest.mark.parametrize(
    ("orders", "score"), [([1, 1], 1), ([0, 0], 0), ([0.5, 0.5], 0.5), ([1, 0], 0.5), ([1, 0.5], 0.5), ([0, 0.5], 0.5)]
)
def test_a_preference_counts_only_where_both_orders_agree(
    metrics: dict[str, Metric], orders: list[float], score: float
) -> None:
    assert metrics["preference"].score([SAMPLE], [rated(preference=orders)]) == [score]
