"""Verdicts: what a judge may say, the schema it is held to, and how its reply is read when nothing holds it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from locum.adapters.judge import Dimension
from locum.adapters.replies import objects_in
from locum.evaluate.judge.rubric import HIGHEST, LOWEST

Place = Literal["first", "second", "tie"]

PREFERENCE = "preference"  # the key in an answer's `ratings` under which comparisons stand

_OF_FIVE = re.compile(rf"\s*(\d+)(?:\.0+)?\s*(?:/\s*{HIGHEST}|分)?\s*")
_PLACES: dict[str, Place] = {
    "a": "first",
    "answer a": "first",
    "answer-a": "first",
    "回答a": "first",
    "b": "second",
    "answer b": "second",
    "answer-b": "second",
    "回答b": "second",
    "tie": "tie",
    "平局": "tie",
}


@dataclass(frozen=True)
class Rating:
    """A grade from 1 to 5 for each dimension, and why."""

    grades: dict[str, int]
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """Which place is better, the first answer's or the second's, and why."""

    winner: Place
    reason: str = ""


_Verdict = TypeVar("_Verdict", Rating, Comparison)


class UnreadableError(Exception):
    """A reply that is no verdict; the message says what was expected and what was found."""


def ratings_schema(dimensions: Sequence[Dimension]) -> dict[str, Any]:
    """The JSON schema of a rating. The reason comes first, so that the grades follow from it."""
    grade = {"type": "integer", "enum": list(range(LOWEST, HIGHEST + 1))}
    return _object({"reason": {"type": "string"}, **dict.fromkeys(dimensions, grade)})


def winner_schema() -> dict[str, Any]:
    """The JSON schema of a comparison."""
    return _object({"reason": {"type": "string"}, "winner": {"type": "string", "enum": ["A", "B", "tie"]}})


def read_rating(text: str, dimensions: Sequence[Dimension]) -> Rating:
    """The grades in a judge's reply.

    The JSON object may stand in a code block or among words, and a grade may be 4, "4", "4/5" or {"score": 4}. What is
    not a whole number from 1 to 5 is refused and not rounded or clipped: nobody can say what the judge meant by it.

    Raises:
        UnreadableError: a grade is missing or is none, or the reply holds different verdicts.
    """
    problem = ""
    found: list[tuple[object, Rating]] = []
    for value in objects_in(text, dimensions):
        grades = {name: _grade(value.get(name)) for name in dimensions}
        wrong = [name for name, grade in grades.items() if grade is None]
        if wrong:
            problem = f"{wrong[0]}: expected a whole number from {LOWEST} to {HIGHEST}, found {_short(value, wrong[0])}"
        else:
            rating = Rating({name: grade for name, grade in grades.items() if grade is not None}, _reason(value))
            found.append((rating.grades, rating))
    return _the_one(found, problem or f"expected JSON with {', '.join(dimensions)}, found {_excerpt(text)}")


def read_comparison(text: str) -> Comparison:
    """The winner in a judge's reply.

    Raises:
        UnreadableError: it names no winner, or different ones.
    """
    problem = ""
    found: list[tuple[object, Comparison]] = []
    for value in objects_in(text, ["winner"]):
        place = _PLACES.get(str(value["winner"]).strip().lower())
        if place is None:
            problem = f"winner: expected A, B or tie, found {_short(value, 'winner')}"
        else:
            found.append((place, Comparison(place, _reason(value))))
    return _the_one(found, problem or f"expected JSON with winner, found {_excerpt(text)}")


def settled(points: Sequence[float]) -> float:
    """The verdict on a pair from that of each order: the same in all of them, or else a tie (0.5)."""
    return points[0] if all(each == points[0] for each in points) else 0.5


def _the_one(found: Sequence[tuple[object, _Verdict]], problem: str) -> _Verdict:
    """The verdict that all of `found` agree on in substance; their reasons may differ."""
    if not found:
        raise UnreadableError(problem)
    substance, verdict = found[0]
    if any(each != substance for each, _ in found):
        raise UnreadableError(f"expected one verdict, found {len(found)} that differ")
    return verdict


def _reason(value: dict[str, Any]) -> str:
    reason = value.get("reason", "")
    # JSON can name half a character (\ud83d without its other half), which no file can hold.
    return reason.strip().encode(errors="replace").decode() if isinstance(reason, str) else ""


def _grade(value: Any) -> int | None:
    if isinstance(value, dict):
        value = next((value[name] for name in ("score", "rating", "grade") if name in value), None)
    if isinstance(value, str) and (number := _OF_FIVE.fullmatch(value)):
        value = int(number[1])
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return int(value) if LOWEST <= value <= HIGHEST else None


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _short(value: dict[str, Any], name: str) -> str:
    return _excerpt(json.dumps(value[name], ensure_ascii=False)) if name in value else "nothing"


def _excerpt(text: str) -> str:
    said = " ".join(text.split())
    return repr(said[:60]) if said else "nothing"
