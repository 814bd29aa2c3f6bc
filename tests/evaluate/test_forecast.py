"""What an evaluation says of its cost before it asks anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from locum.evaluate.cache import CACHE_FILE, AnswerCache
from locum.evaluate.forecast import FEW, Forecast, Pace, duration, known_pace, learn_pace, total

PACE = Pace(0.5, "its last evaluation here")


@pytest.mark.parametrize(
    ("forecast", "sentence"),
    [
        (
            Forecast("legal · held-out", 1335, 890, PACE),
            "legal · held-out: 1,335 requests, of which 890 are known from before and 445 are asked: about 4 min, at "
            "the pace of its last evaluation here.",
        ),
        (
            Forecast("legal · held-out", 240, 0),
            "legal · held-out: 240 requests; how long that takes is known after the first answers.",
        ),
        (
            Forecast("legal · held-out", 240, 240, PACE),
            "legal · held-out: 240 requests, whose answers are all known from before: nothing is asked.",
        ),
        (
            Forecast("legal · one", 1, 0, PACE),
            "legal · one: 1 request: about 1 s, at the pace of its last evaluation here.",
        ),
    ],
)
def test_the_requests_those_known_and_the_time_are_said(forecast: Forecast, sentence: str) -> None:
    assert forecast.sentence == sentence


def test_several_suites_are_added_up() -> None:
    one, other = Forecast("a", 100, 0, PACE), Forecast("b", 300, 200, PACE)
    assert total([one, other]) == "Together 200 requests to ask: about 100 s."
    assert total([one, Forecast("b", 300, 200)]) == "Together 200 requests to ask."
    assert total([one]) is None
    assert total([Forecast("a", 9, 9), Forecast("b", 9, 9)]) is None


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "1 s"), (119, "119 s"), (300, "5 min"), (9000, "2.5 h")])
def test_times_are_no_more_exact_than_estimates_are(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_pace_is_learnt_of_a_suite_and_lent_to_others_at_the_same_endpoint(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / CACHE_FILE)
    here = ("http://127.0.0.1:8000/v1", "fingerprint", 8)
    assert known_pace(cache, "legal · held-out", *here) is None
    learn_pace(cache, "legal · held-out", *here, answers=FEW - 1, seconds=1)
    assert known_pace(cache, "legal · held-out", *here) is None
    learn_pace(cache, "legal · held-out", *here, answers=100, seconds=25)
    learn_pace(cache, "legal · letters", *here, answers=100, seconds=10)
    assert known_pace(cache, "legal · held-out", *here) == Pace(0.25, "its last evaluation here")
    assert known_pace(cache, "tax · held-out", *here) == Pace(0.1, "another suite at this endpoint")
    assert known_pace(cache, "legal · held-out", "http://elsewhere/v1", *here[1:]) is None
