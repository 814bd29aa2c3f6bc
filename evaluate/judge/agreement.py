"""How often a judge prefers what people prefer, where people have voted on the same pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, Protocol

from locum.errors import BadInputError
from locum.evaluate.statistics import Estimate, mean_estimate

Outcome = Literal["left", "right", "tie"]

_Pair = tuple[str, str, str]  # the question and the two models, by name


class Preference(Protocol):
    """Which of two answers to a question is better: `left` and `right` name the models. A vote has this form."""

    @property
    def question(self) -> str: ...
    @property
    def left(self) -> str: ...
    @property
    def right(self) -> str: ...
    @property
    def outcome(self) -> Outcome: ...


@dataclass(frozen=True)
class Agreement:
    """How far a judge and people agree on the pairs that both have spoken about."""

    accuracy: Estimate
    """Share of pairs on which the judge says what most people say, from 0 to 1, with its interval."""
    kappa: float | None
    """Cohen's kappa of the two: 1 is perfect, 0 is chance; none where chance alone would agree always."""
    pairs: int
    votes: int
    among_people: float | None
    """Share of two people's votes on one pair that agree: no judge can be expected to do better. None without two."""


def judge_agreement(
    votes: Sequence[Preference], verdicts: Sequence[Preference], *, confidence: float = 0.95
) -> Agreement:
    """Hold a judge's verdicts against people's votes.

    A pair is a question and two models, on whichever sides they stood. What people say of it is what most of them say;
    where no outcome has the most votes, they tie. Kappa is Cohen's, "A Coefficient of Agreement for Nominal Scales"
    (1960): (o - e) / (1 - e), o being the share of agreement and e what both would agree by chance, over the outcomes
    first model better, second better, tie, the models ordered by name. The interval is the bootstrap's, with whole
    questions drawn.

    Raises:
        BadInputError: no vote and verdict are on the same pair.
    """
    people: dict[_Pair, list[Outcome]] = {}
    for pair, outcome in map(_canonical, votes):
        people.setdefault(pair, []).append(outcome)
    judged = dict(map(_canonical, verdicts))
    both = sorted(people.keys() & judged.keys())
    if not both:
        raise BadInputError(
            f"no vote is on a pair that the judge has compared: {len(votes)} votes, {len(verdicts)} verdicts",
            hint="people and judge must compare the same models on the same suite",
        )
    said = [(_majority(people[pair]), judged[pair]) for pair in both]
    agreed = [float(theirs == its) for theirs, its in said]
    return Agreement(
        accuracy=mean_estimate(agreed, groups=[question for question, *_ in both], confidence=confidence),
        kappa=_kappa(said),
        pairs=len(both),
        votes=sum(len(people[pair]) for pair in both),
        among_people=_share_of_equals(people[pair] for pair in both),
    )


def _canonical(preference: Preference) -> tuple[_Pair, Outcome]:
    """The pair with its models ordered by name, and the outcome turned with them."""
    left, right = preference.left, preference.right
    if left <= right:
        return (preference.question, left, right), preference.outcome
    turned: dict[Outcome, Outcome] = {"left": "right", "right": "left", "tie": "tie"}
    return (preference.question, right, left), turned[preference.outcome]


def _majority(outcomes: Sequence[Outcome]) -> Outcome:
    (first, most), *others = Counter(outcomes).most_common()
    return "tie" if others and others[0][1] == most else first


def _kappa(said: Sequence[tuple[Outcome, Outcome]]) -> float | None:
    count = len(said)
    observed = sum(theirs == its for theirs, its in said) / count
    ours, theirs = Counter(its for _, its in said), Counter(theirs for theirs, _ in said)
    expected = sum(ours[outcome] * theirs[outcome] for outcome in ours) / count**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def _share_of_equals(outcomes: Iterable[Sequence[Outcome]]) -> float | None:
    compared = [one == other for each in outcomes for one, other in combinations(each, 2)]
    return sum(compared) / len(compared) if compared else None
