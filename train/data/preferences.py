"""Pairs of a preferred and a less preferred answer, as trainers and annotation tools write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from locum.adapters.card import Column
from locum.train.data.columns import Columns, has, history_turns, instruction, text_of, with_system
from locum.train.data.fields import (
    BlankAnswerError,
    Remarks,
    RowError,
    UnwantedRowError,
    account,
    check_wanted,
    says_nothing,
)
from locum.train.data.messages import asked_in, chat_field, read_messages, tools_of, turns_in

Turns = list[dict[str, Any]]

_BOTH: tuple[Column, Column] = ("chosen", "rejected")
_SCORES = (
    ("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"), ("chosen_rating", "rejected_rating"),
    ("chosen-rating", "rejected-rating"), ("rating_chosen", "rating_rejected"),
    ("chosen_avg_rating", "rejected_avg_rating"),
)  # fmt: skip


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
            raise BlankAnswerError(name)
        before, answers[name] = _answer(fields[called], called, remarks)
        prompt = _joined(prompt, before, called)
    if not prompt:
        raise RowError(has(fields, columns, "question") or "prompt", "expected a question, found none")
    _check_answers(answers)
    names |= _scores(fields, remarks)
    return {"prompt": with_system(prompt, fields, columns), **answers}, names


def _check_answers(answers: Mapping[str, Any]) -> None:
    for side, answer in answers.items():
        if answer is None or (isinstance(answer, str) and not answer.strip()):
            raise BlankAnswerError(side)
    chosen, rejected = (answer.strip() if isinstance(answer, str) else answer for answer in answers.values())
    if chosen == rejected:
        raise RowError("row", "expected two different answers; found the same one as chosen and rejected")


def _joined(prompt: Turns | None, before: Turns, name: str) -> Turns | None:
    """What was asked, by the row's prompt and by the turns before an answer; one of them may lack the system's.

    Raises:
        RowError: they differ in more than blanks.
    """
    if not before or prompt is None:
        return before or prompt
    one, other = (_without_blanks(turns) for turns in (prompt, before))
    if one == other or (one == other[1:] and other[0]["role"] == "system"):
        return before
    if other == one[1:] and one[0]["role"] == "system":
        return prompt
    raise RowError(name, "expected the same turns before both answers")


def _without_blanks(turns: Turns) -> Turns:
    return [{**turn, "content": turn["content"].strip()} for turn in turns]


def _prompt(fields: Mapping[str, Any], columns: Columns, remarks: Remarks) -> tuple[Turns | None, set[str]]:
    """What was asked, where it stands in a field of its own."""
    called = has(fields, columns, "question")
    if "instruction" in fields and called in (None, "input"):
        asked, names = instruction(fields)
        return [*history_turns(fields), {"role": "user", "content": asked}], names
    name = chat_field(fields)
    if name is not None and name != called:
        turns = _turns(fields[name], name, remarks)
        names = {name, *_said_again(fields, columns, turns)}
        if turns and turns[-1]["role"] == "assistant" and (chosen := has(fields, columns, "chosen")):
            whole = turns_in(fields[chosen], chosen, remarks)
            if not isinstance(whole, list) or turns != _turns(whole, chosen, remarks):
                raise RowError(name, "expected turns that end with the user, or the same as in `chosen`")
            turns = turns[:-1]  # UltraFeedback has the chosen conversation once more
        return turns, names
    value = turns_in(fields[called], called, remarks) if called else None
    if called and isinstance(value, list):
        return asked_in(_turns(value, called, remarks)), {called}
    if called and isinstance(value, dict):  # OpenAI's `input`
        account(value, "row", called, remarks, used=("messages", "system"))
        check_wanted(value, remarks)
        _refuse_tools(value)
        turns = _turns(value.get("messages"), f"{called}.messages", remarks)
        return with_system(turns, value, {}), {called}
    text = text_of(fields, columns, "question")
    if not text:
        return None, set()
    return [*history_turns(fields), {"role": "user", "content": text}], {called or "prompt", "history"}


def _said_again(fields: Mapping[str, Any], columns: Columns, turns: Turns) -> set[str]:
    """The name of the question's own field, where the turns have that question too."""
    called = has(fields, columns, "question")
    question = fields.get(called) if called else None
    asked = {turn["content"].strip() for turn in turns if turn["role"] == "user"}
    return {called} if called and isinstance(question, str) and question.strip() in asked else set()


def _own_answer(
    fields: Mapping[str, Any], columns: Columns, prompt: Turns | None
) -> tuple[Turns | None, Any, set[str]]:
    """The prompt, and the answer that ends the row's messages or has a field of its own, and the field's name."""
    if prompt and prompt[-1]["role"] == "assistant":
        return prompt[:-1], _said(prompt[-1], "chosen"), set()
    called = has(fields, columns, "answer")
    if called is None:
        raise BlankAnswerError("chosen")
    return prompt, fields[called], {called}


def _answer(value: Any, name: str, remarks: Remarks) -> tuple[Turns, Any]:
    """The turns before an answer, where it brings them, and its text."""
    value = turns_in(value, name, remarks)
    if not isinstance(value, list):
        return [], value
    if value and all(isinstance(each, str) for each in value):
        if len(value) > 1:
            raise RowError(name, f"expected one answer, found {len(value)} of them; write a row for each")
        return [], value[0]
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


def _turns(value: Any, name: str, remarks: Remarks) -> Turns:
    for place, defined in tools_of(value, name).items():
        if not says_nothing(defined):
            raise RowError(place, "tools cannot be learnt from preferences; leave such rows out")
    return read_messages(value, name, remarks)


def _refuse_tools(fields: Mapping[str, Any]) -> None:
    for name in ("tools", "functions"):
        if not says_nothing(fields.get(name)):
            raise RowError(name, "tools cannot be learnt from preferences; leave such rows out")


def _scores(fields: Mapping[str, Any], remarks: Remarks) -> set[str]:
    """The names of fields that say how much better the chosen answer is, which is not learnt.

    Raises:
        RowError: by them the rejected answer is the better one.
    """
    pairs = [pair for pair in _SCORES if all(_is_number(fields.get(name)) for name in pair)]
    for chosen, rejected in pairs:
        if float(fields[chosen]) < float(fields[rejected]):
            raise RowError(chosen, f"expected no less than `{rejected}`, found {fields[chosen]} and {fields[rejected]}")
    margin = fields.get("margin")
    if _is_number(margin) and float(margin or 0) < 0:
        raise RowError("margin", f"expected no less than 0, as the chosen answer is the better one; found {margin}")
    found = {name for pair in pairs for name in pair} | ({"margin"} if _is_number(margin) else set())
    for name in found:
        remarks.add("passed over", name, "which answer is the better one is learnt, and not by how much")
    return found


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool)
