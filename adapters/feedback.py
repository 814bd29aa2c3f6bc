"""Feedback of an application's users on single answers, kept with the version that spoke."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import delete, insert, select

from locum.adapters import schema
from locum.adapters.conversations import Message
from locum.adapters.registry import Registry


class Feedback(BaseModel):
    """What one user thinks of one answer: a thumb, a score of 1 (worst) to 5 (best), or both.

    The server keeps no word of what it answers: question and answer are here only where the application sent them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: str = Field(description="of the version that spoke; `base` for the base model")
    model: str = Field(description="the version that spoke, such as medical@3, or the base model's name")
    answer_id: str
    verified: bool = Field(description="whether the id itself says which version spoke; else the application said so")
    rating: Literal["up", "down"] | None = None
    score: int | None = Field(None, ge=1, le=5)
    comment: str = ""
    user: str = ""
    messages: list[Message] = Field([], description="what was asked, where the application sent it")
    answer: str = Field("", description="what was answered, where the application sent it")
    better: str = Field("", description="what should have been answered, in the user's words")
    at: datetime


def record_feedback(registry: Registry, feedback: Feedback) -> bool:
    """Keep it. A user who rates an answer again takes back what was said before.

    Returns:
        Whether it replaces an earlier rating of the same answer by the same user.
    """
    table = schema.feedback
    key = {"answer": feedback.answer_id, "user": feedback.user}
    with registry.writing(bump=False) as db:
        old = db.execute(delete(table).where(table.c.answer == key["answer"], table.c.user == key["user"]))
        db.execute(
            insert(table).values(
                **key,
                domain=feedback.domain,
                model=feedback.model,
                at=feedback.at,
                record=feedback.model_dump(mode="json"),
            )
        )
        return bool(old.rowcount)


def feedback_on(registry: Registry, domain: str, *, since: datetime | None = None) -> list[Feedback]:
    """Feedback on a domain's versions, or on the base model (`base`), oldest first."""
    table = schema.feedback
    query = select(table.c.record).where(table.c.domain == domain).order_by(table.c.id)
    if since is not None:
        query = query.where(table.c.at >= since.astimezone(UTC))
    with registry.reading() as db:
        return [Feedback.model_validate(row) for row in db.scalars(query)]


def version_name(registry: Registry, version_id: int) -> str | None:
    """The name of the version with this row id, also of one that was deleted; None if there never was one."""
    table = schema.versions
    with registry.reading() as db:
        row = db.execute(select(table.c.domain, table.c.number).where(table.c.id == version_id)).first()
    return f"{row.domain}@{row.number}" if row else None
