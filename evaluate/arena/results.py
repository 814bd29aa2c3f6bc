"""What the votes say: who is preferred and how surely, how far reviewers agree, and where they do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.judge import DIMENSIONS, Dimension
from locum.adapters.registry import Registry
from locum.adapters.votes import Arena, ArenaQuestion, Contestant, Preferred, Rating, Vote, arenas, questions, votes
from locum.errors import BadInputError
from locum.evaluate import preference
from locum.evaluate.agreement import Level, alpha
from locum.evaluate.judge.rubric import HIGHEST, LOWEST
from locum.evaluate.preference import bradley_terry, groups_of, pairs_of, win_rate
from locum.evaluate.statistics import Estimate, mean_estimate

CONFIDENCE = 0.95
_WORTH: dict[Preferred, float] = {"model": 1.0, "tie": 0.0, "against": -1.0}


@dataclass(frozen=True)
class Judged:
    """One vote, with what it was about."""

    arena_id: int
    arena: Arena
    question: ArenaQuestion
    vote: Vote

    @property
    def unit(self) -> tuple[int, int]:
        """What several reviewers may have voted on."""
        return self.arena_id, self.question.number


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Meeting(_Told):
    """Two contenders that met, and how often people preferred which."""

    model: str
    against: str
    questions: int
    votes: int
    wins: int = Field(description="votes for `model`")
    ties: int
    losses: int
    win_rate: Estimate = Field(description="each question counts once, by the mean of its votes; a tie is half a win")
    win_rate_by_reviewer: dict[str, float]


class Disagreement(_Told):
    """A question on which some preferred one answer and some the other."""

    question: str
    model: str
    against: str
    votes: dict[str, str] = Field(description="whom each reviewer preferred, or `tie`")


class Comment(_Told):
    """What a reviewer wrote, and whom they preferred there."""

    reviewer: str
    question: str
    preferred: str = Field(description="a name, or `tie`")
    a: str = Field(description="who was A for this reviewer there; the other was B")
    comment: str


class ArenaResults(_Told):
    """All that people have said in a domain's arenas."""

    domain: str
    confidence: float
    reviewers: list[str]
    votes: int
    meetings: list[Meeting]
    strengths: dict[str, Estimate] = Field(description="Bradley-Terry, in log-odds, mean 0, strongest first")
    no_strengths: str = Field(description="why there are no strengths; empty where there are")
    grades: dict[str, dict[Dimension, Estimate]] = Field(description="mean grade of 1 to 5 by contender and dimension")
    agreement: float | None = Field(description="Krippendorff's alpha, ordinal, over whom reviewers preferred")
    agreement_on_grades: dict[Dimension, float | None] = Field(description="the same over the grades")
    disagreements: list[Disagreement]
    comments: list[Comment] = Field(description="newest first")


def judged(registry: Registry, domain: str, *, suite: str | None = None) -> list[Judged]:
    """Every vote of a domain's arenas, or of those on one suite, oldest arena first."""
    found = []
    for arena_id, arena in arenas(registry, domain).items():
        if suite in (None, arena.suite):
            asked = {question.number: question for question in questions(registry, arena_id)}
            found += [Judged(arena_id, arena, asked[vote.number], vote) for vote in votes(registry, arena_id)]
    return found


def arena_results(domain: str, said: Sequence[Judged], *, confidence: float = CONFIDENCE) -> ArenaResults:
    """What these votes say.

    Raises:
        BadInputError: there is no vote.
    """
    if not said:
        raise BadInputError(f"nobody has voted on {domain} yet", hint=f"locum eval arena {domain} starts a comparison")
    names = _names(said)
    strengths, why_not = _strengths(said, names, confidence)
    return ArenaResults(
        domain=domain,
        confidence=confidence,
        reviewers=sorted({each.vote.reviewer for each in said}),
        votes=len(said),
        meetings=_meetings(said, names, confidence),
        strengths=strengths,
        no_strengths=why_not,
        grades=_grades(said, names, confidence),
        agreement=_agreement(
            ((each.vote.reviewer, each.unit, _WORTH[each.vote.preferred]) for each in said), "ordinal"
        ),
        agreement_on_grades={dimension: _agreement(_graded(said, dimension), "ordinal") for dimension in DIMENSIONS},
        disagreements=_disagreements(said, names),
        comments=[
            Comment(
                reviewer=each.vote.reviewer,
                question=each.question.messages[-1].content,
                preferred=_whom(each, names),
                a=names[each.arena_id, each.vote.left],
                comment=each.vote.comment,
            )
            for each in sorted(said, key=lambda each: each.vote.at, reverse=True)
            if each.vote.comment
        ],
    )


def _names(said: Sequence[Judged]) -> dict[tuple[int, Contestant], str]:
    """What each arena's contestants are called: by digest too, where two base models had one name."""
    digests = defaultdict(set)
    for each in said:
        digests[each.arena.model].add(each.arena.model_digest)
        digests[each.arena.against].add(each.arena.against_digest)

    def called(name: str, digest: str) -> str:
        return f"{name} ({digest[:8]})" if len(digests[name]) > 1 else name

    named: dict[tuple[int, Contestant], str] = {}
    for each in said:
        named[each.arena_id, "model"] = called(each.arena.model, each.arena.model_digest)
        named[each.arena_id, "against"] = called(each.arena.against, each.arena.against_digest)
    return named


