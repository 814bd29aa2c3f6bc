"""Check a file of conversations row by row, and count what it holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from locum.adapters.conversations import Conversation
from locum.errors import NotFoundError


class FileCheck(BaseModel):
    """What was found in a file of conversations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    rows: int = Field(description="rows, right or wrong; blank lines do not count")
    wrong: int = Field(description="rows that are not conversations")
    problems: list[str] = Field(description="the first problem of each wrong row: `file:line: field: expectation`")
    roles: dict[str, int] = Field(description="messages of each role")
    turns: int = Field(description="answers of the assistant")
    characters: int = Field(description="characters of all messages")
    groups: int = Field(description="different groups")


def check_file(path: Path) -> FileCheck:
    """Check every row of a JSON Lines file of conversations.

    Raises:
        NotFoundError: there is no such file.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    rows, problems = 0, []
    roles: Counter[str] = Counter()
    characters = 0
    groups = set()
    with path.open("rb") as lines:  # bytes: a line that is not UTF-8 is one wrong row, not the end of the check
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            rows += 1
            try:
                conversation = Conversation.model_validate_json(line)
            except ValidationError as error:
                problem = error.errors()[0]
                field = ".".join(str(part) for part in problem["loc"]) or "row"
                problems.append(f"{path}:{number}: {field}: {problem['msg']}")
                continue
            roles.update(message.role for message in conversation.conversations)
            characters += sum(len(message.content) for message in conversation.conversations)
            groups.add(conversation.group)
    return FileCheck(
        file=str(path),
        rows=rows,
        wrong=len(problems),
        problems=problems,
        roles=dict(sorted(roles.items())),
        turns=roles["assistant"],
        characters=characters,
        groups=len(groups - {None}),
    )
