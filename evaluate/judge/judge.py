"""The judge: a model at any OpenAI-compatible endpoint, asked question by question; verdicts that are known are kept.

The judge is held to a JSON schema where its endpoint can do so. Where it refuses, the schema is left out, and then the
generation settings too: some endpoints take neither. What is no verdict is asked for once more, with what is wrong.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from locum.adapters.judge import Dimension, JudgeCard
from locum.errors import NotFoundError, UnauthorizedError, UnavailableError
from locum.evaluate.cache import AnswerCache
from locum.evaluate.client import NoReplyError, Patience, post, session
from locum.evaluate.judge.prompts import Prompt
from locum.evaluate.judge.verdicts import (
    Place,
    UnreadableError,
    ratings_schema,
    read_comparison,
    read_rating,
    winner_schema,
)
from locum.evaluate.runner import progress_bar

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from rich.console import Console
    from rich.progress import Progress, TaskID

# So many failures in a row, each after all its attempts, mean that the judge is gone, or cannot judge.
_FAILURES_IN_A_ROW = 8


@dataclass(frozen=True)
class Question:
    """What the judge is asked: grades on `dimensions`, or which of two answers is better where there are none."""

    prompt: Prompt
    dimensions: tuple[Dimension, ...] = ()


class Verdict(BaseModel):
    """What the judge said to one question, as it is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grades: dict[str, int] = Field({}, description="from 1 to 5, by dimension; none for a comparison")
    winner: Place | None = Field(None, description="the better place of a comparison")
    reason: str = ""
    answered_by: str = Field(description="the `model` field of the judge's reply")
    prompt_tokens: int = Field(0, description="of all requests that the verdict took")
    completion_tokens: int = 0
    requests: int = Field(1, description="2 where the first reply could not be read")


