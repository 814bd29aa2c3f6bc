"""The formats that conversations come in, and what each row of them is in ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from locum.adapters.card import Column, Format
from locum.adapters.conversations import Conversation, Preference, first_problem
from locum.errors import BadInputError
from locum.train.data.columns import (
    COLUMNS,
    INSTRUCTED,
    Columns,
    check_wanted_column,
    has,
    history_turns,
    instruction,
    system_turns,
    text_of,
    tool_definitions,
    with_system,
)
from locum.train.data.fields import (
    LABELS,
    BlankAnswerError,
    Remarks,
    RowError,
    UnwantedRowError,
    account,
    check_wanted,
    is_label,
    says_nothing,
    shown,
)
from locum.train.data.judging import truth
from locum.train.data.messages import (
    CHATS,
    as_list,
    asked_in,
    chat_field,
    has_answer_to_learn,
    read_messages,
    tools_of,
    turns_in,
    with_thought,
)
from locum.train.data.preferences import preference

Row = Conversation | Preference

# Formats that are told by their columns, as cells of a sheet may be empty; and what else their rows may look like.
_TABLES: tuple[tuple[Format, tuple[Column, ...], set[Format]], ...] = (
    ("interview", ("question", "answer", "expert"), {"completion"}),
    ("log", ("conversation", "role", "text"), set()),
)
# Shapes that hold no row as it is, by a field of theirs: what they are, and the way out.
_UNREADABLE = {
    "parent_id": (
        "messages of a tree (`parent_id`)",
        "write each path from a question to its last answer as one row of `messages`",
    ),
    "segments": (
        "texts with the marks of a template (`segments`)",
        "write them as `messages`: the base model's own template is put on",
    ),
    "completions": (
        "several answers to one question (`completions`)",
        "write pairs of `chosen` and `rejected`, or the best one as `completion`",
    ),
    "answers": (
        "several answers to one question (`answers`)",
        "write pairs of `chosen` and `rejected`, or the best one as `answer`",
    ),
    "text": (
        "one text each (`text`)",
        "write question and answer in fields of their own, or `messages`; where another field is the answer, name "
        "both: --column question=text --column answer=…",
    ),
}

_NUMBERED = re.compile("(response|answer|output|completion|conversation|human_ref|reply|summary)_?([0-9]|[abjk])", re.I)


def recognise(rows: Sequence[Mapping[str, Any]], header: Collection[str], columns: Columns) -> tuple[Format, str]:
    """The format of a file by its first rows and the names of all its columns, and why, in a sentence.

    Raises:
        BadInputError: they fit none, or not one and the same.
    """
    kinds = [(row, _format_of(row, columns)) for row in rows]
    found = {each for _, each in kinds} - {None}  # a row that fits none will be told of
    fields = sorted({*header, *(name for row in rows for name in row)})
    for format, wanted, like in _TABLES:
        named = [has(fields, columns, name) for name in wanted]
        if all(named) and {each[0] for each in found if each} <= like:
            return format, f"the columns {', '.join(f'`{name}`' for name in named)}"
    if len(found) > 1:  # where some rows have a label and others none, each says for itself whether it is wanted
        kto = {each for each in found if each and each[0] == "kto"}
        if len(kto) == 1 and _all_labelled([row for row, each in kinds if each]):
            found = {*kto}
        else:
            found = {each if each not in kto else _answered(row, columns) for row, each in kinds if each} - {None}
    if len(found) != 1:
        raise _unrecognised(fields, {each[0] for each in found if each})
    [(format, why)] = [each for each in found if each]
    return format, why


def _all_labelled(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether each row has a label, and some of them one that can only mean whether the answer is wanted."""
    labels = [next((row[name] for name in LABELS if not says_nothing(row.get(name))), None) for row in rows]
    return None not in labels and any(is_label(label) or str(label) in ("0", "1") for label in labels)


def _unrecognised(fields: Sequence[str], formats: Collection[Format]) -> BadInputError:
    shape = next((shape for name, shape in _UNREADABLE.items() if name in fields), None) or _two_answers(fields)
    if shape is not None and not formats:
        found, hint = shape
        return BadInputError(f"its rows are {found}, expected conversations, or questions and answers", hint=hint)
    several = f"; some rows look like {' and others like '.join(sorted(formats))}" if len(formats) > 1 else ""
    return BadInputError(
        f"the format cannot be told from the fields {', '.join(fields) or 'none'}{several}: expected conversations "
        "(role and content, or from and value), messages, instruction and output, prompt and completion (or question "
        "and answer, in an interview with expert), chosen and rejected, or a log's conversation, role and text",
        hint="name it (source.format in the card, --format) and the columns (source.columns, --column question=…)",
    )


