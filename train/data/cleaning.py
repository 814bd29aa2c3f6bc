"""Rows made clean, step by step; each step says what it did and why."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from locum.adapters.cleaning import CleaningCard
from locum.adapters.conversations import Message, Preference
from locum.train.data import personal
from locum.train.data.formats import Row

FENCE = "```"
BREAKS_OFF = (",", "，", "、", "(", "（")
ROUNDS = 20
TOLD_LANGUAGE = 40  # characters from which on a language can be told; Chinese needs fewer, and has them
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2060\ufeff\ufff9-\ufffb]")


@dataclass(frozen=True)
class Change:
    """What a step did to a row."""

    step: str
    action: Literal["changed", "dropped"]
    reason: str


@dataclass(frozen=True)
class Cleaned:
    """A row after all steps; None when one of them dropped it."""

    row: Row | None
    changes: tuple[Change, ...]


class Cleaner:
    """Takes the steps that a card asks for."""

    def __init__(self, card: CleaningCard) -> None:
        self.card = card
        self._unwanted = [re.compile(pattern) for pattern in card.unwanted]
        self._steps: tuple[tuple[str, bool, Callable[[Row], Row | None]], ...] = (
            ("encoding", card.encoding, lambda row: mapped(row, repaired)),
            # spaces mean something to a function
            ("normalise", card.normalise, lambda row: mapped(row, normalised, calls=False)),
            ("personal", card.personal == "mask", lambda row: masked(row, self._masked)),
        )

    def __call__(self, row: Row) -> Cleaned:
        changes: list[Change] = []
        before: Row | None = None
        while (
            row is not before and len(changes) < ROUNDS
        ):  # what one step takes away can show the other something to mend
            before = row
            for step, wanted, change in self._steps:
                if wanted:
                    changed = change(row)
                    if changed is None:
                        return Cleaned(None, (*changes, Change(step, "dropped", "nothing is left of a message")))
                    if changed is not row:
                        changes.append(Change(step, "changed", WHY[step]))
                        row = changed
        changes = list(dict.fromkeys(changes))
        for step, reason in (
            ("personal", self._personal(row)),
            ("cut_off", self._cut_off(row)),
            ("length", self._length(row)),
            ("languages", self._language(row)),
            ("unwanted", self._found_unwanted(row)),
        ):
            if reason:
                return Cleaned(None, (*changes, Change(step, "dropped", reason)))
        return Cleaned(row, tuple(changes))

    def _masked(self, text: str) -> str:
        return personal.mask(text, personal.find(text, self.card.personal_kinds, self.card.phone_regions))

    def _personal(self, row: Row) -> str:
        if self.card.personal != "drop":
            return ""
        kinds = {
            kind
            for text in _leaves(row.model_dump(), keys=True)
            for _, _, kind in personal.find(text, self.card.personal_kinds, self.card.phone_regions)
        }
        return f"personal data: {', '.join(sorted(kinds))}" if kinds else ""

    def _cut_off(self, row: Row) -> str:
        if not self.card.cut_off:
            return ""
        for answer in answers(row):
            if answer.rstrip().endswith(BREAKS_OFF):
                return "an answer breaks off after a comma or an open bracket"
            if answer.count(FENCE) % 2:
                return "an answer breaks off in a code block"
        return ""

    def _length(self, row: Row) -> str:
        if any(len(answer.strip()) < self.card.shortest for answer in answers(row)):
            return f"an answer is shorter than {self.card.shortest} characters"
        if self.card.longest is not None and sum(map(len, texts(row))) > self.card.longest:
            return f"longer than {self.card.longest} characters"
        return ""

    def _language(self, row: Row) -> str:
        text = "\n".join([row.question, *answers(row)])
        if not self.card.languages or len(text) < TOLD_LANGUAGE:
            return ""
        import py3langid

        found, _ = py3langid.classify(text)
        return "" if found in self.card.languages else f"the language is {found}"

    def _found_unwanted(self, row: Row) -> str:
        for pattern in self._unwanted:
            if any(pattern.search(text) for text in texts(row)):
                return f"unwanted: {pattern.pattern}"
        return ""


WHY = {
    "encoding": "text that was decoded wrongly",
    "normalise": "Unicode form, line ends or control characters",
    "personal": "personal data masked",
}


def repaired(text: str) -> str:
    """Text with wrongly decoded characters put right, and nothing else changed."""
    if text.isascii():
        return text
    import ftfy

    return str(ftfy.fix_encoding(text))


def normalised(text: str) -> str:
    """Text in Unicode's composed form (NFC), with line feeds, without control characters and blank ends."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return _CONTROL.sub("", text).strip()


