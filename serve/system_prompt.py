"""The system prompt that a version was trained with, given to the chats of those who ask for it by its name, and put
where the version learned to find it.

Pure functions of a request's outermost fields. Their values are the bytes that they came as (`msgspec.Raw`), or Python
objects where `Body` had to read them leniently. A long conversation is not decoded: the roles in it are all that is
read. What vLLM would refuse is left to vLLM, which says what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

from locum.adapters.manifest import Manifest
from locum.adapters.system_prompt import HEADER, SEPARATOR
from locum.errors import BadInputError

Fields = dict[str, Any]

_NOTHING = (None, msgspec.Raw(b"null"))


class _Message(msgspec.Struct):
    role: str | None = None


_messages_of = msgspec.json.Decoder(list[_Message])
_items_of = msgspec.json.Decoder(list[msgspec.Raw])


def give_system_prompt(path: str, fields: Fields, manifest: Manifest | None, *, header: str | None) -> Fields:
    """The fields with the version's system prompt, where its switch and the request want that; else `fields` itself.

    For a version that learned to find system messages before the first question, they are put there, whoever sent them:
    the base model's chat template knows no such messages.

    Args:
        path: the route, such as `/v1/chat/completions`.
        manifest: of the version that answers; none for the base model.
        header: the request's `x-locum-system`.

    Raises:
        BadInputError: the header says something else than `never`.
    """
    if header not in (None, "never"):
        raise BadInputError(f"{HEADER}: expected never, found {header!r}", hint="leave the header out")
    give = _CHATS.get(path)
    if give is None or manifest is None:
        return fields
    try:
        if not header and manifest.system_prompt is not None and manifest.system != "never":
            fields = give(fields, manifest.system_prompt, manifest.system == "always")
        return _FOLDS[path](fields) if manifest.system_role == "user" else fields
    except (msgspec.ValidationError, ValueError, RecursionError):
        return fields


def _chat(fields: Fields, prompt: str, always: bool) -> Fields:
    messages = _with_prompt(fields.get("messages"), prompt, always)
    return fields if messages is None else {**fields, "messages": messages}


def _batch(fields: Fields, prompt: str, always: bool) -> Fields:
    conversations = _items(fields.get("messages"))
    given = [_with_prompt(each, prompt, always) for each in conversations]
    if not any(given):
        return fields
    return {**fields, "messages": [new or old for new, old in zip(given, conversations, strict=True)]}


def _responses(fields: Fields, prompt: str, always: bool) -> Fields:
    """`instructions` hold for one request alone, so one that continues another gets the prompt too."""
    return _beside("instructions", "input", fields, prompt, always, part="input_text")


def _anthropic(fields: Fields, prompt: str, always: bool) -> Fields:
    return _beside("system", "messages", fields, prompt, always, part="text")


_CHATS: dict[str, Callable[[Fields, str, bool], Fields]] = {
    "/v1/chat/completions": _chat,
    "/v1/chat/completions/batch": _batch,
    "/v1/responses": _responses,
    "/v1/messages": _anthropic,
    "/v1/messages/count_tokens": _anthropic,
    "/tokenize": _chat,  # so that it counts what a chat with these messages sees
}


def _with_prompt(conversation: Any, prompt: str, always: bool, *, part: str = "text") -> list[Any] | None:
    """A conversation that begins with the prompt; None where it is to stay as it is."""
    roles = _roles(conversation)
    if not roles or (not always and _brings_own(roles)):
        return None
    first, *others = items = _items(conversation)
    if roles[0] == "system":
        message = _read(first)
        content = message.get("content")
        if _leads(content, prompt):
            return None
        if isinstance(content, str | list):
            return [{**message, "content": _before(content, prompt, part)}, *others]
    return [{"role": "system", "content": prompt}, *items]


def _beside(own: str, conversation: str, fields: Fields, prompt: str, always: bool, *, part: str) -> Fields:
    """The fields of an API whose system prompt has a field of its own, beside the conversation."""
    if fields.get(own) not in _NOTHING:
        content = _read(fields[own]) if always else None
        if _leads(content, prompt) or not isinstance(content, str | list):
            return fields
        return {**fields, own: _before(content, prompt, part)}
    roles = _roles(fields.get(conversation))
    if not roles or (not always and _brings_own(roles)):
        return fields
    if roles[0] == "system":  # there it goes, as many chat templates take no second system message
        messages = _with_prompt(fields[conversation], prompt, always, part=part)
        return fields if messages is None else {**fields, conversation: messages}
    return {**fields, own: prompt}


def _leads(content: Any, prompt: str) -> bool:
    """Whether a client's text, or the first of its parts, begins with the prompt."""
    if isinstance(content, list) and content and isinstance(content[0], dict):
        content = content[0].get("text")
    return isinstance(content, str) and content.startswith(prompt)


