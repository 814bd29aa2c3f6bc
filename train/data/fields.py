"""What the fields of a row say: which are used, which mark what is not to be learnt, and which are passed over.

The tables below are what docs/data.md shows. A field that says something and is in no table is passed over, too, and
mentioned by name and count; where its name looks like a judgement of the row, that is mentioned apart.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from locum.train.data.judging import MARKS, lets_learn, looks_like_judgement, mark_name, truth

Action = Literal["used", "not learnt", "passed over", "judgement", "empty"]


class RowError(ValueError):
    """A row that does not fit its format: which field, and why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class UnwantedRowError(RowError):
    """A row that says of itself that it is not to be learnt."""


class BlankAnswerError(RowError):
    """A row whose answer is blank."""

    def __init__(self, field: str) -> None:
        super().__init__(field, "expected text, found nothing (such rows are passed over with `blank_answers: skip`)")


@dataclass(frozen=True, order=True)
class Remark:
    """What is to be mentioned of a row: what was done with a field, and why. `field` has no numbers of messages."""

    action: Action
    field: str
    reason: str = ""

    @property
    def sentence(self) -> str:
        """The remark without its action, for lists of those of one action."""
        return f"`{self.field}`: {self.reason}" if self.reason else f"`{self.field}`"


@dataclass
class Remarks:
    """The remarks on one row."""

    made: set[Remark] = field(default_factory=set)

    @property
    def frozen(self) -> frozenset[Remark]:
        """Those that there are by now."""
        return frozenset(self.made)

    def add(self, action: Action, field: str, reason: str = "") -> None:
        """Mention a field, once for a row."""
        self.made.add(Remark(action, re.sub(r"\.\d+(?=\.|$)", "[]", field), reason))


@dataclass(frozen=True)
class Known:
    """Fields that are known, and what becomes of them."""

    names: tuple[str, ...]
    treatment: Literal["used", "passed over", "refused"]
    note: str


def _known(treatment: Literal["used", "passed over", "refused"], names: str, note: str) -> Known:
    return Known(tuple(names.split()), treatment, note)


_MEDIA = _known(
    "refused",
    "images image videos video audios audio image_url input_audio objects",
    "pictures, sound and film cannot be learnt here; leave such rows out",
)

_MARKS = _known(
    "used", " ".join(sorted(MARKS)), "yes or no, in any spelling of the name (`isDeleted`): whether it is learnt"
)

ROW: tuple[Known, ...] = (
    _known("used", "tools functions", "definitions of tools: a list, or JSON in a text"),
    _known("used", "label kto_tag", "true or false: whether the answer is wanted; an unwanted one is never learnt"),
    _known("used", "weight", "1: learnt, 0: not learnt; anything between is refused"),
    _MARKS,
    _known("passed over", "tool_choice parallel_tool_calls function_call", "how a request was made"),
    _known(
        "passed over",
        "response_format max_tokens temperature top_p stop seed n model",
        "settings of a request, or which model was asked",
    ),
    _MEDIA,
)
MESSAGE: tuple[Known, ...] = (
    _known("used", "role from", "who speaks"),
    _known("used", "content value parts", "what is said: a text, or text parts, which are joined by line breaks"),
    _known(
        "used",
        "reasoning_content reasoning thinking thought",
        "a thought before the answer; `thinking` in the recipe says what becomes of it",
    ),
    _known("used", "tool_calls function_call", "calls of tools"),
    _known("used", "tool_call_id", "the call that a tool's result belongs to"),
    _known("used", "name", "of the tool that gave a result; of other speakers it is passed over"),
    _known("used", "tools", "definitions of tools, as MiniMind has them at the system message"),
    _known("used", "weight", "0: this answer is context and not learnt, 1: learnt; anything between is refused"),
    _MARKS,
    _known("refused", "refusal", "a refusal in a field of its own; put its text into content if it is to be learnt"),
    _known(
        "refused",
        "train_detail loss_scale",
        "whole answers can be learnt or left out, not parts of them",
    ),
    _known("passed over", "annotations id timestamp created_at", "not part of what is said"),
    _MEDIA,
)
PART: tuple[Known, ...] = (
    _known("used", "type text thinking reasoning", "a text, or a thought"),
    _known("used", "thought", "Gemini's: whether the text is a thought"),
    _known("used", "id name input tool_use_id content functionCall functionResponse", "a tool's call or its result"),
    _known("used", "function_call function_response", "the same"),
    _known("passed over", "cache_control citations annotations signature is_error thoughtSignature", "for the API"),
)
CALL: tuple[Known, ...] = (
    _known("used", "id type function name arguments args parameters input", "which function is called, and with what"),
    _known("passed over", "index", "the place among the calls"),
)
LEVELS = {"row": ROW, "message": MESSAGE, "part": PART, "call": CALL, "log": (_MEDIA,)}
Level = Literal["row", "message", "part", "call", "log"]
_BY_NAME = {level: {name: known for known in table for name in known.names} for level, table in LEVELS.items()}

