"""The columns and fields of rows: what others call ours, and what stands in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from locum.adapters.card import Column, Format
from locum.train.data import tools
from locum.train.data.fields import Remarks, RowError, UnwantedRowError, says_nothing, shown
from locum.train.data.judging import truth

Columns = Mapping[Column, str]

# Our names, and what others call the same; the card's `columns` come first.
NAMES: dict[Column, tuple[str, ...]] = {
    "question": ("question", "prompt", "query", "input", "input_text", "问题", "问", "提问", "frage", "pregunta"),
    "answer": (
        "answer", "completion", "response", "output", "output_text", "target", "答案", "答", "回答", "antwort",
        "réponse", "respuesta",
    ),
    "system": ("system", "system_prompt", "system_instruction", "systemInstruction", "instructions"),
    "thought": (
        "thought", "thoughts", "thinking", "reasoning", "reasoning_content", "cot", "complex_cot", "chain_of_thought",
        "思考", "推理", "思维链",
    ),
    "group": ("group",),
    "topic": ("topic", "category", "主题", "分类", "thema", "kategorie"),
    "wanted": (),
    "chosen": ("chosen", "preferred_output", "chosen_response", "chosen_message", "chosen_messages"),
    "rejected": (
        "rejected", "non_preferred_output", "rejected_response", "rejected_message", "rejected_messages",
    ),
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
_ABOUT: tuple[Column, ...] = ("group", "topic", "wanted")
COLUMNS: dict[Format, tuple[Column, ...]] = {
    "conversations": ("system", *_ABOUT),
    "messages": ("system", *_ABOUT),
    "sharegpt": ("system", *_ABOUT),
    "alpaca": ("system", *_ABOUT),
    "completion": ("question", "answer", "system", *_ABOUT),
    "kto": ("question", "answer", "system", *_ABOUT),
    "preference": ("question", "chosen", "rejected", "system", *_ABOUT),
    "interview": ("question", "answer", "expert", "system", "case", *_ABOUT),
    "log": ("conversation", "role", "text", "time", *_ABOUT),
}
INSTRUCTED = ("output", "response", "answer", "completion")
_GIVEN = ("input", "context")


def has(row: Collection[str], columns: Columns, name: Column) -> str | None:
    """What a row calls a field of ours: as `columns` says, else one of the known names, in capitals or not."""
    if name in columns:
        return columns[name] if columns[name] in row else None
    return _known_name(tuple(row), name)


@lru_cache(maxsize=4096)  # the rows of a file have few sets of fields
def _known_name(fields: tuple[str, ...], name: Column) -> str | None:
    names = NAMES[name]
    exact = next((each for each in names if each in fields), None)
    if exact is not None:
        return exact
    written = {str(each).strip().casefold(): each for each in fields}
    return next((written[each.casefold()] for each in names if each.casefold() in written), None)


def text_of(fields: Mapping[str, Any], columns: Columns, name: Column) -> str:
    """What a row has in a field of ours, without blank ends; empty where it has none."""
    called = has(fields, columns, name)
    return text_in(fields, called) if called else ""


def text_in(fields: Mapping[str, Any], name: str) -> str:
    """What stands in a field, without blank ends; empty where there is nothing.

    Raises:
        RowError: it is no text, and nothing that is shown as one.
    """
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return (value or "").strip()
    if isinstance(value, (int, float, datetime)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    raise RowError(name, f"expected text, found {type(value).__name__}")


def check_wanted_column(fields: Mapping[str, Any], columns: Columns) -> None:
    """Make sure that the column which says whether a row is wanted, where `columns` names one, says so.

    Raises:
        UnwantedRowError: it says that the row is not.
        RowError: it says neither yes nor no.
    """
    name = columns.get("wanted")
    if name is None:
        return
    found = truth(fields.get(name))
    if found is None:
        raise RowError(name, f"expected yes or no, as `columns` has it for `wanted`; found {fields.get(name)!r}")
    if not found:
        raise UnwantedRowError(name, f"`{name}` is {shown(fields[name])}")


def tool_definitions(
    fields: Mapping[str, Any], remarks: Remarks, others: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The definitions of tools of a row as `tools` of ours, or nothing where it has none.

    Args:
        others: what stands elsewhere in the row than in its own fields, by where.

    Raises:
        RowError: they are no definitions, or differ from one place to another.
    """
    places = {**{name: fields.get(name) for name in ("tools", "functions")}, **(others or {})}
    found = {
        place: tools.definitions(value, place, remarks) for place, value in places.items() if not says_nothing(value)
    }
    values = [value for value in found.values() if value]
    if any(value != values[0] for value in values[1:]):
        raise RowError(list(found)[-1], f"expected the same tools as in {next(iter(found))}, found others")
    return {"tools": values[0]} if values else {}


def with_system(turns: list[dict[str, Any]], fields: Mapping[str, Any], columns: Columns) -> list[dict[str, Any]]:
    """The messages, with the row's own system prompt before them.

    Raises:
        RowError: the messages have another system prompt already.
    """
    own = system_turns(fields, columns)
    if not own or turns[:1] == own:
        return turns
    if turns and turns[0]["role"] == "system":
        name = has(fields, columns, "system") or "system"
        raise RowError(name, "expected one system prompt, found one in this field and another among the messages")
    return [*own, *turns]


def system_turns(fields: Mapping[str, Any], columns: Columns) -> list[dict[str, Any]]:
    called = has(fields, columns, "system")
    value = fields.get(called) if called else None
    if isinstance(value, dict) and isinstance(value.get("parts"), list):  # Gemini
        value = value["parts"]
    if isinstance(value, list):  # Anthropic
        parts = [part.get("text") if isinstance(part, dict) else part for part in value]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) < len(parts):
            raise RowError(called or "system", "expected text parts alone in a system prompt")
        value = "\n".join(texts)
    text = value.strip() if isinstance(value, str) else text_of(fields, columns, "system")
    return [{"role": "system", "content": text}] if text else []


def history_turns(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    history = fields.get("history") or []
    if not isinstance(history, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in history):
        raise RowError("history", "expected a list of pairs of question and answer")
    roles = ("user", "assistant")
    return [{"role": role, "content": text} for turn in history for role, text in zip(roles, turn, strict=True)]


def instruction(fields: Mapping[str, Any]) -> tuple[str, set[str]]:
    """An instruction with what it is given, and the names of both."""
    given = next((name for name in _GIVEN if name in fields), None)
    parts = [text_in(fields, name) for name in ("instruction", given or "input")]
    return "\n\n".join(filter(None, parts)), {"instruction", "history", *([given] if given else [])}


def markdown() -> str:
    """The names of columns in Markdown, as docs/data.md has them."""
    lines = ["| ours | called so, in capitals or not |", "| --- | --- |"]
    lines += [f"| `{ours}` | {', '.join(f'`{name}`' for name in names)} |" for ours, names in NAMES.items() if names]
    return "\n".join([*lines, "| `wanted` | no name of its own: named in `columns`, yes or no in each row |"])
