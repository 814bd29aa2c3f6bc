"""Advice: each shape of a curve is named, with what to change; a good one is left alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.recipe import TrainingRecipe
from locum.adapters.suites import Generation, SuiteCard
from locum.train.advice import advice
from locum.train.result import Losses

GOOD = {0: 3.0, 10: 1.0, 20: 0.5, 30: 0.49}


def said(
    validation: dict[int, float],
    train: list[float] | None = None,
    *,
    rows: int = 1000,
    longest_answer: int = 8,
    **recipe: Any,
) -> list[str]:
    steps = max(validation)
    falling = [3.0 - 2.5 * step / steps for step in range(1, steps + 1)]
    losses = Losses(train=dict(enumerate(train or falling, start=1)), validation=validation)
    return advice(
        losses,
        TrainingRecipe(**recipe),
        steps=steps,
        best_step=min((step for step in validation if step), key=validation.__getitem__),
        train_rows=rows,
        longest_answer=longest_answer,
        suites=[SuiteCard(name="held-out", generation=Generation(max_tokens=12))],
    )


def test_nothing_is_said_of_a_training_that_went_well() -> None:
    assert said(GOOD) == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (said({**GOOD, 40: 0.8}), ["Validation loss rose again from 0.490 (step 30, whose", "a lower learning rate"]),
        (said({**GOOD, 40: 0.8}, rows=210), ["overfitting; fewer epochs"]),
        (said({0: 3.0, 10: 2.0, 20: 1.5, 30: 1.2}), ["still falling at the end, from 1.500 to 1.200", "max_steps=60"]),
        (said({0: 3.0, 10: 2.95, 20: 2.9, 30: 2.89}), ["hardly fell, from 3.000 to 2.890"]),
        (
            said(GOOD, [3.0, 2.0, 1.0] * 2 + [0.9] * 10 + [4.0] * 14),
            ["the learning rate is too high", "learning_rate=0.0003"],
        ),
        (said(GOOD, rows=40), ["40 training rows are few"]),
        (said(GOOD, rows=205, batch_size=64), ["Each row was seen 9 times"]),
        (said(GOOD, longest_answer=20), ["longest answer has 20 tokens, and the suite held-out lets the model say 12"]),
    ],
)
def test_each_trouble_is_named_with_what_to_change(found: list[str], words: list[str]) -> None:
    [sentence] = found
    for word in words:
        assert word in sentence


curves = st.lists(st.floats(0.01, 10), min_size=2, max_size=8)


@given(curves)
def test_overfitting_is_never_seen_in_a_curve_that_only_falls_nor_underfitting_in_one_that_rises_at_the_end(
    values: list[float],
) -> None:
    def words(curve: list[float]) -> str:
        return " ".join(said({10 * place: value for place, value in enumerate(curve)}))

    assert "overfitting" not in words(sorted(values, reverse=True))
    assert "still falling" not in words([*values, 2 * max(values)])
