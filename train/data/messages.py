"""Messages as others write them (OpenAI, ShareGPT, Anthropic, Gemini, and what trainers add to these), in ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from locum.train.data import tools
from locum.train.data.fields import Remarks, RowError, account, marks_of, message_is_learnt, says_nothing

ROLES: dict[str, str] = {
    "human": "user", "user": "user", "prompter": "user", "gpt": "assistant", "chatgpt": "assistant",
    "assistant": "assistant", "bot": "assistant", "chatbot": "assistant", "model": "assistant", "ai": "assistant",
    "system": "system", "developer": "system", "tool": "tool", "function": "tool", "ipython": "tool",
    "observation": "tool",
    "tool_response": "tool", "tool_result": "tool", "function_response": "tool", "function_call": "call",
    "tool_call": "call",
}  # fmt: skip
CHATS = ("messages", "conversations", "conversation", "contents", "dialogue", "dialog", "turns", "chat", "data")
_CONTENT = ("content", "value", "parts", "text")
_CALLS = ("tool_calls", "function_call")
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thought")
_PAIRS = (
    ("human", "assistant"), ("user", "assistant"), ("input", "output"), ("query", "response"), ("question", "answer"),
)  # fmt: skip
_TEXTS = ("text", "input_text", "output_text")
_GEMINI = {
    "functionCall": "call", "function_call": "call", "functionResponse": "result", "function_response": "result",
}  # fmt: skip
_SAYING = (
    "text", "thinking", "reasoning", "input", "content", "functionCall", "function_call", "functionResponse",
    "function_response",
)  # fmt: skip
_SPEAKER = re.compile(r"(?:\A|\n\n)\s*(Human|Assistant):")
THINK = "<think>\n{thought}\n</think>\n\n{said}"


def read_messages(value: Any, path: str, remarks: Remarks) -> list[dict[str, Any]]:
    """A list of messages as our rows have them.

    Raises:
        RowError: one of them cannot be learnt from as it stands, or they are no messages.
    """
    found: list[dict[str, Any]] = []
    for place, message in _turns(value, path, remarks):
        for each in _read(message, place, remarks):
            previous = found[-1] if found else None
            if each["role"] == "call":
                each = {**each, "role": "assistant"}
                if previous is not None and _continues(previous, each):
                    previous["tool_calls"] = [*previous.get("tool_calls", []), *each["tool_calls"]]
                    continue
            found.append(each)
    return found


def _turns(value: Any, path: str, remarks: Remarks) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each message with its place; two for an item that holds a question with its answer."""
    if _are_texts(value := as_list(value)):
        for number, text in enumerate(value):
            yield f"{path}.{number}", {"role": ("user", "assistant")[number % 2], "content": text}
        return
    for number, item in enumerate(objects(value, path)):
        place = f"{path}.{number}"
        names = _pair_of(item)
        if names is None:
            yield place, item
            continue
        asked, answered = names
        if item.get("system"):
            yield f"{place}.system", {"role": "system", "content": item["system"]}
        rest = {name: value for name, value in item.items() if name not in (*names, "system")}
        yield f"{place}.{asked}", {"role": "user", "content": item[asked]}
        yield f"{place}.{answered}", {**rest, "role": "assistant", "content": item[answered]}


def _are_texts(value: Any) -> bool:
    """Whether it is a list of what user and assistant say in turn."""
    return isinstance(value, list) and len(value) > 1 and all(isinstance(each, str) for each in value)


def _pair_of(item: Mapping[str, Any]) -> tuple[str, str] | None:
    """The fields of a question and its answer in one item of a list, as XTuner and others write turns."""
    if "role" in item or "from" in item:
        return None
    return next((pair for pair in _PAIRS if pair[0] in item and pair[1] in item), None)


def objects(value: Any, path: str) -> list[dict[str, Any]]:
    """A list of objects.

    Raises:
        RowError: it is none.
    """
    value = as_list(value)
    if not isinstance(value, list):
        raise RowError(path, f"expected a list of messages, found {type(value).__name__}")
    if wrong := [type(each).__name__ for each in value if not isinstance(each, dict)]:
        raise RowError(path, f"expected a list of objects, found {wrong[0]} in it")
    return value