def _two_answers(fields: Sequence[str]) -> tuple[str, str] | None:
    """What two numbered answers are, of which another field says which one is better, and the way out."""
    numbered = [name for name in fields if _NUMBERED.fullmatch(name)]
    if len(numbered) < 2:
        return None
    first, second = numbered[:2]
    return (
        f"two answers to one question (`{first}` and `{second}`)",
        "write the better one as `chosen` and the other as `rejected`; where the same field always has the better one, "
        f"name both: --column chosen={first} --column rejected={second}",
    )


def _format_of(row: Mapping[str, Any], columns: Columns) -> tuple[Format, str] | None:
    if has(row, columns, "chosen") and has(row, columns, "rejected"):
        return "preference", f"`{has(row, columns, 'chosen')}` and `{has(row, columns, 'rejected')}`"
    found = _answered(row, columns)
    if found is None:
        return None
    format, why = found
    label = next((name for name in LABELS if name in row), None)
    exactly = format == "completion" and "completion" in row
    if label and truth(row[label]) is not None and (exactly or label == "kto_tag" or isinstance(row[label], bool)):
        return "kto", f"{why}, and `{label}`, which says whether the answer is wanted"
    if has(row, columns, "rejected"):
        return "preference", f"{why}, and `{has(row, columns, 'rejected')}`"
    return format, why


def _answered(row: Mapping[str, Any], columns: Columns) -> tuple[Format, str] | None:
    name = chat_field(row)
    if name is not None:
        first: Any = next(iter(as_list(row[name])), {})
        if name == "messages":
            return "messages", "a list of `messages`"
        if isinstance(first, dict) and "from" in first:
            return "sharegpt", f"`{name}` with `from` and `value`"
        if name == "conversations":
            return "conversations", "`conversations` with `role` and `content`"
        return "messages", f"a list of messages in `{name}`"
    output = next((each for each in INSTRUCTED if each in row), None)
    if "instruction" in row and output:
        return "alpaca", f"`instruction` and `{output}`"
    question, answer = (has(row, columns, "question"), has(row, columns, "answer"))
    return ("completion", f"`{question}` and `{answer}`") if question and answer else None


def to_row(
    fields: Mapping[str, Any],
    format: Format,
    columns: Columns,
    *,
    kind: type[Row] = Conversation,
    remarks: Remarks | None = None,
) -> Row:
    """A row of that format in ours.

    Args:
        kind: what a row of `kto` becomes: a conversation where the answer is wanted, or a preference of one answer.
        remarks: where to put what is to be mentioned of the row's fields.

    Raises:
        UnwantedRowError: the row says that it is not to be learnt.
        RowError: it does not fit.
    """
    remarks = Remarks() if remarks is None else remarks
    used = {name for name in (has(fields, columns, column) for column in COLUMNS[format]) if name}
    others = {name: value for name, value in fields.items() if name not in used}
    wanted = _wanted(fields, others, format, columns, single=kind is Preference, remarks=remarks)
    given: dict[Column, str] = {name: text_of(fields, columns, name) for name in ("group", "topic")}
    if format == "interview":
        given["group"] = given["group"] or text_of(fields, columns, "case")
    about = {str(name): value for name, value in given.items() if value}
    convert = _CONVERTERS[format]
    made, read = convert(fields, columns, remarks)
    asked = {has(fields, columns, name) for name in ("question", "answer")}  # read by some rows of a format alone
    account(fields, "row", "", remarks, used=used - asked | read)
    try:
        if format == "preference":
            return Preference.model_validate({**made, **about})
        return _finished({**made, **about}, kind, wanted=wanted)
    except ValidationError as error:
        raise RowError(*first_problem(error)) from None


Made = tuple[dict[str, Any], set[str]]
"""The fields of a row of ours, and the names of the fields that they were read from."""


def _wanted(
    fields: Mapping[str, Any],
    others: Mapping[str, Any],
    format: Format,
    columns: Columns,
    *,
    single: bool,
    remarks: Remarks,
) -> bool:
    """Whether the row's answer is wanted; an unwanted one is an error unless it becomes a preference of one answer.

    Args:
        others: the fields that no column of ours is.
    """
    check_wanted_column(fields, columns)
    check_wanted({name: value for name, value in others.items() if not (format == "kto" and name in LABELS)}, remarks)
    if format != "kto":
        return True
    labels = [name for name in LABELS if not says_nothing(fields.get(name))]
    label = next(iter(labels), None)
    found = truth(fields[label]) if label else None
    if len({truth(fields[name]) for name in labels}) > 1:
        raise RowError(labels[-1], f"expected what `{label}` says, found {shown(fields[labels[-1]])}")
    if label is None or found is None:
        raise RowError(label or "label", f"expected true or false, found {fields.get(label or 'label')!r}")
    if not found and not single:
        raise UnwantedRowError(label, f"`{label}` is {shown(fields[label])}")
    return found


