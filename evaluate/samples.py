"""Samples: what a suite asks, in the kinds that evaluation knows, and the rows of the files that they are read from."""

from __future__ import annotations

import hashlib
import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from locum.adapters.conversations import Conversation, Message, first_problem
from locum.errors import BadInputError, NotFoundError

Kind = Literal["question", "conversation", "choice", "extraction", "free", "preference", "decline"]
GENERATED = frozenset({"question", "conversation", "extraction", "free", "decline"})

_CONVERSATIONS, _MESSAGES = (re.compile(rb'[{,]\s*"%b"\s*:' % name) for name in (b"conversations", b"messages"))
_SHORT, _LONG = 80, 400  # characters of what the user says; bounds of the slice `length`


@dataclass(frozen=True)
class Sample:
    """What is asked, and what is expected.

    `group` names what the sample belongs to (a code, a document): samples of one group are not independent evidence.
    What else is filled depends on `kind`: a choice has `choices` and `correct` (an index); an extraction may have a
    JSON `schema`; a preference has the better answer as `reference` and the worse as `rejected`; a prompt to decline
    and a free answer may have no reference, which is then empty.
    """

    id: str
    messages: tuple[Message, ...]
    reference: str
    group: str
    kind: Kind = "question"
    slices: Mapping[str, str] = field(default_factory=dict)
    choices: tuple[str, ...] | None = None
    correct: int | None = None
    schema: Mapping[str, Any] | None = None
    rejected: str | None = None
    unknowable: bool = False
    paraphrase_of: str | None = None
    tools: tuple[Mapping[str, Any], ...] | None = None

    @property
    def question(self) -> str:
        """The last thing the user says."""
        return self.messages[-1].content

    @property
    def continuations(self) -> tuple[str, ...]:
        """The answers whose log-likelihood the kind is about; none for what is answered in free text."""
        if self.kind == "choice":
            return self.choices or ()
        return (self.reference, self.rejected or "") if self.kind == "preference" else ()

    def expects_the_same(self, other: Sample) -> bool:
        """Whether both ask the same and expect the same, whatever they are called and told apart by."""
        ours, theirs = (
            (each.kind, each.asked, each.reference, each.choices, each.rejected, each.schema, each.unknowable)
            for each in (self, other)
        )
        return ours == theirs

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all that the sample is; not over its id, which may be made from it."""
        content = asdict(self) | {
            "id": None,
            "messages": [message.model_dump(exclude_none=True) for message in self.messages],
        }
        if self.tools is None:  # as before there were any
            del content["tools"]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()

    @cached_property
    def asked(self) -> str:
        """SHA-256 over the messages alone: what an answer depends on, whatever is expected of it."""
        content = [message.identity for message in self.messages] + ([list(self.tools)] if self.tools else [])
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


class SampleRow(BaseModel):
    """One row of a suite's data file.

    `messages` end with the user. `reference` is the expected answer: text, or for an extraction whatever JSON it is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind = Field("question", description="what is asked; `conversation` has several turns")
    id: str | None = Field(None, min_length=1, max_length=64, description="a name for it; else made from its content")
    messages: list[Message] = Field(min_length=1, description="what is said so far; the user speaks last")
    reference: Any = Field(None, description="the expected answer")
    choices: list[str] | None = Field(None, min_length=2, description="the answers to choose from")
    correct: int | None = Field(None, ge=0, description="which of `choices` is right, from 0")
    json_schema: dict[str, Any] | None = Field(None, alias="schema", description="what the JSON must meet")
    chosen: str | None = Field(None, min_length=1, description="the better answer of a preference")
    rejected: str | None = Field(None, min_length=1, description="the worse one")
    unknowable: bool = Field(False, description="nobody can know the answer: the right one is to say so")
    paraphrase_of: str | None = Field(None, min_length=1, description="the question that this is another wording of")
    group: str | None = Field(None, min_length=1, description="what the row belongs to: a document, a patient, a code")
    topic: str | None = Field(None, min_length=1, description="what it is about")
    difficulty: str | None = Field(None, min_length=1, description="how hard it is, in your own words")
    language: str | None = Field(None, min_length=1, description="what it is written in; else guessed")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> SampleRow:
        if self.messages[-1].role != "user":
            raise ValueError(f"messages end with the user, found {self.messages[-1].role}")
        if any(set(message.model_dump(exclude_none=True)) > {"role", "content"} for message in self.messages):
            raise ValueError("messages of a sample have a role and content, found one with calls, a name or a weight")
        given = {
            name
            for name in ("choices", "correct", "json_schema", "chosen", "rejected")
            if getattr(self, name) is not None
        }
        needed, optional = _FIELDS[self.kind]
        if missing := needed - given:
            raise ValueError(f"kind {self.kind} needs {', '.join(sorted(missing))}")
        if beyond := given - needed - optional:
            raise ValueError(f"kind {self.kind} has no {', '.join(sorted(beyond)).replace('json_schema', 'schema')}")
        if self.correct is not None and self.choices is not None and self.correct >= len(self.choices):
            raise ValueError(f"correct: expected at most {len(self.choices) - 1}, found {self.correct}")
        if self.choices is not None and len(set(self.choices)) < len(self.choices):
            raise ValueError("choices: expected different ones, found one twice")
        if self.choices is not None and not all(choice.strip() for choice in self.choices):
            raise ValueError("choices: expected text in each, found an empty one")
        if self.chosen is not None and self.chosen == self.rejected:
            raise ValueError("expected two different answers; found the same one as chosen and rejected")
        if self._said is not None and self.reference not in (None, self._said):
            raise ValueError(f"reference: leave it out, for the row says {self._said!r} already")
        if self.kind in ("question", "conversation", "extraction") and self.reference is None and not self.unknowable:
            raise ValueError(f"kind {self.kind} needs a reference")
        return self

    @property
    def _said(self) -> str | None:
        """The right answer where another field than `reference` says it."""
        if self.choices is not None and self.correct is not None:
            return self.choices[self.correct]
        return self.chosen

    def sample(self) -> Sample:
        """The sample that the row describes."""
        reference = self.reference if self._said is None else self._said
        if reference is not None and not isinstance(reference, str):
            reference = json.dumps(reference, ensure_ascii=False, sort_keys=True)
        made = Sample(
            id=self.id or "",
            messages=tuple(self.messages),
            reference=reference or "",
            group=self.group or self.paraphrase_of or "",
            kind=self.kind,
            slices=_slices(self.messages, topic=self.topic, difficulty=self.difficulty, language=self.language),
            choices=tuple(self.choices) if self.choices else None,
            correct=self.correct,
            schema=self.json_schema,
            rejected=self.rejected,
            unknowable=self.unknowable,
            paraphrase_of=self.paraphrase_of,
        )
        return _named(made, made.digest)


