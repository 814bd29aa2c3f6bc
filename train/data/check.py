"""Check a file row by row, and count what it holds."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.card import Format
from locum.adapters.conversations import Preference
from locum.train.data.files import notes_on
from locum.train.data.formats import Columns
from locum.train.data.logs import Roles
from locum.train.data.reading import Reject, Unanswered, read_file, recognise


class FileCheck(BaseModel):
    """What was found in a file of rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    format: Format
    why: str = Field(description="what says that it is this format")
    notes: list[str] = Field(
        description="how the file is read: a guess at its encoding, the sheet, lines that are passed over"
    )
    rows: int = Field(description="rows, right or wrong, of a log its conversations; blank lines do not count")
    unanswered: int = Field(description="questions of an interview that have no answer yet; they count as rows")
    wrong: int = Field(description="rows that do not fit")
    problems: list[str] = Field(description="the first problem of each wrong row: `file:row: field: reason`")
    rejects: list[Reject] = Field(exclude=True)
    roles: dict[str, int] = Field(description="messages of each role; both answers of a preference count")
    turns: int = Field(description="answers of the assistant")
    characters: int = Field(description="characters of all messages")
    groups: int = Field(description="different groups")
    experts: dict[str, int] = Field(description="answers of each expert of an interview")
    topics: dict[str, int] = Field(description="rows of each topic")


def check_file(
    location: str,
    *,
    format: Format | None = None,
    columns: Columns | None = None,
    roles: Roles | None = None,
    encoding: str | None = None,
) -> FileCheck:
    """Check every row of a file; its format is recognised when it is not given.

    Raises:
        NotFoundError: there is no such file.
        BadInputError: it is of no kind that can be read, has no row, or its format cannot be told.
    """
    columns = columns or {}
    why = "as asked for"
    if format is None:
        recognised = recognise(location, columns=columns, encoding=encoding)
        format, why, notes = recognised.format, recognised.why, list(recognised.notes)
    else:
        notes = notes_on(location, encoding=encoding)
    rows = unanswered = characters = 0
    rejects: list[Reject] = []
    said_by: Counter[str] = Counter()
    topics: Counter[str] = Counter()
    experts: Counter[str] = Counter()
    groups: set[str | None] = set()
    for item in read_file(location, format=format, columns=columns, roles=roles, encoding=encoding):
        rows += 1
        if isinstance(item, Unanswered):
            unanswered += 1
            continue
        if isinstance(item, Reject):
            rejects.append(item)
            continue
        row = item.row
        messages = row.prompt if isinstance(row, Preference) else row.conversations
        said = [(message.role, message.content) for message in messages]
        if isinstance(row, Preference):
            said += [("assistant", answer) for answer in row.answers]
        said_by.update(role for role, _ in said)
        characters += sum(len(content) for _, content in said)
        groups.add(row.group)
        topics.update([row.topic] if row.topic else [])
        experts.update([item.expert] if item.expert else [])
    return FileCheck(
        file=location,
        format=format,
        why=why,
        notes=notes,
        rows=rows,
        unanswered=unanswered,
        wrong=len(rejects),
        problems=[str(reject) for reject in rejects],
        rejects=rejects,
        roles=dict(sorted(said_by.items())),
        turns=said_by["assistant"],
        characters=characters,
        groups=len(groups - {None}),
        experts=dict(sorted(experts.items())),
        topics=dict(sorted(topics.items())),
    )
