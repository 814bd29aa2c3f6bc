"""Feedback of an application's users on single answers, kept with the version that spoke."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import bindparam, delete, insert, select

from locum.adapters import schema
from locum.adapters.conversations import Message
from locum.adapters.registry import Registry

_PREFIXES = re.compile(r"(?:chatcmpl-|cmpl-|resp_)+")  # what vLLM puts before the id of a request
_OURS = re.compile(r"[0-9a-fA-F]{40}")


class Feedback(BaseModel):
    """What one user thinks of one answer: a thumb, a score of 1 (worst) to 5 (best), or both.

    The server keeps no word of what it answers: question and answer are here only where the application sent them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: str = Field(description="of the version that spoke; `base` for the base model")
    model: str = Field(description="the version that spoke, such as medical@3, or the base model's name")
    answer_id: str = Field(description="as `bare_id` writes it, and as the server's log names the request")
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


def feedback_on(
    registry: Registry,
    domain: str | None,
    *,
    since: datetime | None = None,
    before: datetime | None = None,
    answer_id: str | None = None,
    user: str | None = None,
) -> list[Feedback]:
    """Feedback on a domain's versions, on the base model (`base`), or on all (None), oldest first.

    Args:
        since: only what was said then or later.
        before: only what was said earlier.
        answer_id: only on this answer, by any way of writing its id.
        user: only what this user said.
    """
    table = schema.feedback
    query = select(table.c.record).order_by(table.c.id)
    if domain is not None:
        query = query.where(table.c.domain == domain)
    if since is not None:
        query = query.where(table.c.at >= since.astimezone(UTC))
    if before is not None:
        query = query.where(table.c.at < before.astimezone(UTC))
    if answer_id is not None:
        query = query.where(table.c.answer == bare_id(answer_id))
    if user is not None:
        query = query.where(table.c.user == user)
    with registry.reading() as db:
        return [Feedback.model_validate(row) for row in db.scalars(query)]


def delete_feedback(registry: Registry, said: Sequence[Feedback]) -> None:
    """Delete what users said, so that it is not left in the database's files either."""
    table = schema.feedback
    of_one = table.c.answer == bindparam("of_answer"), table.c.user == bindparam("of_user")
    with registry.writing(bump=False) as db:
        if said:
            db.execute(
                delete(table).where(*of_one), [{"of_answer": each.answer_id, "of_user": each.user} for each in said]
            )
    registry.forget_deleted()


def bare_id(answer_id: str) -> str:
    """The one way to write an answer's id: an answer has it behind a prefix, and its header `x-request-id` without."""
    prefix = _PREFIXES.match(answer_id)
    bare = answer_id[prefix.end() :] if prefix else answer_id
    return bare.lower() if _OURS.fullmatch(bare) else bare


def version_name(registry: Registry, version_id: int) -> str | None:
    """The name of the version with this row id, also of one that was deleted; None if there never was one."""
    table = schema.versions
    with registry.reading() as db:
        row = db.execute(select(table.c.domain, table.c.number).where(table.c.id == version_id)).first()
    return f"{row.domain}@{row.number}" if row else None
