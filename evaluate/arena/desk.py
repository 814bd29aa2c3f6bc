"""A reviewer's desk: the next question, the vote on it, the last one taken back. Nothing on it names a contender."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from locum.adapters.registry import Registry
from locum.adapters.votes import ArenaQuestion, Contestant, Preferred, Rating, Vote, record_vote, undo_vote, votes
from locum.errors import NotFoundError
from locum.evaluate.arena.blind import left_of, order_of

Side = Literal["a", "b"]


class _Shown(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ballot(_Shown):
    """What a reviewer says. `place` counts their own questions from 0; A is the answer on the left."""

    place: int = Field(ge=0)
    preferred: Literal["a", "b", "tie"]
    a: Rating = {}
    b: Rating = {}
    comment: Annotated[str, StringConstraints(strip_whitespace=True, max_length=4000)] = ""
    seconds: float | None = Field(None, ge=0, le=86_400)


class Undo(_Shown):
    """How many votes the page knows of when it takes the last one back."""

    done: int = Field(ge=0)


class Turn(_Shown):
    """One message of the conversation that both answers continue."""

    role: Literal["user", "assistant"]
    text: str


class Shown(_Shown):
    """One question as it lies on the desk. `task` is the system prompt that both answers follow; `ballot` is what was
    said before it was taken back."""

    place: int
    task: str
    turns: list[Turn]
    a: str
    b: str
    ballot: Ballot | None = None


class DeskState(_Shown):
    """How far a reviewer is, and what comes next: nothing when all is done. `pause` suggests a break."""

    total: int
    done: int
    pause: bool
    question: Shown | None


@dataclass(frozen=True)
class Desk:
    """One reviewer in one arena. All that is said lies in the registry, so it goes on where it stopped."""

    registry: Registry
    arena_id: int
    questions: tuple[ArenaQuestion, ...]
    seed: str
    reviewer: str
    pause_every: int = 10
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    @cached_property
    def _order(self) -> list[int]:
        return order_of((each.number for each in self.questions), seed=self.seed, reviewer=self.reviewer)

    @cached_property
    def _left(self) -> dict[int, Contestant]:
        return left_of((each.number for each in self.questions), seed=self.seed, reviewer=self.reviewer)

    @cached_property
    def _by_number(self) -> dict[int, ArenaQuestion]:
        return {each.number: each for each in self.questions}

    def state(self, *, undone: Vote | None = None, voted: bool = False) -> DeskState:
        """The first question that has no vote yet, in this reviewer's order.

        Args:
            undone: a vote that was just taken back; shown again with its question.
            voted: a vote was just given, so this may be a moment for a break.
        """
        done = {vote.number for vote in votes(self.registry, self.arena_id, self.reviewer)}
        place = next((place for place, number in enumerate(self._order) if number not in done), None)
        pause = voted and place is not None and len(done) % self.pause_every == 0
        shown = None if place is None else self._shown(place, undone)
        return DeskState(total=len(self._order), done=len(done), pause=pause, question=shown)

    def vote(self, ballot: Ballot) -> DeskState:
        """Keep what was said, and show the next question.

        Raises:
            NotFoundError: there is no question in that place.
            ConflictError: it has this reviewer's vote already.
        """
        if ballot.place >= len(self._order):
            raise NotFoundError(f"there is no question {ballot.place}")
        number = self._order[ballot.place]
        left = self._left[number]
        model, against = (ballot.a, ballot.b) if left == "model" else (ballot.b, ballot.a)
        record_vote(
            self.registry,
            self.arena_id,
            Vote(
                number=number,
                reviewer=self.reviewer,
                preferred=_unblinded(ballot.preferred, left),
                left=left,
                model_rating=model,
                against_rating=against,
                comment=ballot.comment,
                seconds=ballot.seconds,
                at=self.now(),
            ),
        )
        return self.state(voted=True)

    def undo(self, asked: Undo) -> DeskState:
        """Take the last vote back, and show its question again with what was said.

        Raises:
            ConflictError: there are not as many votes as the page knows of.
        """
        return self.state(undone=undo_vote(self.registry, self.arena_id, self.reviewer, of=asked.done))

    def _shown(self, place: int, undone: Vote | None) -> Shown:
        question = self._by_number[self._order[place]]
        left = self._left[question.number]
        answers = {"model": question.model_answer, "against": question.against_answer}
        again = _ballot(place, undone) if undone is not None and undone.number == question.number else None
        return Shown(
            place=place,
            task="\n".join(message.content for message in question.messages if message.role == "system"),
            turns=[
                Turn(role=message.role, text=message.content)
                for message in question.messages
                if message.role != "system"
            ],
            a=answers.pop(left),
            b=answers.popitem()[1],
            ballot=again,
        )


def _unblinded(preferred: Literal["a", "b", "tie"], left: Contestant) -> Preferred:
    if preferred == "tie":
        return "tie"
    right: Contestant = "against" if left == "model" else "model"
    return left if preferred == "a" else right


def _ballot(place: int, vote: Vote) -> Ballot:
    """A vote as it was given on the desk."""
    model, against = vote.model_rating, vote.against_rating
    a, b = (model, against) if vote.left == "model" else (against, model)
    side: Side = "a" if vote.preferred == vote.left else "b"
    preferred = "tie" if vote.preferred == "tie" else side
    return Ballot(place=place, preferred=preferred, a=a, b=b, comment=vote.comment, seconds=vote.seconds)
