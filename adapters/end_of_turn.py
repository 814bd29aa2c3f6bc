"""Where a model's turn ends: by its chat template, and by what its checkpoint says besides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locum.adapters.chat_template import MARK, OTHER_MARK, WAY_OUT, ChatTemplate, common_prefix, common_suffix
from locum.errors import BadInputError

QUESTION = {"role": "user", "content": "What is it?"}
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Tokens that stand for no text. Some have no name in the tokenizer's list, and are special all the same."""
    added = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset({*added, *tokenizer.all_special_ids, tokenizer.eos_token_id} - {None, tokenizer.unk_token_id})


def ends_in(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """Positions of tokens that can end a turn: special ones, else others that were added to the vocabulary."""
    special = special_ids(tokenizer)
    found = [place for place, id in enumerate(ids) if id in special]
    added = tokenizer.added_tokens_decoder
    return found or [place for place, id in enumerate(ids) if id in added and added[id].content.strip()]


@dataclass(frozen=True)
class TurnEnds:
    """The tokens with which a template ends what the assistant says."""

    text: int
    """After an answer in text."""
    call: int | None
    """After a call of a tool, where the template shows calls and ends them otherwise."""
    in_turn: bool
    """Whether they belong to the turn; else they begin the next one, and a conversation that ends has none."""

    @property
    def ids(self) -> list[int]:
        return [self.text, *([] if self.call is None else [self.call])]


def turn_ends(template: ChatTemplate, declared: Sequence[int]) -> TurnEnds:
    """The tokens with which the template ends what the assistant says.

    Args:
        declared: tokens that end an answer by what the checkpoint says beside its template. Where a template ends no
            turn but begins the next one with such a token, as those of GLM do, that is the end.

    Raises:
        BadInputError: the template shows no answer, or ends it with text alone.
    """
    one, other = (template.render([QUESTION, _answer(mark)]) for mark in (MARK, OTHER_MARK))
    if one == other:
        raise BadInputError("the base model's chat template has no place for the answer", hint=WAY_OUT)
    end = common_suffix(one, other)
    ids = template.encode(end)
    places = ends_in(template.tokenizer, ids)
    if places:
        first = ids[places[0]]
        return TurnEnds(first, _end_of_call(template, first), in_turn=True)
    following = _next_turn(template, [_answer(mark) for mark in (MARK, OTHER_MARK)], QUESTION, None)
    if following is None or following not in declared:
        raise BadInputError(
            f"the base model's chat template does not end the answer with a special token (found {end[:40]!r}): "
            "an adapter could not learn to stop",
            hint=WAY_OUT,
        )
    result = {"role": "tool", "content": "12", "tool_call_id": "call00000"}
    after_call = _next_turn(template, [_call(mark) for mark in (MARK, OTHER_MARK)], result, [TOOL])
    return TurnEnds(following, after_call, in_turn=False)


def _next_turn(
    template: ChatTemplate, answers: list[dict[str, Any]], message: dict[str, Any], tools: list[dict[str, Any]] | None
) -> int | None:
    """The special token with which the turn of the message behind one of two answers begins."""
    try:
        one, other = (template.render([QUESTION, answer, message], tools=tools) for answer in answers)
    except BadInputError:
        return None
    special = special_ids(template.tokenizer)
    return (
        next((id for id in template.encode(common_suffix(one, other)) if id in special), None) if one != other else None
    )


def declared_ends(folder: Path) -> list[int]:
    """The `eos_token_id` of a checkpoint's generation_config.json, or of its config.json where there is none."""
    for name in ("generation_config.json", "config.json"):
        file = folder / name
        if file.is_file():
            declared = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
            if declared is None and name == "config.json":
                return []
            return [declared] if isinstance(declared, int) else list(declared or [])
    return []


def stops_by(template: ChatTemplate, declared: Sequence[int]) -> list[int]:
    """The tokens at which an answer ends, wherever it is made: by the template, the tokenizer and the checkpoint.

    Raises:
        BadInputError: as `turn_ends` raises it.
    """
    eos = template.tokenizer.eos_token_id
    return sorted({*turn_ends(template, declared).ids, *declared, *([] if eos is None else [eos])})


def stops_of(folder: Path) -> list[int]:
    """The tokens at which answers of the checkpoint in a folder end.

    Raises:
        BadInputError: it has no chat template, or as `turn_ends` raises it.
    """
    return stops_by(ChatTemplate.load(folder), declared_ends(folder))


def _answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _call(word: str) -> dict[str, Any]:
    function = {"name": "look_up", "arguments": {"word": word}}
    return {**_answer(""), "tool_calls": [{"id": "call00000", "type": "function", "function": function}]}


def _end_of_call(template: ChatTemplate, end: int) -> int | None:
    """The token that ends a call of a tool, where the template shows calls and ends them otherwise than answers."""
    try:
        prompt = template.render([QUESTION], tools=[TOOL], add_generation_prompt=True)
        whole = template.render([QUESTION, _call(MARK)], tools=[TOOL])
    except BadInputError:
        return None
    ids = template.encode(whole[len(common_prefix(prompt, whole)) :])
    places = ends_in(template.tokenizer, ids)
    return ids[places[-1]] if places and end not in ids and MARK in whole else None
