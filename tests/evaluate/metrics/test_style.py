"""The same form of answer across paraphrases of one question."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.evaluate.answers import Answer
from locum.evaluate.metrics.registry import load_metric
from locum.evaluate.metrics.style import agreement, form_of
from locum.evaluate.samples import Sample

Scores = Callable[..., list[float | None]]


@pytest.fixture(scope="module")
def scores(make_sample: Callable[..., Sample], make_answer: Callable[..., Answer]) -> Scores:
    def score_all(answers: Sequence[str | None], sets: Sequence[str | None]) -> list[float | None]:
        return load_metric("style").score(
            [make_sample(paraphrase_of=name) for name in sets], [make_answer(answer=answer) for answer in answers]
        )

    return score_all


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("", "empty"),
        ("Respiratory", "label"),
        ("It is a respiratory disease", "prose"),
        ("Respiratory.", "prose"),
        ("- one\n- two", "list"),
        ("1. one\n2. two", "list"),
        ('{"a": 1}', "json"),
        ("```json\n[1]\n```", "json"),
        ("```\nx = 1\n```", "code"),
        ("| a | b |\n| --- | --- |\n| 1 | 2 |", "table"),
    ],
)
def test_the_shape_of_an_answer_is_told(text: str, shape: str) -> None:
    assert form_of(text).shape == shape


def test_a_model_that_says_nothing_but_line_ends_takes_no_longer_than_another() -> None:
    start = time.process_time()
    assert form_of("\n" * 50_000 + "- one\n\n\n - two").shape == "list"
    assert time.process_time() - start < 2


def test_the_other_traits_are_told() -> None:
    form = form_of("## Answer\nI think **this** is it.")
    assert (form.headings, form.emphasis, form.first_person, form.full_stop) == (True, True, True, True)
    assert (form.script, form.length) == ("LATIN", 6)
    chinese = form_of("我认为是哮喘。")
    assert (chinese.script, chinese.first_person, chinese.full_stop, chinese.length) == ("CJK", True, True, 6)


def test_answers_of_one_form_agree_fully_and_two_forms_by_their_share_of_traits(scores: Scores) -> None:
    assert scores(["It is asthma.", "It is bronchitis."], ["q", "q"]) == [1.0, 1.0]
    # A label against a sentence of three tokens: shape, full stop and length (1/3) differ; four traits do not.
    label = (4 + 1 / 3) / 7
    assert scores(["Asthma", "It is asthma.", "It is bronchitis."], ["q"] * 3) == pytest.approx(
        [label, (label + 1) / 2, (label + 1) / 2]
    )


def test_sets_are_scored_apart_and_nothing_is_said_about_an_answer_alone(scores: Scores) -> None:
    answers = ["Asthma", "It is asthma.", "Asthma", "- one\n- two", "alone", None]
    found = scores(answers, ["a", None, "a", "b", None, "b"])
    assert found == [1.0, None, 1.0, None, None, None]


@given(st.text(), st.text())
def test_agreement_is_symmetric_in_its_range_and_one_for_the_same(one: str, other: str) -> None:
    first, second = form_of(one), form_of(other)
    assert 0 <= agreement(first, second) <= 1
    assert agreement(first, second) == agreement(second, first)
    assert agreement(first, first) == 1
