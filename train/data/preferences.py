"""Pairs of a preferred and a less preferred answer, as trainers and annotation tools write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from locum.adapters.card import Column
from locum.train.data.columns import Columns, has, instruction, system_turns, text_of, with_system
from locum.train.data.fields import Remarks, RowError, UnwantedRowError, account, check_wanted, says_nothing
from locum.train.data.messages import chat_field, read_messages, tools_of

_SPEAKER = re.compile(r"\n\n(Human|Assistant):")
_BOTH: tuple[Column, Column] = ("chosen", "rejected")


def preference(fields: Mapping[str, Any], columns: Columns, remarks: Remarks) -> tuple[dict[str, Any], set[str]]:
    """The fields of a preference of ours, and the names of the fields that they were read from.

    Raises:
        RowError: the row is no pair of two answers to one question.
    """
    _refuse_tools(fields)
    prompt, names = _prompt(fields, columns, remarks)
    answers: dict[str, Any] = {}
    for name in _BOTH:
        called = has(fields, columns, name)
        if called is None and name == "chosen":  # ms-swift: the chosen answer is the row's own
            prompt, answers[name], read = _own_answer(fields, columns, prompt)
            names |= read
            continue
        if called is None:
            raise RowError(name, "expected an answer, found none")
        before, answers[name] = _answer(fields[called], called, remarks)
        if before:
            if prompt is not None and prompt != before:
                raise RowError(called, "expected the same turns before both answers")
            prompt = before
    if prompt is None:
        raise RowError(has(fields, columns, "question") or "prompt", "expected a question, found none")
    return {"prompt": with_system(prompt, fields, columns), **answers}, names


def _prompt(
    fields: Mapping[str, Any], columns: Columns, remarks: Remarks
) -> tuple[list[dict[str, Any]] | None, set[str]]:
    """What was asked, where it stands in a field of its own."""
    called = has(fields, columns, "question")
    if "instruction" in fields and called in (None, "input"):
        asked, names = instruction(fields)
        return [{"role": "user", "content": asked}], names
    name = chat_field(fields)
    if name is not None and name != called:
        turns = _turns(fields[name], name, remarks)
        if turns and turns[-1]["role"] == "assistant" and (chosen := has(fields, columns, "chosen")):
            if turns != _whole(fields[chosen], chosen, remarks):
                raise RowError(name, "expected turns that end with the user, or the same as in `chosen`")
            return turns[:-1], {name}  # UltraFeedback has the chosen conversation once more
        return turns, {name}
    value = fields.get(called) if called else None
    if isinstance(value, list):
        return _turns(value, called or "prompt", remarks), {called or "prompt"}
    if isinstance(value, dict):  # OpenAI's `input`
        account(value, "row", called or "input", remarks, used=("messages", "system"))
        check_wanted(value, remarks)
        _refuse_tools(value)
        turns = _turns(value.get("messages"), f"{called}.messages", remarks)
        return with_system(turns, value, {}), {called or "input"}
    text = text_of(fields, columns, "question")
    if not text:
        return None, set()
    return [*system_turns(fields, columns), {"role": "user", "content": text}], {called or "prompt"}


def _whole(value: Any, name: str, remarks: Remarks) -> list[dict[str, Any]] | None:
    """A conversation with its answer, where the field holds one."""
    return _turns(value, name, remarks) if isinstance(value, list) else None


def _own_answer(
    fields: Mapping[str, Any], columns: Columns, prompt: list[dict[str, Any]] | None
) -> tuple[list[dict[str, Any]] | None, Any, set[str]]:
    """The prompt, and the answer that ends the row's messages or has a field of its own, and the field's name."""
    if prompt and prompt[-1]["role"] == "assistant":
        return prompt[:-1], _said(prompt[-1], "chosen"), set()
    called = has(fields, columns, "answer")
    if called is None:
        raise RowError("chosen", "expected an answer, found none")
    return prompt, fields[called], {called}


def _answer(value: Any, name: str, remarks: Remarks) -> tuple[list[dict[str, Any]], Any]:
    """The turns before an answer, where it brings them, and its text."""
    if isinstance(value, dict):  # LLaMA-Factory's
        value = [value]
    if isinstance(value, str) and value.startswith("\n\nHuman:"):  # Anthropic's HH-RLHF
        parts = _SPEAKER.split(value)[1:]
        value = [
            {"role": "user" if speaker == "Human" else "assistant", "content": text.strip()}
            for speaker, text in zip(parts[::2], parts[1::2], strict=True)
        ]
    if not isinstance(value, list):
        return [], value
    turns = _turns(value, name, remarks)
    if not turns or turns[-1]["role"] != "assistant":
        raise RowError(name, "expected a conversation that ends with assistant")
    return turns[:-1], _said(turns[-1], name)


def _said(answer: Mapping[str, Any], name: str) -> Any:
    if answer.get("tool_calls"):
        raise RowError(name, "calls of tools cannot be learnt from preferences; leave such rows out")
    if answer.get("weight") == 0:
        raise UnwantedRowError(name, f"`{name}` is marked as context only")
    return answer["content"]


def _turns(value: Any, name: str, remarks: Remarks) -> list[dict[str, Any]]:
    for place, defined in tools_of(value, name).items():
        if not says_nothing(defined):
            raise RowError(place, "tools cannot be learnt from preferences; leave such rows out")
    return read_messages(value, name, remarks)


def _refuse_tools(fields: Mapping[str, Any]) -> None:
    for name in ("tools", "functions"):
        if not says_nothing(fields.get(name)):
            raise RowError(name, "tools cannot be learnt from preferences; leave such rows out")