@dataclass
class Heard:
    """What came of asking: verdicts by key, why others are missing, and which were known before."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    known: frozenset[str] = frozenset()


def hear(
    card: JudgeCard,
    questions: Mapping[str, Question],
    cache: AnswerCache,
    *,
    patience: Patience | None = None,
    console: Console | None = None,
) -> Heard:
    """The judge's verdicts on the questions, by the same keys. What the cache holds is not asked again.

    Args:
        questions: by the key under which the verdict is kept: everything that it depends on must be in it.
        patience: with one request; by default that of the card.
        console: where the progress bar is drawn; none for silence.

    Returns:
        Every question is in `verdicts` or in `failures`.

    Raises:
        BadInputError: the card names a variable for the key, and it is not set.
        UnauthorizedError: the judge refuses the key.
        NotFoundError: there is no such model at its endpoint.
        UnavailableError: the judge is gone, or says nothing that is a verdict; what it did say is kept.
    """
    heard = Heard()
    for key, text in cache.get(questions).items():
        heard.verdicts[key] = Verdict.model_validate_json(text)
    heard.known = frozenset(heard.verdicts)
    missing = deque(key for key in questions if key not in heard.verdicts)
    if missing:
        patience = patience or Patience(timeout_s=card.timeout_s)
        asyncio.run(_hear(card, questions, missing, cache, heard, patience, console))
    if missing:
        raise UnavailableError(
            f"the judge {card.model} at {card.endpoint} failed {len(heard.failures)} times, and {len(missing)} of "
            f"{len(questions)} verdicts were not asked for any more; the last: {list(heard.failures.values())[-1]}",
            hint="verdicts are kept: type the same command again when the judge is there; docs/judge.md says what it "
            "must be able to do",
        )
    return heard


async def _hear(
    card: JudgeCard,
    questions: Mapping[str, Question],
    missing: deque[str],
    cache: AnswerCache,
    heard: Heard,
    patience: Patience,
    console: Console | None,
) -> None:
    """Ask what is missing until nothing is, or the judge is gone."""
    async with session(card.endpoint, card.api_key(), card.max_concurrency) as client:
        with progress_bar(console) as progress:
            known = f" ({len(heard.known):,} known)" if heard.known else ""
            bar = progress.add_task(f"judge · {card.model}{known}", total=len(missing), errors="")
            hearing = _Hearing(card, questions, missing, cache, heard, patience, client, progress, bar)
            workers = [asyncio.create_task(hearing.work()) for _ in range(card.max_concurrency)]
            try:
                await asyncio.gather(*workers)
            except UnauthorizedError as error:
                hint = f"{card.api_key_env} holds the key that is sent" if card.api_key_env else "set `api_key_env`"
                raise UnauthorizedError(f"the judge: {error}", hint=hint) from None
            except NotFoundError as error:
                hint = f"the suite's card asks for the model {card.model!r}; an endpoint's URL usually ends in /v1"
                raise NotFoundError(f"the judge: {error}", hint=hint) from None
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)


@dataclass
class _Hearing:
    """The state of one asking: what is left to ask, and which options the endpoint takes."""

    card: JudgeCard
    questions: Mapping[str, Question]
    missing: deque[str]
    cache: AnswerCache
    heard: Heard
    patience: Patience
    client: ClientSession
    progress: Progress
    bar: TaskID
    options_taken: int | None = None  # which of `_options`; settled by the first request that is answered
    failed_in_a_row: int = 0
    retries: int = 0

    async def work(self) -> None:
        """Ask one question after the other."""
        while self.missing and self.failed_in_a_row < max(_FAILURES_IN_A_ROW, self.card.max_concurrency):
            key = self.missing.popleft()
            try:
                verdict = await self._verdict(self.questions[key])
            except (NoReplyError, UnreadableError) as error:
                self.heard.failures[key] = str(error)
                self.failed_in_a_row += 1
                self._show()
            else:
                self.failed_in_a_row = 0
                self.cache.put(key, verdict.model_dump_json())
                self.heard.verdicts[key] = verdict
            self.progress.advance(self.bar)

    async def _verdict(self, question: Question) -> Verdict:
        """What the judge says; if that is no verdict, what it says when it is told what is wrong."""
        messages = question.prompt.messages
        first = await self._say(messages, question)
        try:
            return _read(question, [first])
        except UnreadableError as error:
            repair = question.prompt.repair.format(problem=error)
            told = [{"role": "assistant", "content": first.text or "…"}, {"role": "user", "content": repair}]
            return _read(question, [first, await self._say([*messages, *told], question)])

    async def _say(self, messages: Sequence[Mapping[str, str]], question: Question) -> _Said:
        """Put messages to the judge, with as many options as its endpoint takes."""
        every = _options(self.card, question)
        levels = range(len(every)) if self.options_taken is None else [self.options_taken]
        for level in levels:
            body = {"model": self.card.model, "messages": list(messages), **every[level]}
            options: dict[str, Any] = {"patience": self.patience, "on_retry": self._retried}
            try:
                reply = await post(self.client, self.card.endpoint, "/chat/completions", body, **options)
            except NoReplyError as error:
                if not error.refused or level == levels[-1]:
                    raise
            else:
                self.options_taken = level
                return _said(reply)
        raise AssertionError("the last level returns or raises")

    def _retried(self) -> None:
        self.retries += 1
        self._show()

    def _show(self) -> None:
        self.progress.update(self.bar, errors=f"{self.retries} retries, {len(self.heard.failures)} failed")


@dataclass(frozen=True)
class _Said:
    """A reply as the endpoint gave it."""

    text: str
    finish_reason: str | None
    answered_by: str
    prompt_tokens: int
    completion_tokens: int


def _options(card: JudgeCard, question: Question) -> list[dict[str, Any]]:
    """What is asked of the endpoint besides the messages, from all that we would like to nothing."""
    schema = ratings_schema(question.dimensions) if question.dimensions else winner_schema()
    form = {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": schema}}
    settings = {"temperature": 0, "seed": 0, "max_tokens": card.max_tokens}
    return [{**settings, "response_format": form}, settings, {}]


def _read(question: Question, replies: Sequence[_Said]) -> Verdict:
    last = replies[-1]
    if last.finish_reason == "length":  # what is there may be a quotation, and the verdict what is missing
        raise UnreadableError("the reply was cut off for want of tokens (`max_tokens` of the judge)")
    counted: dict[str, Any] = {
        "answered_by": last.answered_by,
        "prompt_tokens": sum(said.prompt_tokens for said in replies),
        "completion_tokens": sum(said.completion_tokens for said in replies),
        "requests": len(replies),
    }
    if question.dimensions:
        rating = read_rating(last.text, question.dimensions)
        return Verdict(grades=rating.grades, reason=rating.reason, **counted)
    comparison = read_comparison(last.text)
    return Verdict(winner=comparison.winner, reason=comparison.reason, **counted)


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(BaseModel):
    model: str
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


def _said(body: Any) -> _Said:
    try:
        completion = _Completion.model_validate(body)
    except ValidationError as error:
        problem = f"the judge's reply is not a chat completion: {error.errors()[0]['msg']}"
        raise NoReplyError(problem, 1, refused=True) from None
    usage = completion.usage or _Usage()
    return _Said(
        text=completion.choices[0].message.content or "",
        finish_reason=completion.choices[0].finish_reason,
        answered_by=completion.model,
        prompt_tokens=usage.prompt_tokens or 0,
        completion_tokens=usage.completion_tokens or 0,
    )