def chat_field(row: Mapping[str, Any]) -> str | None:
    """The field that holds a list of messages."""
    for name in CHATS:
        turns = as_list(row.get(name))
        first = turns[0] if isinstance(turns, list) and turns else None
        if _are_texts(turns) or (isinstance(first, dict) and ({"role", "from"} & set(first) or _pair_of(first))):
            return name
    return "messages" if isinstance(as_list(row.get("messages")), list) else None


def as_list(value: Any) -> Any:
    """A list that stands in a text as JSON, as tables have it; all else as it is."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def turns_in(value: Any, path: str, remarks: Remarks) -> Any:
    """A list of messages where a field holds one, as tables and Anthropic's sets have it in a text; else the value."""
    if isinstance(value, dict) and _is_message(value):  # LLaMA-Factory
        return [value]
    if not isinstance(value, str):
        return value
    listed = as_list(value)
    if isinstance(listed, list) and listed and all(isinstance(each, dict) and _is_message(each) for each in listed):
        return listed
    if value.lstrip().startswith("Human:") and "\n\nAssistant:" in value:
        remarks.add("used", path, "a text whose turns begin with Human: and Assistant:")
        parts = _SPEAKER.split(value)[1:]
        return [
            {"role": "user" if speaker == "Human" else "assistant", "content": text.strip()}
            for speaker, text in zip(parts[::2], parts[1::2], strict=True)
        ]
    return value


def asked_in(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The turns of a prompt, without the empty one of the assistant that some end with."""
    return turns[:-1] if turns and is_blank_answer(turns[-1]) else turns


def _is_message(value: Mapping[str, Any]) -> bool:
    return "role" in value or "from" in value


def is_blank_answer(message: Mapping[str, Any]) -> bool:
    """Whether it is the assistant's, without a word and without a call."""
    return message["role"] == "assistant" and not message["content"].strip() and "tool_calls" not in message


def has_answer_to_learn(messages: list[dict[str, Any]]) -> bool:
    """Whether any answer is not marked as context only."""
    answers = [message for message in messages if message["role"] == "assistant"]
    return not answers or any(message.get("weight") != 0 for message in answers)


def _continues(previous: Mapping[str, Any], call: Mapping[str, Any]) -> bool:
    return previous["role"] == "assistant" and previous.get("weight") == call.get("weight")


@dataclass
class _Said:
    """What a message says, whatever it is written in."""

    text: str = ""
    thoughts: set[str] = field(default_factory=set)
    calls: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)


def _read(message: Mapping[str, Any], path: str, remarks: Remarks) -> list[dict[str, Any]]:
    """One message; several where a user's message holds tools' results, none where it is an empty system message."""
    text_field = ("text",) if "content" not in message and "value" not in message else ()
    account(message, "message", path, remarks, used=text_field)
    role = _role(message, path)
    _mention_names(message, role, path, remarks)
    said = _said(message, role, path, remarks)
    if role in ("assistant", "call"):
        return [_answer(message, role, said, path, remarks)]
    if said.calls or any(not says_nothing(message.get(name)) for name in _CALLS):
        raise RowError(path, f"expected calls of tools in what the assistant says alone, found them at {role}")
    if said.thoughts:
        raise RowError(path, f"expected thoughts in what the assistant says alone, found them at {role}")
    _mention_others(message, role, path, remarks)
    if role == "tool":
        about = {name: str(message[name]) for name in ("tool_call_id", "name") if not says_nothing(message.get(name))}
        return said.results or [{"role": "tool", "content": said.text, **about}]
    if role == "system" and not said.text.strip():
        remarks.add("empty", f"{path}.{_named(message)}", "of system messages")
        return []
    return [*said.results, *([{"role": role, "content": said.text}] if said.text or not said.results else [])]