def _before(content: str | list[Any], prompt: str, part: str) -> str | list[Any]:
    """A content behind the prompt; the first part of several is, as parts may be joined by anything or nothing."""
    if isinstance(content, str):
        return f"{prompt}{SEPARATOR}{content}" if content else prompt
    if content and isinstance(content[0], dict) and isinstance(content[0].get("text"), str):
        first, *others = content
        return [{**first, "text": _before(first["text"], prompt, part)}, *others]
    return [{"type": part, "text": prompt}, *content]


def _fold_chat(fields: Fields) -> Fields:
    messages = _folded(fields.get("messages"), part="text")
    return fields if messages is None else {**fields, "messages": messages}


def _fold_batch(fields: Fields) -> Fields:
    conversations = _items(fields.get("messages"))
    folded = [_folded(each, part="text") for each in conversations]
    if not any(folded):
        return fields
    return {**fields, "messages": [new or old for new, old in zip(folded, conversations, strict=True)]}


def _fold_beside(own: str, conversation: str, fields: Fields, *, part: str) -> Fields:
    """The fields of an API whose system prompt has a field of its own, with that prompt before the first question."""
    messages = _read(fields.get(conversation))
    if isinstance(messages, list):
        messages = [_read(message) for message in messages]
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    folded = _folded(messages, part=part)
    messages = messages if folded is None else folded
    prompt = _text_of(_read(fields.get(own)))
    if not prompt:
        return fields if folded is None else {**fields, conversation: folded}
    asked = _ask_behind(prompt, messages, part)
    if asked is None:
        return fields
    return {**fields, own: None, conversation: asked}


_FOLDS: dict[str, Callable[[Fields], Fields]] = {
    "/v1/chat/completions": _fold_chat,
    "/v1/chat/completions/batch": _fold_batch,
    "/v1/responses": lambda fields: _fold_beside("instructions", "input", fields, part="input_text"),
    "/v1/messages": lambda fields: _fold_beside("system", "messages", fields, part="text"),
    "/v1/messages/count_tokens": lambda fields: _fold_beside("system", "messages", fields, part="text"),
    "/tokenize": _fold_chat,
}


def _folded(conversation: Any, *, part: str) -> list[Any] | None:
    """A conversation with the system messages that it begins with before its first question; None where it has none."""
    messages = [_read(item) for item in _items(conversation)]
    roles = [message.get("role") if isinstance(message, dict) else None for message in messages]
    count = next((place for place, role in enumerate(roles) if role not in ("system", "developer")), len(roles))
    if not count:
        return None
    prompt = SEPARATOR.join(text for message in messages[:count] if (text := _text_of(message.get("content"))))
    return _ask_behind(prompt, messages[count:], part) if prompt else messages[count:]


def _ask_behind(prompt: str, messages: Any, part: str) -> list[Any] | None:
    """Messages whose first question stands behind the prompt; where there is none, the prompt is one."""
    if not isinstance(messages, list):
        return None
    for place, message in enumerate(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            content = _before(content, prompt, part) if isinstance(content, str | list) else prompt
            return [*messages[:place], {**message, "content": content}, *messages[place + 1 :]]
    return [{"role": "user", "content": prompt}, *messages]


def _text_of(content: Any) -> str:
    """The text of a content, its parts joined as vLLM joins them."""
    if isinstance(content, list):
        return "\n".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return content if isinstance(content, str) else ""


def _brings_own(roles: list[str | None]) -> bool:
    return not {"system", "developer"}.isdisjoint(roles)


def _roles(value: Any) -> list[str | None]:
    """Who speaks in a conversation, or in a text that stands for one; raises as msgspec does where it is neither."""
    raw = isinstance(value, msgspec.Raw)
    if isinstance(value, str) or (raw and bytes(memoryview(value)[:1]) == b'"'):
        return ["user"]
    messages = _messages_of.decode(value) if raw else msgspec.convert(value, list[_Message])
    return [message.role for message in messages]


def _items(value: Any) -> list[Any]:
    """What stands in a list, unread; raises as msgspec does where it is none."""
    return _items_of.decode(value) if isinstance(value, msgspec.Raw) else msgspec.convert(value, list[Any])


def _read(value: Any) -> Any:
    return json.loads(bytes(value)) if isinstance(value, msgspec.Raw) else value