def _meetings(said: Sequence[Judged], names: Mapping[tuple[int, Contestant], str], confidence: float) -> list[Meeting]:
    """Two contenders may have met in several arenas, either way round: the newest says which is the model."""
    met: defaultdict[tuple[str, str], list[tuple[Judged, float]]] = defaultdict(list)
    for each in reversed(said):
        pair = (names[each.arena_id, "model"], names[each.arena_id, "against"])
        turned = pair[::-1] in met
        worth = _WORTH[each.vote.preferred]
        met[pair[::-1] if turned else pair].append((each, -worth if turned else worth))
    return [_meeting(pair, found, confidence) for pair, found in met.items()]


def _meeting(pair: tuple[str, str], found: Sequence[tuple[Judged, float]], confidence: float) -> Meeting:
    by_question: defaultdict[str, list[float]] = defaultdict(list)
    by_reviewer: defaultdict[str, list[float]] = defaultdict(list)
    for each, worth in found:
        by_question[each.question.sample].append(worth)
        by_reviewer[each.vote.reviewer].append(worth)
    # Several votes on one question are no independent evidence: together they weigh as much as one.
    shares = [(worths.count(1) / len(worths), worths.count(-1) / len(worths)) for worths in by_question.values()]
    wins, losses = (sum(column) for column in zip(*shares, strict=True))
    worths = [worth for _, worth in found]
    return Meeting(
        model=pair[0],
        against=pair[1],
        questions=len(by_question),
        votes=len(found),
        wins=worths.count(1),
        ties=worths.count(0),
        losses=worths.count(-1),
        win_rate=win_rate(wins, max(0.0, len(shares) - wins - losses), losses, confidence),
        win_rate_by_reviewer={
            reviewer: sum(1 + worth for worth in theirs) / (2 * len(theirs))
            for reviewer, theirs in sorted(by_reviewer.items())
        },
    )


def as_preferences(
    said: Sequence[Judged], names: Mapping[tuple[int, Contestant], str] | None = None
) -> list[preference.Vote]:
    """The votes as `locum.evaluate.preference` takes them, by sides as they were shown."""
    names = names or _names(said)
    found = []
    for each in said:
        left = each.vote.left
        right: Contestant = "against" if left == "model" else "model"
        preferred = each.vote.preferred
        outcome: Literal["left", "right", "tie"] = (
            "tie" if preferred == "tie" else "left" if preferred == left else "right"
        )
        found.append(
            preference.Vote(
                question=each.question.sample,
                reviewer=each.vote.reviewer,
                left=names[each.arena_id, left],
                right=names[each.arena_id, right],
                outcome=outcome,
            )
        )
    return found


def _strengths(
    said: Sequence[Judged], names: Mapping[tuple[int, Contestant], str], confidence: float
) -> tuple[dict[str, Estimate], str]:
    given = as_preferences(said, names)
    try:
        return bradley_terry(pairs_of(given), groups=groups_of(given, "question"), confidence=confidence), ""
    except BadInputError as error:
        return {}, str(error)


def _grades(
    said: Sequence[Judged], names: Mapping[tuple[int, Contestant], str], confidence: float
) -> dict[str, dict[Dimension, Estimate]]:
    found: defaultdict[str, defaultdict[Dimension, list[tuple[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for each in said:
        for contestant, rating in _ratings(each.vote):
            for dimension, grade in rating.items():
                found[names[each.arena_id, contestant]][dimension].append((each.question.sample, float(grade)))
    return {
        name: {
            dimension: mean_estimate(
                [grade for _, grade in by_dimension[dimension]],
                groups=[sample for sample, _ in by_dimension[dimension]],
                confidence=confidence,
                bounds=(LOWEST, HIGHEST),
            )
            for dimension in DIMENSIONS
            if dimension in by_dimension
        }
        for name, by_dimension in found.items()
    }


def _ratings(vote: Vote) -> list[tuple[Contestant, Rating]]:
    return [("model", vote.model_rating), ("against", vote.against_rating)]


def _graded(said: Iterable[Judged], dimension: Dimension) -> Iterable[tuple[str, tuple[object, ...], float]]:
    for each in said:
        for contestant, rating in _ratings(each.vote):
            if dimension in rating:
                yield each.vote.reviewer, (*each.unit, contestant), float(rating[dimension])


def _agreement(ratings: Iterable[tuple[str, tuple[object, ...], float]], level: Level) -> float | None:
    """Krippendorff's alpha over (reviewer, thing rated, rating)."""
    table = {(reviewer, unit): rating for reviewer, unit, rating in ratings}
    reviewers = sorted({reviewer for reviewer, _ in table})
    units = list(dict.fromkeys(unit for _, unit in table))
    return alpha([[table.get((reviewer, unit)) for unit in units] for reviewer in reviewers], level)


def _disagreements(said: Sequence[Judged], names: Mapping[tuple[int, Contestant], str]) -> list[Disagreement]:
    """Questions on which both had friends: the most evenly divided first."""
    by_unit: defaultdict[tuple[int, int], list[Judged]] = defaultdict(list)
    for each in said:
        by_unit[each.unit].append(each)
    divided = []
    for (arena_id, _), found in by_unit.items():
        worths = [_WORTH[each.vote.preferred] for each in found]
        if min(worths) < 0 < max(worths):
            divided.append((abs(sum(worths)) / len(worths), -len(worths), arena_id, found))
    divided.sort(key=lambda each: each[:3])
    return [
        Disagreement(
            question=found[0].question.messages[-1].content,
            model=names[arena_id, "model"],
            against=names[arena_id, "against"],
            votes={each.vote.reviewer: _whom(each, names) for each in found},
        )
        for _, _, arena_id, found in divided
    ]


def _whom(each: Judged, names: Mapping[tuple[int, Contestant], str]) -> str:
    preferred = each.vote.preferred
    return "tie" if preferred == "tie" else names[each.arena_id, preferred]
