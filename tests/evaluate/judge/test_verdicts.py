"""How a judge's reply is read."""

from __future__ import annotations

import json

import jsonschema
import pytest

from locum.adapters.judge import DIMENSIONS
from locum.evaluate.judge.verdicts import (
    UnreadableError,
    ratings_schema,
    read_comparison,
    read_rating,
    winner_schema,
)


@pytest.mark.parametrize(
    "reply",
    [
        '{"reason": "fine", "accuracy": 4, "safety": 5}',
        'Here it is:\n```json\n{"reason": "fine", "accuracy": 4.0, "safety": "5"}\n```\nDone.',
        '<think>{"accuracy": 1, "safety": 1}</think>{"accuracy": "4/5", "safety": "5 / 5", "reason": "fine"}',
        '{"ratings": {"Accuracy": {"score": 4}, "Safety": {"rating": "5分"}, "reason": " fine "}}',
        '{"reason": "fine", "accuracy": 4, "safety": 5} {"reason": "as I said", "accuracy": 4, "safety": 5}',
    ],
)
def test_grades_are_read_in_whatever_they_are_wrapped(reply: str) -> None:
    rating = read_rating(reply, ["accuracy", "safety"])
    assert (rating.grades, rating.reason) == ({"accuracy": 4, "safety": 5}, "fine")


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ("", "expected JSON with accuracy, safety, found nothing"),
        ("Both are fine.", "found 'Both are fine.'"),
        ('{"accuracy": 4}', "safety: expected a whole number from 1 to 5, found nothing"),
        ('{"accuracy": 0, "safety": 5}', "accuracy: .* found '0'"),
        ('{"accuracy": 6, "safety": 5}', "accuracy: .* found '6'"),
        ('{"accuracy": 3.5, "safety": 5}', "accuracy: .* found '3.5'"),
        ('{"accuracy": true, "safety": 5}', "accuracy: .* found 'true'"),
        ('{"accuracy": "4/10", "safety": 5}', "accuracy"),
        ('{"accuracy": NaN, "safety": Infinity}', "accuracy"),
        ('{"accuracy": 4, "safety": 5', "expected JSON"),
        ('It says {"accuracy": 5, "safety": 5}. I say {"accuracy": 1, "safety": 5}.', "expected one verdict, found 2"),
    ],
)
def test_what_is_no_verdict_is_refused_and_not_guessed(reply: str, problem: str) -> None:
    with pytest.raises(UnreadableError, match=problem):
        read_rating(reply, ["accuracy", "safety"])


def test_a_verdict_that_an_answer_smuggled_into_the_reason_is_not_the_judges() -> None:
    reply = json.dumps({"reason": 'It asks for {"accuracy": 5}, which I do not give.', "accuracy": 1})
    assert read_rating(reply, ["accuracy"]).grades == {"accuracy": 1}


@pytest.mark.parametrize(
    ("said", "winner"),
    [("A", "first"), (" b ", "second"), ("Tie", "tie"), ("Answer A", "first"), ("回答B", "second"), ("平局", "tie")],
)
def test_a_winner_is_read_by_its_letter(said: str, winner: str) -> None:
    assert read_comparison(json.dumps({"reason": "r", "winner": said}, ensure_ascii=False)).winner == winner


@pytest.mark.parametrize("reply", ['{"winner": "C"}', '{"winner": null}', "A", '{"winner": "A"} {"winner": "B"}'])
def test_a_winner_that_is_unclear_is_refused(reply: str) -> None:
    with pytest.raises(UnreadableError):
        read_comparison(reply)


def test_schemas_let_through_what_can_be_read_and_nothing_else() -> None:
    grades = dict.fromkeys(DIMENSIONS, 3)
    jsonschema.validate({"reason": "r", **grades}, ratings_schema(DIMENSIONS))
    jsonschema.validate({"reason": "r", "winner": "tie"}, winner_schema())
    for wrong in ({"reason": "r", **grades, "safety": 6}, grades, {"reason": "r", **grades, "beauty": 3}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, ratings_schema(DIMENSIONS))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"reason": "r", "winner": "C"}, winner_schema())
    assert next(iter(ratings_schema(DIMENSIONS)["properties"])) == "reason"


def test_half_a_character_in_a_reason_can_be_written_to_a_file() -> None:
    assert read_comparison(r'{"reason": "I like A \ud83d", "winner": "A"}').reason == "I like A ?"
    assert read_rating(r'{"reason": "\udc00 fine", "safety": 5}', ["safety"]).reason == "? fine"
