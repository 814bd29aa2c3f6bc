"""Answers on disk: one JSON line each, written as it arrives, so that a run that is cut off loses none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from locum.adapters.conversations import Message

SAMPLES_FILE = "samples.jsonl"

Role = Literal["version", "base", "production", "against"]


@dataclass(frozen=True)
class Contender:
    """A model that answers the suite.

    `name` is immutable: a version's name, or the base model's. `digest` is the version's, or the base's fingerprint.
    """

    name: str
    role: Role
    digest: str


class Answer(BaseModel):
    """What one model said to one sample, or why it said nothing: then `error` is set, and there are no scores."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample: str
    model: str = Field(description="the model that was asked")
    digest: str = Field(description="its digest, or the base model's fingerprint")
    answered_by: str | None = Field(default=None, description="the `model` field of the answer")
    adapter: str | None = Field(default=None, description="the header x-locum-adapter of the answer")
    messages: list[Message]
    reference: str
    answer: str | None = None
    scores: dict[str, float] = {}
    latency_s: float | None = Field(default=None, description="of the attempt that succeeded")
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None
    attempts: int = Field(ge=1)
    error: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.sample, self.model


class AnswerLog:
    """The file of a run's answers. One process at a time writes to it; the caller sees to that."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, contenders: Iterable[Contender]) -> dict[tuple[str, str], Answer]:
        """Answers by (sample, model), without failed ones, and without those of another digest of the same name.

        A line that cannot be read, such as the last one of a run that was cut off, is passed over: its sample is
        asked again.
        """
        digests = {contender.name: contender.digest for contender in contenders}
        return {
            answer.key: answer
            for answer in self._lines()
            if answer.error is None and digests.get(answer.model) == answer.digest
        }

    def last_error(self) -> str | None:
        """Why the last failed sample failed."""
        return next((answer.error for answer in reversed(list(self._lines())) if answer.error is not None), None)

    def append(self, answer: Answer) -> None:
        """Write one answer through to the operating system."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            if file.tell() and not self._ends_with_newline():
                file.write(b"\n")  # closes a line that was cut off, so that it cannot swallow this one
            file.write(answer.model_dump_json().encode() + b"\n")

    def clear(self) -> None:
        """Forget all answers."""
        self.path.unlink(missing_ok=True)

    def _lines(self) -> Iterator[Answer]:
        lines = self.path.read_bytes().split(b"\n") if self.path.exists() else []
        for line in lines:
            with suppress(ValidationError):
                yield Answer.model_validate_json(line)

    def _ends_with_newline(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"
