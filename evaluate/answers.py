"""Who answers, and what was said: one JSON line an answer in an evaluation's `samples.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.conversations import Message
from locum.adapters.system_prompt import SystemRole

SAMPLES_FILE = "samples.jsonl"

Role = Literal["version", "base", "production", "against"]


@dataclass(frozen=True)
class Contender:
    """A model that answers the suite.

    `name` is immutable: a version's name, or the base model's. `digest` is the version's, or the base's fingerprint.
    `system_role` is where it is asked with the system prompt: a server puts it there for versions, the base model is
    asked as the version is that it is compared with.
    """

    name: str
    role: Role
    digest: str
    system_role: SystemRole = "system"


class Likelihood(BaseModel):
    """How likely a model finds a given answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    tokens: int = Field(ge=0)
    logprob: float = Field(description="sum over the tokens, in nats")


class Answer(BaseModel):
    """What one model said to one sample, or why it said nothing: then `error` is set, and there are no scores."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample: str
    group: str = Field("", description="what the sample belongs to with others; empty where it stands alone")
    repeat: int = Field(0, ge=0, description="which of the suite's repeats, from 0")
    model: str = Field(description="the model that was asked")
    digest: str = Field(description="its digest, or the base model's fingerprint")
    answered_by: str | None = Field(default=None, description="the `model` field of the answer")
    adapter: str | None = Field(default=None, description="the header x-locum-adapter of the answer")
    messages: list[Message]
    reference: str
    answer: str | None = None
    likelihoods: list[Likelihood] = Field([], description="of the answers that the sample's kind or a metric asks for")
    ratings: dict[str, list[float]] = Field({}, description="a judge's: grades by dimension, and `preference`")
    scores: dict[str, float] = {}
    first_token_s: float | None = Field(default=None, description="from the request to the first token")
    latency_s: float | None = Field(default=None, description="of the attempt that succeeded")
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None
    attempts: int = Field(1, ge=1)
    error: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.sample, self.model


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Write the file of an evaluation's answers; it is there whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text("".join(answer.model_dump_json() + "\n" for answer in answers), encoding="utf-8")
    partial.replace(path)


def read_answers(path: Path) -> Iterator[Answer]:
    """The answers of a file that `write_answers` wrote."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield Answer.model_validate_json(line)
