"""The formats that conversations come in, and what each row of them is in ours."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from locum.adapters.card import Column, Format, Speaker
from locum.adapters.conversations import Conversation, Preference, first_problem
from locum.errors import BadInputError

Row = Conversation | Preference
Columns = Mapping[Column, str]

# Our names, and what others call the same; the card's `columns` come first.
NAMES: dict[Column, tuple[str, ...]] = {
    "question": ("question", "prompt", "query", "input", "问题", "问", "提问"),
    "answer": ("answer", "completion", "response", "output", "答案", "答", "回答"),
    "system": ("system", "system_prompt"),
    "group": ("group",),
    "topic": ("topic", "category", "主题", "分类"),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "expert": ("expert", "专家"),
    "case": ("case", "案例", "病例"),
    "conversation": (
        "conversation_id", "conversation", "session_id", "session", "chat_id", "dialogue_id", "dialog_id", "ticket_id",
        "thread_id", "会话ID", "会话编号", "会话", "对话ID", "对话编号", "对话",
    ),
    "role": ("role", "speaker", "sender", "from", "author", "角色", "发言人", "说话人", "发送者"),
    "text": ("text", "message", "content", "utterance", "body", "内容", "消息", "文本"),
    "time": ("time", "timestamp", "created_at", "sent_at", "date", "时间", "发送时间", "日期"),
}  # fmt: skip
ROLES: dict[str, Speaker] = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant",
    "bot": "assistant", "model": "assistant", "system": "system",
}  # fmt: skip

# Formats that are told by their columns, as cells of a sheet may be empty; and what else their rows may look like.
_TABLES: tuple[tuple[Format, tuple[Column, ...], set[Format]], ...] = (
    ("interview", ("question", "answer", "expert"), {"completion"}),
    ("log", ("conversation", "role", "text"), set()),
)


class RowError(ValueError):
    """A row that does not fit its format: which field, and why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def recognise(rows: Sequence[Mapping[str, Any]], header: Collection[str], columns: Columns) -> tuple[Format, str]:
    """The format of a file by its first rows and the names of all its columns, and why, in a sentence.

    Raises:
        BadInputError: they fit none, or not one and the same.
    """
    found = {_format_of(row, columns) for row in rows} - {None}  # a row that fits none will be told of
    fields = sorted({*header, *(name for row in rows for name in row)})
    for format, wanted, like in _TABLES:
        named = [_has(fields, columns, name) for name in wanted]
        if all(named) and {each[0] for each in found if each} <= like:
            return format, f"the columns {', '.join(f'`{name}`' for name in named)}"
    if len(found) != 1:
        raise BadInputError(
            f"the format cannot be told from the fields {', '.join(fields) or 'none'}: expected conversations (role "
            "and content, or from and value), messages, instruction and output, prompt and completion (or question and "
            "answer, in an interview with expert), chosen and rejected, or a log's conversation, role and text",
            hint="name it (source.format in the card, --format) and the columns (source.columns, --column question=…)",
        )
    [(format, why)] = [each for each in found if each]
    return format, why


def _format_of(row: Mapping[str, Any], columns: Columns) -> tuple[Format, str] | None:
    if (turns := row.get("conversations")) and isinstance(turns, list) and isinstance(turns[0], dict):
        if "from" in turns[0]:
            return "sharegpt", "`conversations` with `from` and `value`"
        return "conversations", "`conversations` with `role` and `content`"
    if isinstance(row.get("messages"), list):
        return "messages", "a list of `messages`"
    if _has(row, columns, "chosen") and _has(row, columns, "rejected"):
        return "preference", "`chosen` and `rejected`"
    if "instruction" in row and "output" in row:
        return "alpaca", "`instruction` and `output`"
    question, answer = (_has(row, columns, "question"), _has(row, columns, "answer"))
    return ("completion", f"`{question}` and `{answer}`") if question and answer else None


def _has(row: Collection[str], columns: Columns, name: Column) -> str | None:
    """What a row calls a field of ours."""
    names = (columns[name],) if name in columns else NAMES[name]
    return next((each for each in names if each in row), None)


def to_row(fields: Mapping[str, Any], format: Format, columns: Columns) -> Row:
    """A row of that format in ours.

    Raises:
        RowError: it does not fit.
    """
    given: dict[Column, str] = {name: text_of(fields, columns, name) for name in ("group", "topic")}
    if format == "interview":
        given["group"] = given["group"] or text_of(fields, columns, "case")
    about = {str(name): value for name, value in given.items() if value}
    try:
        return _CONVERTERS[format](fields, columns, about)
    except ValidationError as error:
        raise RowError(*first_problem(error)) from None


def text_of(fields: Mapping[str, Any], columns: Columns, name: Column) -> str:
    """What a row has in a field of ours, without blank ends; empty where it has none."""
    called = _has(fields, columns, name)
    value = fields.get(called) if called else None
    if value is None or isinstance(value, str):
        return (value or "").strip()
    if isinstance(value, (int, float, datetime)):
        return str(value)
    raise RowError(called or name, f"expected text, found {type(value).__name__}")