def texts(row: Row) -> list[str]:
    """All that is said in a row, by whomever, with what calls of tools are given."""
    if isinstance(row, Preference):
        return [*(text for message in row.prompt for text in said_in(message)), *row.answers]
    return [text for message in row.conversations for text in said_in(message)]


def said_in(message: Message) -> list[str]:
    """The text of a message, and each text and whole number that its calls of tools are given."""
    given = [text for call in message.tool_calls or () for text in _leaves(call.arguments)]
    return [*([message.content] if message.content or not given else []), *given]


def answers(row: Row) -> list[str]:
    """What the assistant says; a call of a tool without a word is no answer."""
    if isinstance(row, Preference):
        return row.answers
    said = (message for message in row.conversations if message.role == "assistant")
    return [message.content for message in said if message.content or not message.tool_calls]


def mapped(row: Row, change: Callable[[str], str], *, calls: bool = True) -> Row | None:
    """The row with each text changed, itself when none is; None when a text is empty then, or both answers are one.

    Args:
        calls: change what calls of tools are given, too.
    """
    name = "prompt" if isinstance(row, Preference) else "conversations"
    before: list[Message] = getattr(row, name)
    after = [_changed(message, change, calls=calls) for message in before]
    new: dict[str, Any] = {name: after}
    if isinstance(row, Preference):
        sides = {side: change(text) for side in ("chosen", "rejected") if (text := getattr(row, side)) is not None}
        if not all(sides.values()) or (row.paired and sides["chosen"] == sides["rejected"]):
            return None
        new |= sides
    if any(there.content and not message.content for there, message in zip(before, after, strict=True)):
        return None
    changed = row.model_copy(update=new)
    return row if changed == row else changed


def _changed(message: Message, change: Callable[[str], str], *, calls: bool) -> Message:
    new: dict[str, Any] = {"content": change(message.content)}
    if calls and message.tool_calls:
        new["tool_calls"] = [
            call.model_copy(update={"arguments": _changed_leaves(call.arguments, change)})
            for call in message.tool_calls
        ]
    return message.model_copy(update=new)


def masked(row: Row, mask: Callable[[str], str]) -> Row | None:
    """The row with each text masked, whatever it belongs to; itself when none is, None when it is no row of ours then.

    What only tells things apart (a group, a call's id) becomes a code of its own, the same wherever it stands.
    """
    before = row.model_dump()
    after = _changed_leaves(before, mask, keys=True)
    if after == before:
        return row
    _keep_apart(after, before, "group")
    turns = "prompt" if isinstance(row, Preference) else "conversations"
    for message, there in zip(after[turns], before[turns], strict=True):
        _keep_apart(message, there, "tool_call_id")
        for call, call_there in zip(message["tool_calls"] or (), there["tool_calls"] or (), strict=True):
            _keep_apart(call, call_there, "id")
    try:
        return type(row).model_validate(after)
    except ValidationError:
        return None


def _keep_apart(after: dict[str, Any], before: dict[str, Any], name: str) -> None:
    if after[name] != before[name]:
        digest = hashlib.sha256(before[name].encode()).hexdigest()
        # letters alone, which are no personal data, and nine of them, as Mistral's templates want ids to have
        after[name] = "".join(chr(ord("a") + int(digit, 16)) for digit in digest[:9])


def _leaves(value: Any, *, keys: bool = False) -> list[str]:
    """Each text and whole number in a value as JSON has it: an account or a telephone may be written as a number.

    Args:
        keys: the names of fields as well.
    """
    if isinstance(value, dict):
        names = [str(key) for key in value] if keys else []
        return [*names, *(text for inner in value.values() for text in _leaves(inner, keys=keys))]
    if isinstance(value, list):
        return [text for inner in value for text in _leaves(inner, keys=keys)]
    text = _as_text(value)
    return [] if text is None else [text]


def _as_text(value: Any) -> str | None:
    """A text or a whole number as text; the latter may have become a fraction, as tables make them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return str(int(value)) if isinstance(value, int) or value.is_integer() else None


def _changed_leaves(value: Any, change: Callable[[str], str], *, keys: bool = False) -> Any:
    if isinstance(value, dict):
        changed: dict[str, Any] = {}
        for key, inner in value.items():
            name = change(key) if keys else key
            while name in changed:
                name += "_"
            changed[name] = _changed_leaves(inner, change, keys=keys)
        return changed
    if isinstance(value, list):
        return [_changed_leaves(inner, change, keys=keys) for inner in value]
    text = _as_text(value)
    if text is None or (new := change(text)) == text:
        return value
    return new
