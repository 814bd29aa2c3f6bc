"""What people have said of the pairs that a judge compares: the arena's votes, in the judge's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from locum.adapters.votes import arenas, questions, votes
from locum.evaluate.judge.agreement import Agreement, judge_agreement
from locum.evaluate.judge.rating import Preferred
from locum.evaluate.judge.summary import PeopleSummary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locum.adapters.registry import Registry

_SIDES: dict[str, Literal["left", "right", "tie"]] = {"model": "left", "against": "right", "tie": "tie"}


def people_summary(
    registry: Registry, domain: str, outcomes: Sequence[Preferred], *, confidence: float
) -> PeopleSummary | None:
    """How far the judge agrees with people, over the pairs that both have compared; none where there is no such pair.

    Args:
        outcomes: what the judge said of each pair.
    """
    said = votes_of(registry, domain)
    judged = {(outcome.question, frozenset((outcome.left, outcome.right))) for outcome in outcomes}
    if not any((vote.question, frozenset((vote.left, vote.right))) in judged for vote in said):
        return None
    return _summary(judge_agreement(said, outcomes, confidence=confidence))


def votes_of(registry: Registry, domain: str) -> list[Preferred]:
    """All votes in a domain's arenas. `left` is the arena's `model`, wherever it stood on the reviewer's page."""
    found = []
    for number, arena in arenas(registry, domain).items():
        samples = {question.number: question.sample for question in questions(registry, number)}
        found += [
            Preferred(samples[vote.number], arena.model, arena.against, _SIDES[vote.preferred])
            for vote in votes(registry, number)
        ]
    return found


def _summary(agreement: Agreement) -> PeopleSummary:
    return PeopleSummary(
        agreement=agreement.accuracy,
        kappa=agreement.kappa,
        pairs=agreement.pairs,
        votes=agreement.votes,
        among_people=agreement.among_people,
    )
