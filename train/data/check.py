"""Check a file row by row, and count what it holds."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.card import BlankAnswers, Format
from locum.adapters.conversations import Preference
from locum.train.data.cleaning import texts
from locum.train.data.columns import Columns
from locum.train.data.fields import Action, Remark
from locum.train.data.files import notes_on
from locum.train.data.logs import Roles
from locum.train.data.reading import Reject, Unanswered, Unwanted, read_file, recognise

NAMED = 12


class FieldUse(BaseModel):
    """What is done with a field that rows have, in how many rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: Action
    field: str
    reason: str
    rows: int

    @property
    def sentence(self) -> str:
        """All of it for people."""
        reason = f": {self.reason}" if self.reason else ""
        return f"`{self.field}`{reason} ({self.rows:,} row{'' if self.rows == 1 else 's'})"


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
    unanswered: int = Field(description="questions without an answer, which are passed over; they count as rows")
    unwanted: dict[str, int] = Field(description="rows that say that they are not to be learnt, by what they say")
    fields: list[FieldUse] = Field(description="what is done with fields besides those that the format is known by")
    wrong: int = Field(description="rows that do not fit")
    problems: list[str] = Field(description="the first problem of each wrong row: `file:row: field: reason`")
    rejects: list[Reject] = Field(exclude=True)
    roles: dict[str, int] = Field(description="messages of each role; both answers of a preference count")
    turns: int = Field(description="answers of the assistant")
    characters: int = Field(description="characters of all messages, with what calls of tools are given")
    groups: int = Field(description="different groups")
    experts: dict[str, int] = Field(description="answers of each expert of an interview")
    topics: dict[str, int] = Field(description="rows of each topic")
    summary: str = Field(description="what is right of the file, in a sentence")

    def fields_of(self, *actions: Action) -> list[FieldUse]:
        """The fields with which that is done."""
        return [each for each in self.fields if each.action in actions]


def check_file(
    location: str,
    *,
    format: Format | None = None,
    columns: Columns | None = None,
    roles: Roles | None = None,
    encoding: str | None = None,
    blank_answers: BlankAnswers = "refuse",
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
    rows = unanswered = characters = context = 0
    rejects: list[Reject] = []
    said_by: Counter[str] = Counter()
    topics: Counter[str] = Counter()
    experts: Counter[str] = Counter()
    unwanted: Counter[str] = Counter()
    remarks: Counter[Remark] = Counter()
    groups: set[str | None] = set()
    for item in read_file(
        location, format=format, columns=columns, roles=roles, encoding=encoding, blank_answers=blank_answers
    ):
        rows += 1
        if isinstance(item, Unanswered):
            unanswered += 1
            continue
        if isinstance(item, Reject):
            rejects.append(item)
            continue
        remarks.update(item.remarks)
        if isinstance(item, Unwanted):
            unwanted[item.reason] += 1
            continue
        row = item.row
        messages = row.prompt if isinstance(row, Preference) else row.conversations
        context += sum(message.role == "assistant" and not message.learnt for message in messages)
        said_by.update(message.role for message in messages)
        if isinstance(row, Preference):
            said_by["assistant"] += len(row.answers)
        characters += sum(map(len, texts(row)))
        groups.add(row.group)
        topics.update([row.topic] if row.topic else [])
        experts.update([item.expert] if item.expert else [])
    fields = [
        FieldUse(action=remark.action, field=remark.field, reason=remark.reason, rows=count)
        for remark, count in sorted(remarks.items())
    ]
    read = rows - unanswered - len(rejects) - sum(unwanted.values())
    counts = ", ".join(
        _count(number, name)
        for number, name in (
            (said_by["assistant"], "answer"),
            (characters, "character"),
            (len(groups - {None}), "group"),
            (len(topics), "topic"),
        )
    )
    return FileCheck(
        file=location,
        format=format,
        why=why,
        notes=notes,
        rows=rows,
        unanswered=unanswered,
        unwanted=dict(sorted(unwanted.items())),
        fields=fields,
        wrong=len(rejects),
        problems=[str(reject) for reject in rejects],
        rejects=rejects,
        roles=dict(sorted(said_by.items())),
        turns=said_by["assistant"],
        characters=characters,
        groups=len(groups - {None}),
        experts=dict(sorted(experts.items())),
        topics=dict(sorted(topics.items())),
        summary=_summary(rows, read, counts, len(rejects), unanswered, unwanted, fields, context),
    )


def _summary(
    rows: int,
    read: int,
    counts: str,
    wrong: int,
    unanswered: int,
    unwanted: Counter[str],
    fields: list[FieldUse],
    context: int,
) -> str:
    """What is right of the file, and all that is not learnt of it, in a sentence."""
    marks = sorted({each.field for each in fields if each.action == "not learnt"})
    passed_over = sorted({each.field for each in fields if each.action in ("passed over", "judgement")})
    left_out = [f"{count:,} not to be learnt ({reason})" for reason, count in sorted(unwanted.items())]
    left_out += [f"{unanswered:,} without an answer"] if unanswered else []
    left_out += [f"{wrong:,} wrong"] if wrong else []
    told = [f"left out: {', '.join(left_out)}"] if left_out else []
    told += [f"context only, not learnt: {_count(context, 'answer')} ({_named(marks)})"] if context else []
    told += [f"passed over: {_named(passed_over)}"] if passed_over else []
    if not told:
        return f"{_count(rows, 'row')}, all right: {counts}."
    return f"{read:,} of {_count(rows, 'row')} read: {counts}; {'; '.join(told)}."


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _named(fields: list[str]) -> str:
    shown = ", ".join(f"`{field}`" for field in fields[:NAMED])
    return f"{shown} and {len(fields) - NAMED:,} more" if len(fields) > NAMED else shown
