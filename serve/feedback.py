"""`POST /v1/feedback`: what an application's users think of an answer, kept with the version that spoke."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from locum.adapters.conversations import Message
from locum.adapters.feedback import Feedback, bare_id, record_feedback, version_name
from locum.adapters.refs import parse_ref
from locum.adapters.yamlfile import said
from locum.errors import BadInputError, ConflictError, NotFoundError, UnavailableError
from locum.serve import metrics
from locum.serve.answer_ids import BASE_ID
from locum.serve.plugin import ServerState
from locum.serve.routes import server_state

MAX_WAITING = 64  # beyond them the registry is slower than the clients, and they are told to wait
WRITE_SECONDS = 5.0

Text = Annotated[str, StringConstraints(strip_whitespace=True)]

logger = logging.getLogger("vllm.locum.feedback")
router = APIRouter()
_writer = ThreadPoolExecutor(1, "locum-feedback")
_waiting = asyncio.Semaphore(MAX_WAITING)


class BusyError(UnavailableError):
    """More feedback comes than can be written."""

    http_status = 429
    type = "RateLimitError"
    retry_after = 1


class FeedbackRequest(BaseModel):
    """The body. `id` is the answer's; what else is needed is one of `rating`, `score`, `comment` and `better`."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(pattern=r"^[!-~]{1,160}$", description="the answer's `id`, or its header `x-request-id`")
    rating: Literal["up", "down"] | None = None
    score: int | None = Field(None, ge=1, le=5, strict=True)
    comment: Annotated[Text, StringConstraints(max_length=4000)] = ""
    user: str = Field(
        "", pattern=r"^[^\x00-\x1f]{0,200}$", description="who rates, in a way that means nothing to others"
    )
    model: str | None = None
    messages: list[Message] = Field([], max_length=200)
    answer: str = ""
    better: Text = ""

    @model_validator(mode="after")
    def _says_something(self) -> FeedbackRequest:
        if self.rating is None and self.score is None and not self.comment and not self.better:
            raise ValueError("expected a `rating` (up or down), a `score` (1 to 5), a `comment` or a `better` answer")
        if bool(self.messages) != bool(self.answer):
            raise ValueError("`messages` and `answer` go together: what was asked, and what was answered")
        if self.better and not self.messages:
            raise ValueError("`better` needs `messages` and `answer`: to what it is the better answer")
        return self


@router.post("/v1/feedback")
async def feedback(request: Request, state: Annotated[ServerState, Depends(server_state)]) -> dict[str, Any]:
    """Keep what a user thinks of an answer. A user who rates an answer again takes back what was said before."""
    body = _parse(await request.body())
    if _waiting.locked():
        raise BusyError(f"{MAX_WAITING} ratings wait to be written already")
    async with _waiting:
        said, replaced = await _written(state, body)
    metrics.count_feedback(said.model, said.rating)
    return {
        "object": "feedback",
        "id": body.id,
        "model": said.model,
        "verified": said.verified,
        "replaced": replaced,
    }


def _parse(raw: bytes) -> FeedbackRequest:
    try:
        return FeedbackRequest.model_validate_json(raw)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"]) or "feedback"
        raise BadInputError(f"{field}: {said(problem, FeedbackRequest)}") from None


async def _written(state: ServerState, body: FeedbackRequest) -> tuple[Feedback, bool]:
    """What is kept, and whether it replaces something; nobody waits long for a registry that is held by others."""
    writing = asyncio.get_running_loop().run_in_executor(_writer, _keep, state, body)
    await asyncio.wait({writing}, timeout=WRITE_SECONDS)
    if not writing.done():
        writing.cancel()
        raise _not_kept(f"it has waited for {WRITE_SECONDS:g} seconds")
    try:
        return await writing
    except UnavailableError as error:
        raise _not_kept(str(error)) from None


def _not_kept(reason: str) -> UnavailableError:
    """The reason is for the log: where the registry lies concerns no application."""
    logger.warning("feedback_not_kept: %s", reason)
    return UnavailableError(
        "the registry does not take the feedback now", hint="send it again: a rating that comes twice counts once"
    )


def _keep(state: ServerState, body: FeedbackRequest) -> tuple[Feedback, bool]:
    model, verified = _who_spoke(state, body)
    said = Feedback(
        domain=metrics.labels_of(model)[0],
        model=model,
        answer_id=bare_id(body.id),
        verified=verified,
        rating=body.rating,
        score=body.score,
        comment=body.comment,
        user=body.user,
        messages=body.messages,
        answer=body.answer,
        better=body.better,
        at=datetime.now(UTC),
    )
    return said, record_feedback(state.swap.registry, said)


def _who_spoke(state: ServerState, body: FeedbackRequest) -> tuple[str, bool]:
    """The model that gave the answer, and whether the id says so or only the application.

    Raises:
        NotFoundError: the id does not say, and no `model` is given, or there is none of that name.
        BadInputError: `model` is an alias.
        ConflictError: the id says another.
    """
    base, version_id = state.swap.engine.base_name, state.answer_ids.version_id(body.id)
    if version_id == BASE_ID:
        spoke: str | None = base
    else:
        spoke = version_name(state.swap.registry, version_id) if version_id is not None else None
    if spoke is not None:
        if body.model not in (None, spoke):
            raise ConflictError(f"model: the answer {body.id} was given by {spoke}, not by {body.model}")
        return spoke, True
    if body.model is None:
        raise NotFoundError(
            f"no server of this registry gave an answer the id {body.id!r}",
            hint="where the client chose the id of its request, send the answer's `model` along",
        )
    if body.model == base:
        return base, False
    ref = parse_ref(body.model)
    if ref.number is None:
        raise BadInputError(
            f"model: expected the version that spoke, as the answer's `model` names it, found the alias {body.model!r}"
        )
    return state.swap.registry.resolve(ref).name, False