def _finished(made: dict[str, Any], kind: type[Row], *, wanted: bool) -> Row:
    turns = made["conversations"]
    if not has_answer_to_learn(turns):
        raise UnwantedRowError("weight", "every answer is marked as context only")
    row = Conversation.model_validate(made)
    if kind is Conversation:
        return row
    if row.tools or any(message.tool_calls for message in row.conversations):
        raise RowError("tools", "calls of tools cannot be learnt from preferences; leave such rows out")
    return Preference(
        prompt=row.prompt,
        chosen=row.answer if wanted else None,
        rejected=None if wanted else row.answer,
        group=row.group,
        topic=row.topic,
    )


def _conversation(fields: Mapping[str, Any], columns: Columns, remarks: Remarks) -> Made:
    """All formats that hold a list of messages."""
    name = chat_field(fields)
    if name is None:
        name = next((each for each in CHATS if each in fields), "conversations")
        if name not in fields:
            raise RowError(name, "expected a list of messages, found nothing")
    turns = read_messages(fields[name], name, remarks)
    if (
        len(turns) > 1
        and turns[-1]["role"] == "assistant"
        and not (turns[-1]["content"].strip() or "tool_calls" in turns[-1])
    ):
        raise BlankAnswerError(f"{name}.{len(as_list(fields[name])) - 1}")
    defined = tool_definitions(fields, remarks, tools_of(fields[name], name))
    return {"conversations": with_system(turns, fields, columns), **defined}, {name}


def _alpaca(fields: Mapping[str, Any], columns: Columns, remarks: Remarks) -> Made:
    output = next((name for name in INSTRUCTED if name in fields), "output")
    asked, names = instruction(fields)
    turns = [*system_turns(fields, columns), *history_turns(fields), {"role": "user", "content": asked}]
    if not str(fields.get(output) or "").strip():
        raise BlankAnswerError(output)
    answer, thought = _thinking(fields[output], output, fields, columns, remarks)
    turns.append({"role": "assistant", "content": answer})
    return {"conversations": turns, **tool_definitions(fields, remarks)}, {*names, output, *thought}


def _completion(fields: Mapping[str, Any], columns: Columns, remarks: Remarks) -> Made:
    turns: list[dict[str, Any]] = []
    defined: dict[str, Any] = {}
    read = {"history"}
    asked: tuple[tuple[Column, str], ...] = (("question", "user"), ("answer", "assistant"))
    for name, role in asked:
        called = has(fields, columns, name)
        value = turns_in(fields[called], called, remarks) if called else None
        read |= {called} if called else set()
        if isinstance(value, list):  # TRL's conversational form
            given = read_messages(value, called or name, remarks)
            turns += asked_in(given) if name == "question" else given
            defined |= tools_of(value, called or name)
            continue
        text = text_of(fields, columns, name)
        if not text:
            field = columns.get(name, called or name)
            raise BlankAnswerError(field) if name == "answer" else RowError(field, "expected text, found nothing")
        if name == "answer":
            text, thought = _thinking(text, called or name, fields, columns, remarks)
            read |= thought
        turns.append({"role": role, "content": text})
    history = history_turns(fields)
    start = 1 if turns[:1] and turns[0]["role"] == "system" else 0
    turns = with_system([*turns[:start], *history, *turns[start:]], fields, columns)
    return {"conversations": turns, **tool_definitions(fields, remarks, defined)}, read


def _thinking(
    answer: Any, name: str, fields: Mapping[str, Any], columns: Columns, remarks: Remarks
) -> tuple[Any, set[str]]:
    """An answer behind the thought that the row has in a field of its own, and that field's name."""
    called = has(fields, columns, "thought")
    thought = text_of(fields, columns, "thought")
    if called is None or not thought or not isinstance(answer, str):
        return answer, set()
    return with_thought(answer, {thought}, name, remarks, field=called), {called}


def _kto(fields: Mapping[str, Any], columns: Columns, remarks: Remarks) -> Made:
    found = _answered(fields, columns)
    if found is None:
        raise RowError("row", "expected a question and an answer, found none")
    return _CONVERTERS[found[0]](fields, columns, remarks)


_CONVERTERS: dict[Format, Callable[[Mapping[str, Any], Columns, Remarks], Made]] = {
    "conversations": _conversation, "messages": _conversation, "sharegpt": _conversation, "alpaca": _alpaca,
    "completion": _completion, "kto": _kto, "preference": preference, "interview": _completion,
}  # fmt: skip
