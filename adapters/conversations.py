"""Conversations in JSON Lines: the format that domain teams already have, and what all parts read.

One row is `{"conversations": [{"role": "system|user|assistant", "content": "…"}]}`, or, for alignment, a preference:
`{"prompt": [{"role": "user", "content": "…"}], "chosen": "…", "rejected": "…"}`. An optional `group` names what the row
belongs to (a document, a patient, a code): rows of one group never fall into two splits. An optional `topic` names what
it is about.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from locum.adapters.yamlfile import said
from locum.errors import BadInputError, ConflictError, NotFoundError


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "user", "assistant"]
    content: str = Field(min_length=1)


class Conversation(BaseModel):
    """One conversation. It ends with the assistant, who answers each user message once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    conversations: list[Message] = Field(min_length=2)
    group: str | None = Field(None, min_length=1)
    topic: str | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _turns_alternate(self) -> Conversation:
        _check_turns(self.conversations, last="assistant")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 over the messages; group and topic are not part of it."""
        return _digest([[message.role, message.content] for message in self.conversations])

    @property
    def prompt(self) -> list[Message]:
        """All but the last answer."""
        return self.conversations[:-1]

    @property
    def answer(self) -> str:
        """The last answer of the assistant."""
        return self.conversations[-1].content

    @property
    def question(self) -> str:
        """What the user said, all turns joined."""
        return _said_by_user(self.conversations)


class Preference(BaseModel):
    """Two answers to one prompt, of which people prefer one: what `dpo`, `orpo` and `kto` learn from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: list[Message] = Field(min_length=1)
    chosen: str = Field(min_length=1)
    rejected: str = Field(min_length=1)
    group: str | None = Field(None, min_length=1)
    topic: str | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _asks_and_differs(self) -> Preference:
        _check_turns(self.prompt, last="user")
        if self.chosen == self.rejected:
            raise ValueError("expected two different answers; found the same one as chosen and rejected")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 over prompt and answers; group and topic are not part of it."""
        return _digest([[[message.role, message.content] for message in self.prompt], self.chosen, self.rejected])

    @property
    def question(self) -> str:
        """What the user said, all turns joined."""
        return _said_by_user(self.prompt)


Row = TypeVar("Row", Conversation, Preference)


def _check_turns(messages: list[Message], *, last: Literal["user", "assistant"]) -> None:
    turns = messages[1:] if messages[0].role == "system" else messages
    found = [message.role for message in turns]
    expected = [("user", "assistant")[turn % 2] for turn in range(len(found))]
    if not found or found != expected or found[-1] != last:
        raise ValueError(
            f"expected an optional system message, then user and assistant in turn, ending with {last}; "
            f"found {', '.join(message.role for message in messages)}"
        )


def _digest(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def _said_by_user(messages: list[Message]) -> str:
    return "\n".join(message.content for message in messages if message.role == "user")


def normalise(text: str) -> str:
    """Text without what makes a trivial variant: case, width, accents' composition, punctuation and spacing."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\W_]+", " ", text).strip()


def first_problem(error: ValidationError) -> tuple[str, str]:
    """The field of a row that is wrong, `row` where it is the whole, and why."""
    problem = error.errors()[0]
    return ".".join(str(part) for part in problem["loc"]) or "row", said(problem)


def read_conversations(path: Path) -> Iterator[Conversation]:
    """Conversations of a JSON Lines file, in order. Blank lines are passed over.

    Raises:
        NotFoundError: there is no such file.
        BadInputError: a row is wrong; the message is `file:line: field: expectation`.
    """
    return _read(path, Conversation)


def read_preferences(path: Path) -> Iterator[Preference]:
    """Preference pairs of a JSON Lines file, as `read_conversations` reads conversations."""
    return _read(path, Preference)


def write_rows(path: Path, rows: Iterable[BaseModel]) -> None:
    """Write a new JSON Lines file, which the readers above read where the rows are theirs.

    Raises:
        ConflictError: there is such a file already.
        NotFoundError: there is no such folder.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.writelines(row.model_dump_json(exclude_none=True) + "\n" for row in rows)
    except FileExistsError:
        raise ConflictError(f"{path} is there already", hint="choose another name, or remove it") from None
    except FileNotFoundError:
        raise NotFoundError(f"there is no folder {path.parent}", hint="make it, or choose another") from None


def _read(path: Path, kind: type[Row]) -> Iterator[Row]:
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            line = line.removeprefix(BOM_UTF8)
            if not line.strip():
                continue
            try:
                yield kind.model_validate_json(line)
            except ValidationError as error:
                field, reason = first_problem(error)
                raise BadInputError(f"{path}:{number}: {field}: {reason}") from None