def _said(message: Mapping[str, Any], role: str, path: str, remarks: Remarks) -> _Said:
    content, name = _content(message, path), _named(message)
    if isinstance(content, list):
        return _parts(content, f"{path}.{name}", remarks)
    if role == "tool":
        return _Said(tools.result_text(content))
    if role == "call":
        return _Said(calls=tools.calls(content, f"{path}.{name}", remarks))
    if not isinstance(content, str):
        raise RowError(f"{path}.{name}", f"expected text, found {type(content).__name__}")
    return _Said(content)


def _answer(message: Mapping[str, Any], role: str, said: _Said, path: str, remarks: Remarks) -> dict[str, Any]:
    """What the assistant says, with its thought, its calls of tools, and whether it is learnt."""
    thoughts = said.thoughts | {_thought(message, name, path) for name in _THOUGHTS} - {""}
    content = with_thought(said.text, thoughts, path, remarks)
    given = [name for name in _CALLS if not says_nothing(message.get(name))]
    calls = said.calls + [call for name in given for call in tools.calls(message[name], f"{path}.{name}", remarks)]
    own: dict[str, Any] = {"role": role, "content": "" if calls and not content.strip() else content}
    if calls:
        own["tool_calls"] = calls
    if not message_is_learnt(message, path):
        own["weight"] = 0
        remarks.add("not learnt", f"{path}.{marks_of(message)[0]}", "answers that are marked as context only")
    return own


def _mention_others(message: Mapping[str, Any], role: str, path: str, remarks: Remarks) -> None:
    """What a message of another speaker than the assistant carries and does not mean there."""
    for name in _THOUGHTS:
        if not says_nothing(message.get(name)):
            remarks.add("passed over", f"{path}.{name}", "a thought of others than the assistant")
    for name in marks_of(message):
        if message_is_learnt({name: message[name]}, path):
            remarks.add("passed over", f"{path}.{name}", "only what the assistant says is learnt")


def _mention_names(message: Mapping[str, Any], role: str, path: str, remarks: Remarks) -> None:
    """Names that the speaker has beside a role, which are not shown."""
    for name in ("name", "tool_call_id"):
        if role != "tool" and not says_nothing(message.get(name)):
            remarks.add("passed over", f"{path}.{name}", "of others than tools")
    if "role" in message and not says_nothing(message.get("from")) and message["from"] != message["role"]:
        remarks.add("passed over", f"{path}.from", "beside `role`")


def _role(message: Mapping[str, Any], path: str) -> str:
    name = "role" if "role" in message else "from"
    given = message.get(name)
    role = ROLES.get(str(given).strip().lower()) if given is not None else None
    if role is None:
        raise RowError(f"{path}.{name}", f"expected one of {', '.join(ROLES)}, found {given!r}")
    return role


def _named(message: Mapping[str, Any]) -> str:
    return next((name for name in _CONTENT if name in message), "content")


def _content(message: Mapping[str, Any], path: str) -> Any:
    said = {name: message[name] for name in _CONTENT if message.get(name) not in (None, "", [], {})}
    values = list(said.values())
    if any(value != values[0] for value in values[1:]):
        raise RowError(path, f"expected one text, found different ones in {' and '.join(said)}")
    return values[0] if values else (message.get(_named(message)) or "")


def _thought(message: Mapping[str, Any], name: str, path: str) -> str:
    value = message.get(name)
    if says_nothing(value):
        return ""
    if not isinstance(value, str):
        raise RowError(f"{path}.{name}", f"expected text, found {type(value).__name__}")
    return value.strip()


def with_thought(content: str, thoughts: set[str], path: str, remarks: Remarks, *, field: str = "") -> str:
    """An answer with its thought before it, between <think> and </think>.

    Args:
        field: where the thought stands, if not at the message.

    Raises:
        RowError: it has two different ones.
    """
    if not thoughts:
        return content
    before, mark, said = content.rpartition("</think>")
    if mark:
        thoughts = {*thoughts, before.strip().removeprefix("<think>").strip()} - {""}
    if len(thoughts) > 1:
        raise RowError(path, "expected one thought, found different ones in its fields or its content")
    remarks.add(
        "used", field or f"{path}.reasoning_content", "thoughts; `thinking` in the recipe says what becomes of them"
    )
    return THINK.format(thought=next(iter(thoughts)), said=(said if mark else content).strip())


