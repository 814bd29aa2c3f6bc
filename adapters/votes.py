"""Votes of people who compared two answers without knowing whose they are: kept at once, one a question and person.

An arena is one comparison: two contenders, a suite, and what both said to its questions. Its questions are kept with
it, so that votes can be read, and learnt from, wherever the registry is at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import delete, func, insert, select

from locum.adapters import schema
from locum.adapters.conversations import Message
from locum.adapters.judge import Dimension
from locum.adapters.registry import Registry
from locum.errors import ConflictError, NotFoundError

Preferred = Literal["model", "against", "tie"]
Contestant = Literal["model", "against"]
Grade = Annotated[int, Field(ge=1, le=5)]
Rating = dict[Dimension, Grade]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Arena(_Record):
    """Whom people compare, on what. `model` and `against` are immutable names: a version's, or the base model's."""

    domain: str
    suite: str
    suite_digest: str
    model: str
    model_digest: str
    against: str
    against_digest: str
    base_fingerprint: str
    seed: str = Field(description="decides for each reviewer the order of questions, and the side of each answer")
    created_at: datetime
    created_by: str


class ArenaQuestion(_Record):
    """One question and what both contenders said to it."""

    number: int = Field(ge=0)
    sample: str
    messages: list[Message]
    model_answer: str
    against_answer: str
    group: str | None = None
    topic: str | None = None


class Vote(_Record):
    """What one reviewer thinks of the two answers to one question.

    Ratings are 1 (worst) to 5 (best) for each dimension that was rated; either answer may lack some or all.
    """

    number: int = Field(ge=0, description="of the question, in its arena")
    reviewer: str = Field(min_length=1, max_length=100)
    preferred: Preferred
    left: Contestant = Field(description="whose answer stood on the left")
    model_rating: Rating = {}
    against_rating: Rating = {}
    comment: str = ""
    seconds: float | None = Field(None, ge=0, description="from seeing the question to voting, where it is known")
    at: datetime


def open_arena(registry: Registry, digest: str, arena: Arena, questions: Sequence[ArenaQuestion]) -> tuple[int, Arena]:
    """The arena known by this digest, made if there is none yet. Votes in it go on where they stopped.

    Args:
        digest: over everything that makes two arenas the same.
        arena: what it is made with.
        questions: what it is made with; one that is there already keeps its own.

    Returns:
        The arena's id, and the arena as it is kept.
    """
    table = schema.arenas
    with registry.writing(bump=False) as db:
        found = db.execute(select(table.c.id, table.c.record).where(table.c.digest == digest)).first()
        if found is not None:
            return int(found.id), Arena.model_validate(found.record)
        values = {"domain": arena.domain, "digest": digest, "record": arena.model_dump(mode="json")}
        inserted = db.execute(insert(table).values(**values))
        assert inserted.inserted_primary_key is not None
        arena_id = int(inserted.inserted_primary_key[0])
        rows = [
            {"arena_id": arena_id, "number": question.number, "record": question.model_dump(mode="json")}
            for question in questions
        ]
        if rows:
            db.execute(insert(schema.arena_questions), rows)
        return arena_id, arena


def arenas(registry: Registry, domain: str) -> dict[int, Arena]:
    """A domain's arenas by id, oldest first."""
    table = schema.arenas
    with registry.reading() as db:
        rows = db.execute(select(table.c.id, table.c.record).where(table.c.domain == domain).order_by(table.c.id))
        return {row.id: Arena.model_validate(row.record) for row in rows}


def questions(registry: Registry, arena_id: int) -> list[ArenaQuestion]:
    """An arena's questions, by number.

    Raises:
        NotFoundError: there is no such arena.
    """
    table = schema.arena_questions
    with registry.reading() as db:
        rows = db.scalars(select(table.c.record).where(table.c.arena_id == arena_id).order_by(table.c.number)).all()
    if not rows:
        raise NotFoundError(f"there is no arena {arena_id} with questions")
    return [ArenaQuestion.model_validate(row) for row in rows]


def votes(registry: Registry, arena_id: int, reviewer: str | None = None) -> list[Vote]:
    """An arena's votes, oldest first; of one reviewer or of all."""
    table = schema.votes
    query = select(table.c.record).where(table.c.arena_id == arena_id).order_by(table.c.id)
    if reviewer is not None:
        query = query.where(table.c.reviewer == reviewer)
    with registry.reading() as db:
        return [Vote.model_validate(row) for row in db.scalars(query)]


def record_vote(registry: Registry, arena_id: int, vote: Vote) -> None:
    """Keep a vote.

    Raises:
        NotFoundError: the arena has no such question.
        ConflictError: this reviewer has voted on it already.
    """
    table, asked = schema.votes, schema.arena_questions
    with registry.writing(bump=False) as db:
        there = select(func.count()).where(asked.c.arena_id == arena_id, asked.c.number == vote.number)
        if not db.scalar(there):
            raise NotFoundError(f"arena {arena_id} has no question {vote.number}")
        mine = select(func.count()).where(
            table.c.arena_id == arena_id, table.c.number == vote.number, table.c.reviewer == vote.reviewer
        )
        if db.scalar(mine):
            raise ConflictError(f"{vote.reviewer} has voted on question {vote.number} of arena {arena_id} already")
        values = {"arena_id": arena_id, "number": vote.number, "reviewer": vote.reviewer}
        db.execute(insert(table).values(**values, record=vote.model_dump(mode="json")))


def undo_vote(registry: Registry, arena_id: int, reviewer: str, *, of: int) -> Vote:
    """Take a reviewer's last vote back and return it.

    Args:
        of: how many votes the reviewer believes to have given. Who asks again because the answer was lost, or from a
            window that is behind, takes nothing more back.

    Raises:
        ConflictError: there are more or fewer, or none.
    """
    table = schema.votes
    theirs = (
        select(table.c.id, table.c.record)
        .where(table.c.arena_id == arena_id, table.c.reviewer == reviewer)
        .order_by(table.c.id.desc())
    )
    with registry.writing(bump=False) as db:
        found = db.execute(theirs).all()
        if len(found) != of or not found:
            raise ConflictError(f"{reviewer} has given {len(found)} votes in arena {arena_id}, and not {of}")
        db.execute(delete(table).where(table.c.id == found[0].id))
        return Vote.model_validate(found[0].record)


def delete_votes(registry: Registry, domain: str, reviewer: str) -> None:
    """Delete what a reviewer said in a domain's arenas, so that it is not left in the database's files either."""
    table, kept = schema.votes, schema.arenas
    there = select(kept.c.id).where(kept.c.domain == domain)
    with registry.writing(bump=False) as db:
        db.execute(delete(table).where(table.c.reviewer == reviewer, table.c.arena_id.in_(there)))
    registry.forget_deleted()
