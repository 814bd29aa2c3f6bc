"""What an answer cost: first token, pace, tokens."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from locum.evaluate.answers import Answer

Score = Callable[..., float | None]


def test_service_is_read_from_the_answers_own_times(score: Score, make_answer: Callable[..., Answer]) -> None:
    answer = make_answer(answer="six tokens", first_token_s=0.2, latency_s=1.2, completion_tokens=6)
    assert score("first_token", answer) == 0.2
    assert score("per_token", answer) == pytest.approx(0.2)  # (1.2 − 0.2) s over five tokens
    assert score("tokens", answer) == 6


def test_nothing_is_said_about_what_was_not_measured(score: Score, make_answer: Callable[..., Answer]) -> None:
    one_token = make_answer(answer="one", first_token_s=0.2, latency_s=0.2, completion_tokens=1)
    assert score("per_token", one_token) is None
    for name in ("first_token", "per_token", "tokens"):
        assert score(name, "an answer") is None