SAID = ("role", "from", "content", "value", "parts")
LABELS = ("label", "kto_tag")
_OTHERWISE = ("train", "training", "loss", "use")  # columns of tables that say something else, as numbers
_LABELLED = ("true", "false", "desirable", "undesirable")  # more than these may name a class


def says_nothing(value: Any) -> bool:
    """Whether a field is as good as absent: null, blank, or an empty list or object, in JSON text too."""
    return (
        value is None
        or (isinstance(value, str) and value.strip() in ("", "[]", "{}", "null"))
        or (isinstance(value, (list, dict, tuple)) and not value)
    )


def account(
    fields: Mapping[str, Any], level: Level, path: str, remarks: Remarks, *, used: Collection[str] = ()
) -> None:
    """Go through all fields of a level: mention what is passed over and what is empty, refuse what must not be.

    Args:
        path: of the object that has the fields, `messages.0` for a message; empty for a row.
        used: names that are read besides those of the table.

    Raises:
        RowError: one of the fields says something that cannot be learnt.
    """
    for name, value in fields.items():
        if name in used:
            continue
        known = _known_as(str(name), level)
        place = f"{path}.{name}" if path else str(name)
        if says_nothing(value):
            if known is None or known.treatment != "used" or (level == "message" and name not in SAID):
                remarks.add("empty", place)
        elif known is None:
            remarks.add("judgement" if looks_like_judgement(name) else "passed over", place)
        elif known.treatment == "refused":
            raise RowError(place, known.note)
        elif known.treatment == "passed over":
            remarks.add("passed over", place, known.note)


def _known_as(name: str, level: Level) -> Known | None:
    table, mark = _BY_NAME[level], mark_name(name)
    return table.get(name) or (table.get(mark) if _is_mark(mark) else None)


def _is_mark(name: str) -> bool:
    return mark_name(name) in MARKS or mark_name(name) == "weight"


def message_is_learnt(message: Mapping[str, Any], path: str) -> bool:
    """Whether the marks of a message let it be learnt.

    Raises:
        RowError: a mark is neither yes nor no.
    """
    learnt = True
    for name in marks_of(message):
        weight = mark_name(name) == "weight"
        found = truth(message[name]) if weight else lets_learn(name, message[name])
        if found is None:
            wanted = "0 or 1: an answer is learnt or it is not" if weight else "true or false"
            raise RowError(f"{path}.{name}", f"expected {wanted}, found {message[name]!r}")
        learnt = learnt and found
    return learnt


def marks_of(fields: Mapping[str, Any]) -> list[str]:
    """The names of the fields that say whether what has them is to be learnt."""
    return [name for name in fields if _is_mark(name) and not says_nothing(fields[name])]


def check_wanted(row: Mapping[str, Any], remarks: Remarks) -> None:
    """Make sure that a row does not say of itself that it is not to be learnt.

    Raises:
        UnwantedRowError: it does.
        RowError: its weight is between 0 and 1.
    """
    for name in [*marks_of(row), *(name for name in LABELS if not says_nothing(row.get(name)))]:
        value = row[name]
        mark = mark_name(name)
        if isinstance(value, (list, dict)):
            raise RowError(name, "expected yes or no for the row; marks of single messages belong to the messages")
        if mark in (*LABELS, *_OTHERWISE) and not is_label(value):
            found = None
        else:
            found = truth(value) if mark in ("weight", *LABELS) else lets_learn(name, value)
        if found is False:
            raise UnwantedRowError(name, f"`{name}` is {shown(value)}")
        if found is None:
            if name == "weight" and 0 < (_number(value) or 0) < 1:
                raise RowError(name, f"expected 0 or 1: an answer is learnt or it is not, found {value!r}")
            remarks.add("judgement", name)


def is_label(value: Any) -> bool:
    """Whether a label can only mean whether an answer is wanted, and names no class."""
    return isinstance(value, bool) or str(value).strip().casefold() in _LABELLED


def _number(value: Any) -> float | None:
    try:
        return float(str(value))
    except (TypeError, ValueError):
        return None


def shown(value: Any) -> str:
    """A mark as JSON writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def markdown(levels: Iterable[tuple[str, tuple[Known, ...]]]) -> str:
    """The tables in Markdown, as docs/data.md has them."""
    lines = ["| at | fields | what becomes of them |", "| --- | --- | --- |"]
    for level, table in levels:
        for known in table:
            names = ", ".join(f"`{name}`" for name in known.names)
            lines.append(f"| {level} | {names} | {known.treatment}: {known.note} |")
    return "\n".join(lines)