def _parts(parts: list[Any], path: str, remarks: Remarks) -> _Said:
    """What a content in parts says."""
    said = _Said()
    texts: list[str] = []
    thoughts: list[str] = []
    for number, part in enumerate(parts):
        place = f"{path}.{number}"
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, dict):
            raise RowError(place, f"expected a part with a type, found {type(part).__name__}")
        kind = str(part.get("type") or _kind_of(part))
        _check_says_one_thing(part, kind, place, remarks)
        if kind in (*_TEXTS, "thinking", "reasoning", "tool_use", "tool_result", "call", "result"):
            account(part, "part", place, remarks)
        match kind:
            case "text" | "input_text" | "output_text" if isinstance(part.get("text"), str):
                (thoughts if part.get("thought") is True else texts).append(part["text"])
            case "thinking" | "reasoning":
                thoughts.append(str(part.get("thinking") or part.get("text") or part.get("reasoning") or ""))
            case "tool_use":
                said.calls.append(tools.call(part, place, remarks))
            case "call":
                said.calls.append(tools.call(part.get("functionCall") or part["function_call"], place, remarks))
            case "tool_result":
                given = part.get("content")
                inner = _parts(given, f"{place}.content", remarks).text if isinstance(given, list) else given
                about = {"tool_call_id": str(part["tool_use_id"])} if part.get("tool_use_id") else {}
                said.results.append({"role": "tool", "content": tools.result_text(inner or ""), **about})
            case "result":
                given = part.get("functionResponse") or part["function_response"]
                said.results.append(_gemini_result(given, f"{place}.functionResponse", remarks))
            case _:
                raise RowError(path, f"expected text, found {kind}")
    if len(texts) > 1:
        remarks.add("used", path, "text parts, joined by line breaks as the server joins them")
    said.text, said.thoughts = "\n".join(texts), {"\n".join(thoughts).strip()} - {""}
    return said


def _check_says_one_thing(part: Mapping[str, Any], kind: str, path: str, remarks: Remarks) -> None:
    """Refuse a part of which only a half would be read, and mention names where they mean nothing.

    Raises:
        RowError: it says two things.
    """
    given = [name for name in _SAYING if not says_nothing(part.get(name))]
    if not isinstance(part.get("thought"), bool) and not says_nothing(part.get("thought")):
        given.append("thought")
    if len(given) > 1:
        raise RowError(path, f"expected one of these in a part of a content, found {' and '.join(given)}")
    read = {"tool_use": ("id", "name"), "tool_result": ("tool_use_id",)}.get(kind, ())
    for name in ("id", "name", "tool_use_id"):
        if name not in read and not says_nothing(part.get(name)):
            remarks.add("passed over", f"{path}.{name}", "it means nothing in this kind of part")


def _gemini_result(given: Mapping[str, Any], path: str, remarks: Remarks) -> dict[str, Any]:
    account(given, "log", path, remarks, used=("id", "name", "response"))
    about = {"tool_call_id": given.get("id"), "name": given.get("name")}
    return {
        "role": "tool",
        "content": tools.result_text(given.get("response", "")),
        **{name: str(value) for name, value in about.items() if not says_nothing(value)},
    }


def tools_of(value: Any, path: str) -> dict[str, Any]:
    """Definitions of tools that stand at messages, as MiniMind has them, by their places."""
    messages = [] if _are_texts(as_list(value)) else objects(value, path)
    return {f"{path}.{number}.tools": message.get("tools") for number, message in enumerate(messages)}


def _kind_of(part: Mapping[str, Any]) -> str:
    """Of a part without a type, which is how Gemini writes them, by its fields."""
    for kind, names in {
        "call": ("functionCall", "function_call"),
        "result": ("functionResponse", "function_response"),
    }.items():
        if any(isinstance(part.get(name), dict) for name in names):
            return kind
    return "text" if "text" in part else next(iter(part), "nothing")
