"""Conversations in JSON Lines: the format that domain teams already have, and what all parts read.

One row is `{"conversations": [{"role": "system|user|assistant|tool", "content": "…"}]}`, or, for alignment, a
preference: `{"prompt": [{"role": "user", "content": "…"}], "chosen": "…", "rejected": "…"}`. One of the two answers
may be missing: then it is an answer that was wanted, or was not, and `kto` can learn from it. An assistant may call
tools, whose definitions the row has as `tools`. An optional `group` names what the row belongs to (a document, a
patient, a code): rows of one group never fall into two splits. An optional `topic` names what it is about.
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


class ToolCall(BaseModel):
    """One call of a function that the assistant asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    arguments: dict[str, Any] = {}
    id: str | None = Field(None, min_length=1, description="by which a tool's result names the call")


class Message(BaseModel):
    """What one side says. An assistant may call tools, with or without text; a `tool` message is a call's result.

    A thought stands at the beginning of an answer's content, between <think> and </think>.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: list[ToolCall] | None = Field(None, min_length=1)
    tool_call_id: str | None = Field(None, min_length=1, description="the call that this is the result of")
    name: str | None = Field(None, min_length=1, description="of the tool that gives this result")
    weight: Literal[0, 1] | None = Field(None, description="0: an answer that is context only, and not learnt")

    @model_validator(mode="after")
    def _fits_its_role(self) -> Message:
        if self.role != "assistant" and (self.tool_calls or self.weight is not None):
            raise ValueError(f"only an assistant calls tools and has a weight, found a message of role {self.role}")
        if self.role != "tool" and (self.tool_call_id or self.name):
            raise ValueError(f"only a tool's result has tool_call_id and name, found a message of role {self.role}")
        if not (self.content or self.tool_calls or self.role == "tool"):
            raise ValueError("content: expected text, found nothing")
        return self

    @property
    def learnt(self) -> bool:
        """Whether this is an answer to learn from, and no context only."""
        return self.role == "assistant" and self.weight != 0

    @property
    def identity(self) -> list[Any]:
        """What tells the message from others, for digests: role and content, and the rest where there is any."""
        rest = self.model_dump(exclude={"role", "content"}, exclude_none=True)
        return [self.role, self.content, *([rest] if rest else [])]


class Conversation(BaseModel):
    """One conversation. It ends with the assistant, who answers each user message once, after any calls of tools."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    conversations: list[Message] = Field(min_length=2)
    tools: list[dict[str, Any]] | None = Field(
        None, min_length=1, description="definitions of functions: {type: function, function: {name, parameters, …}}"
    )
    group: str | None = Field(None, min_length=1)
    topic: str | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _turns_alternate(self) -> Conversation:
        _check_turns(self.conversations, last="assistant")
        if not any(message.learnt for message in self.conversations):
            raise ValueError("every answer has the weight 0, so there is nothing to learn")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 over the messages and tools; group and topic are not part of it."""
        return _digest([message.identity for message in self.conversations] + ([self.tools] if self.tools else []))

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
    """Two answers to one prompt, of which people prefer one: what `dpo`, `orpo` and `kto` learn from.

    With one answer alone, wanted (`chosen`) or unwanted (`rejected`), it is what `kto` alone learns from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: list[Message] = Field(min_length=1)
    chosen: str | None = Field(None, min_length=1)
    rejected: str | None = Field(None, min_length=1)
    group: str | None = Field(None, min_length=1)
    topic: str | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _asks_and_differs(self) -> Preference:
        _check_turns(self.prompt, last="user")
        if self.chosen is None and self.rejected is None:
            raise ValueError("expected an answer that is chosen, one that is rejected, or both; found none")
        if self.chosen == self.rejected:
            raise ValueError("expected two different answers; found the same one as chosen and rejected")
        return self

    @property
    def paired(self) -> bool:
        """Whether both answers are there."""
        return self.chosen is not None and self.rejected is not None

    @property
    def answers(self) -> list[str]:
        """The answers that are there, the chosen one first."""
        return [answer for answer in (self.chosen, self.rejected) if answer is not None]

    @property
    def digest(self) -> str:
        """SHA-256 over prompt and answers; group and topic are not part of it."""
        return _digest([[message.identity for message in self.prompt], self.chosen, self.rejected])

    @property
    def question(self) -> str:
        """What the user said, all turns joined."""
        return _said_by_user(self.prompt)


Row = TypeVar("Row", Conversation, Preference)


def _check_turns(messages: list[Message], *, last: Literal["user", "assistant"]) -> None:
    turns = messages[1:] if messages[0].role == "system" else messages
    before: Message | None = None
    for message in turns:
        if message.role not in _may_follow(before):
            break
        before = message
    else:
        if before is not None and before.role == last:
            return
    raise ValueError(
        "expected an optional system message, then user and assistant in turn, with a tool's results after its calls, "
        f"ending with {last}; found {', '.join(message.role for message in messages)}"
    )


def _may_follow(before: Message | None) -> tuple[str, ...]:
    """The roles that may speak after a message."""
    if before is None:
        return ("user",)
    if before.role == "tool":
        return ("tool", "assistant")
    if before.role == "assistant":
        return ("tool",) if before.tool_calls else ("user",)
    return ("assistant",)


def _digest(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def _said_by_user(messages: list[Message]) -> str:
    return "\n".join(message.content for message in messages if message.role == "user")


def normalise(text: str) -> str:
    """Text without what makes a trivial variant: case, width, accents' composition, punctuation and spacing."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\W_]+", " ", text).strip()


def first_problem(error: ValidationError, kind: type[BaseModel] | None = None) -> tuple[str, str]:
    """The field of a row of this kind that is wrong, `row` where it is the whole, and why."""
    problem = error.errors()[0]
    return ".".join(str(part) for part in problem["loc"]) or "row", said(problem, kind)


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
                field, reason = first_problem(error, kind)
                raise BadInputError(f"{path}:{number}: {field}: {reason}") from None
