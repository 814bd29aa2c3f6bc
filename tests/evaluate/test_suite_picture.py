"""What a suite looks like in figures and bars."""

from __future__ import annotations

import pytest

from locum.evaluate.suite_picture import bar, bars, picture
from locum.settings import Settings
from tests.evaluate.suites import ask, workshop_in


def test_a_suite_in_figures(settings: Settings) -> None:
    choice = ask("which of these?", None, kind="choice", choices=["a", "b"], correct=0, topic="letters")
    rows = [ask("one", "1", topic="numbers", group="g"), ask("two", "2", topic="numbers", group="g"), choice]
    suite = workshop_in(settings).write(rows, slices=["topic"], thresholds={"slice_min_samples": 2}).load()
    shown = picture(suite)
    assert (shown.samples, shown.groups, shown.kinds) == (3, 2, {"choice": 1, "question": 2})
    assert [(each.field, each.value, each.samples, each.judged) for each in shown.slices] == [
        ("topic", "letters", 1, False),
        ("topic", "numbers", 2, True),
        ("language", "other", 3, False),
        ("length", "short", 3, False),
    ]
    assert shown.questions == {"≤ 4": 2, "≤ 8": 0, "≤ 16": 1}
    assert shown.answers == {"≤ 1": 3}
    assert shown.digest == suite.digest


@pytest.mark.parametrize(("share", "drawn"), [(0, ""), (0.001, "▏"), (0.5, "██"), (0.6, "██▍"), (1, "████")])
def test_a_bar_is_as_long_as_its_share(share: float, drawn: str) -> None:
    assert bar(share, width=4) == drawn


def test_the_longest_bar_is_the_most_frequent() -> None:
    assert bars({"a": 1, "b": 2}, width=2) == [("a", "█", 1), ("b", "██", 2)]
    assert bars({}) == []