def _ours(fields: Mapping[str, Any], columns: Columns, about: dict[str, str]) -> Row:
    known = {name: value for name, value in fields.items() if name not in columns.values()}
    return Conversation.model_validate({**known, **about})


def _messages(fields: Mapping[str, Any], columns: Columns, about: dict[str, str]) -> Row:
    return Conversation.model_validate({"conversations": _turns(fields.get("messages"), "messages"), **about})


def _sharegpt(fields: Mapping[str, Any], columns: Columns, about: dict[str, str]) -> Row:
    turns = []
    for number, turn in enumerate(_objects(fields.get("conversations"), "conversations")):
        role = ROLES.get(str(turn.get("from", "")).lower())
        if role is None:
            raise RowError(
                f"conversations.{number}.from", f"expected one of {', '.join(ROLES)}, found {turn.get('from')!r}"
            )
        turns.append({"role": role, "content": turn.get("value")})
    if not turns or turns[0]["role"] != "system":
        turns = [*_system(fields, columns), *turns]
    return Conversation.model_validate({"conversations": turns, **about})


def _alpaca(fields: Mapping[str, Any], columns: Columns, about: dict[str, str]) -> Row:
    parts = [str(fields.get(name) or "").strip() for name in ("instruction", "input")]
    turns = _system(fields, columns)
    history = fields.get("history") or []
    if not isinstance(history, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in history):
        raise RowError("history", "expected a list of pairs of question and answer")
    for asked, said in history:
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    turns += [
        {"role": "user", "content": "\n\n".join(filter(None, parts))},
        {"role": "assistant", "content": fields.get("output")},
    ]
    return Conversation.model_validate({"conversations": turns, **about})


def _completion(fields: Mapping[str, Any], columns: Columns, about: dict[str, str]) -> Row:
    turns = _system(fields, columns)
    asked: tuple[tuple[Column, str], ...] = (("question", "user"), ("answer", "assistant"))
    for name, role in asked:
        value = text_of(fields, columns, name)
        if not value:
            raise RowError(columns.get(name, name), "expected text, found nothing")
        turns.append({"role": role, "content": value})
    return Conversation.model_validate({"conversations": turns, **about})


def _preference(fields: Mapping[str, Any], columns: Columns, about: dict[str, str]) -> Row:
    asked = fields.get(_has(fields, columns, "question") or "")
    prompt = _turns(asked, "prompt") if isinstance(asked, list) else None
    answers: dict[str, Any] = {}
    both: tuple[Column, Column] = ("chosen", "rejected")
    for name in both:
        value = fields.get(_has(fields, columns, name) or "")
        if isinstance(value, list):  # a whole conversation, or the last turn alone
            turns = _turns(value, name)
            if not turns or turns[-1]["role"] != "assistant":
                raise RowError(name, "expected a conversation that ends with assistant")
            if len(turns) > 1:
                if prompt is not None and prompt != turns[:-1]:
                    raise RowError(name, "expected the same turns before both answers")
                prompt = turns[:-1]
            value = turns[-1]["content"]
        answers[name] = value
    if prompt is None:
        prompt = [*_system(fields, columns), {"role": "user", "content": asked}]
    return Preference.model_validate({"prompt": prompt, **answers, **about})


def _system(fields: Mapping[str, Any], columns: Columns) -> list[dict[str, Any]]:
    text = text_of(fields, columns, "system")
    return [{"role": "system", "content": text}] if text else []


def _turns(value: Any, field: str) -> list[dict[str, Any]]:
    """OpenAI's messages, each reduced to role and text."""
    found = []
    for number, turn in enumerate(_objects(value, field)):
        if turn.get("tool_calls") or turn.get("role") in ("tool", "function"):
            raise RowError(f"{field}.{number}", "tool calls cannot be learnt from; expected text")
        content = turn.get("content")
        if isinstance(content, list):
            parts = _objects(content, f"{field}.{number}.content")
            other = [str(part.get("type")) for part in parts if not isinstance(part.get("text"), str)]
            if other:
                raise RowError(f"{field}.{number}.content", f"expected text, found {', '.join(other)}")
            content = "".join(part["text"] for part in parts)
        role = turn.get("role")
        found.append({"role": "system" if role == "developer" else role, "content": content})
    return found


def _objects(value: Any, field: str) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise RowError(field, f"expected a list of messages, found {type(value).__name__}")
    if wrong := [type(each).__name__ for each in value if not isinstance(each, dict)]:
        raise RowError(field, f"expected a list of objects, found {wrong[0]} in it")
    return value


_CONVERTERS: dict[Format, Callable[[Mapping[str, Any], Columns, dict[str, str]], Row]] = {
    "conversations": _ours, "messages": _messages, "sharegpt": _sharegpt, "alpaca": _alpaca, "completion": _completion,
    "preference": _preference, "interview": _completion, "log": _ours,
}  # fmt: skip