_FIELDS: dict[Kind, tuple[set[str], set[str]]] = {
    "question": (set(), set()),
    "conversation": (set(), set()),
    "choice": ({"choices", "correct"}, set()),
    "extraction": (set(), {"json_schema"}),
    "free": (set(), set()),
    "preference": ({"chosen", "rejected"}, set()),
    "decline": (set(), set()),
}


@dataclass(frozen=True)
class Line:
    """A line of a data file, counted from 1: the sample that it holds, or what is wrong with it."""

    number: int
    sample: Sample | None
    problem: str = ""


def read_samples(path: Path) -> Iterator[Sample]:
    """Samples of a JSON Lines file, in order: rows of `SampleRow`, or conversations whose last answer is expected.

    Raises:
        NotFoundError: there is no such file.
        BadInputError: a row is wrong; the message is `file:line: field: expectation`.
    """
    for line in read_lines(path):
        if line.sample is None:
            raise BadInputError(f"{path}:{line.number}: {line.problem}")
        yield line.sample


def read_lines(path: Path) -> Iterator[Line]:
    """All rows of such a file, the wrong ones too; blank lines are passed over.

    Raises:
        NotFoundError: there is no such file.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            line = line.removeprefix(BOM_UTF8)
            if not line.strip():
                continue
            try:
                if _CONVERSATIONS.search(line) and not _MESSAGES.search(line):  # a schema may name conversations, too
                    yield _line_of(number, Conversation.model_validate_json(line))
                else:
                    yield Line(number, SampleRow.model_validate_json(line).sample())
            except ValidationError as error:
                yield Line(number, None, ": ".join(first_problem(error, SampleRow)))


def row_of(sample: Sample) -> str:
    """The row of a data file that reads as this very sample, without its line end."""
    optional = sample.unknowable or sample.kind in ("free", "decline")
    row = {
        "kind": sample.kind,
        "id": sample.id,
        "messages": [message.model_dump(exclude_none=True) for message in sample.messages],
        "reference": None if sample.continuations else sample.reference or (None if optional else ""),
        "choices": sample.choices,
        "correct": sample.correct,
        "schema": sample.schema,
        "chosen": sample.reference if sample.kind == "preference" else None,
        "rejected": sample.rejected,
        "unknowable": sample.unknowable or None,
        "paraphrase_of": sample.paraphrase_of,
        "group": None if sample.group == (sample.paraphrase_of or sample.id) else sample.group,
        **{name: value for name, value in sample.slices.items() if name != "length"},
    }
    return json.dumps({name: value for name, value in row.items() if value is not None}, ensure_ascii=False)


def _line_of(number: int, row: Conversation) -> Line:
    if row.conversations[-1].tool_calls:
        return Line(number, None, "conversations: the expected answer calls a tool, and a suite expects text")
    return Line(number, _of_conversation(row))


def _of_conversation(row: Conversation) -> Sample:
    turns = sum(message.role == "user" for message in row.prompt)
    made = Sample(
        id="",
        messages=tuple(row.prompt),
        reference=row.answer,
        group=row.group or "",
        kind="conversation" if turns > 1 else "question",
        slices=_slices(row.prompt, topic=row.topic, difficulty=None, language=None),
        tools=tuple(row.tools) if row.tools else None,
    )
    return _named(made, row.digest)


def _named(sample: Sample, digest: str) -> Sample:
    identity = sample.id or digest[:16]
    return replace(sample, id=identity, group=sample.group or identity)


def _slices(messages: list[Message], **given: str | None) -> dict[str, str]:
    said = sum(len(message.content) for message in messages if message.role == "user")
    length = "short" if said < _SHORT else "long" if said >= _LONG else "medium"
    found = {name: value for name, value in given.items() if value is not None}
    if "language" not in found:
        found["language"] = "zh" if any("\u4e00" <= c <= "\u9fff" for m in messages for c in m.content) else "other"
    return {**found, "length": length}
