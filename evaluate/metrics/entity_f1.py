"""F1 of extracted entities."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from locum.evaluate.metrics.base import Options, PairMetric
from locum.evaluate.metrics.text import normalise, unfenced

Entity = tuple[str, str]
"""Type, which is empty where none is given, and text; both normalised."""

_NONE = {"none", "no entities", "n/a", "[]", "{}", "无", "没有"}
_BETWEEN = re.compile(r"[\n、;；]|,(?!\d{3}(?!\d))|，")  # a comma inside 1,234 separates nothing
_BULLET = re.compile(r"^\s*(?:[-*•·]|\d{1,3}[.)、])\s+")
_LABEL = re.compile(r"^\s*(?:[-*•·]\s+)?\**([^:：\n]{1,60}?)\**\s*[:：]\s*(.*)$")


class EntityOptions(Options):
    """Settings of the entities' F1."""

    typed: bool = Field(True, description="an entity of the wrong type is wrong, where the reference has types")


class EntityF1(PairMetric):
    """F1 of the set of entities that an answer names, against the reference's set.

    F1 = 2 · |found ∩ expected| / (|found| + |expected|), over all types together (micro) and per sample; 1 when both
    are empty. From 0 to 1; no unit; higher is better.

    The reference is JSON: a list of entities, an object from type to a list of them, or a list of objects with `type`
    and `text`. The answer is read as JSON if it is JSON, in a code fence or not; else its lines, split at commas,
    semicolons and 、, without bullets and numbers; a line `type: a, b` names the type where the reference has types.
    `none` and 无 name no entity. Entities are compared whole after `normalise`: a part of one is wrong.

    Source: exact-match F1 of CoNLL-2003. Departures: texts are compared and not positions, so that an entity named
    twice counts once; and the mean is over samples and not over the corpus.
    """

    metric = "entity_f1"
    source = "Tjong Kim Sang and De Meulder: Introduction to the CoNLL-2003 Shared Task. CoNLL 2003"
    options_type = EntityOptions
    options = EntityOptions()

    def score_pair(self, predictions: str, references: str) -> float:
        expected = set(read_entities(references))
        typed = self.options.typed and any(kind for kind, _ in expected)
        found = set(read_entities(predictions, typed=any(kind for kind, _ in expected)))
        if not typed:
            expected, found = {("", text) for _, text in expected}, {("", text) for _, text in found}
        if not expected and not found:
            return 1.0
        return 2 * len(expected & found) / (len(expected) + len(found))


def read_entities(text: str, *, typed: bool = False) -> list[Entity]:
    """The entities that a text names, in order; `typed` reads lines as `type: entity, entity`."""
    try:
        pairs = list(_of_json(json.loads(unfenced(text)), ""))
    except (ValueError, RecursionError):
        pairs = list(_of_lines(text, typed=typed))
    named = [(normalise(kind), normalise(entity)) for kind, entity in pairs]
    return [(kind, entity) for kind, entity in named if entity and entity not in _NONE]


def _of_json(value: Any, kind: str) -> Iterator[Entity]:
    """A list's items, an object's lists under their keys; a number is read as its JSON text."""
    if isinstance(value, dict) and (item := _item(value)):
        yield item
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _of_json(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _of_json(inner, kind)
    elif value is not None:
        yield kind, value if isinstance(value, str) else json.dumps(value)


def _item(value: dict[str, Any]) -> Entity | None:
    """An entity written as an object, such as {"type": "drug", "text": "aspirin"}."""
    text = next((value[key] for key in ("text", "entity", "name", "value") if isinstance(value.get(key), str)), None)
    kind = next((value[key] for key in ("type", "label", "category") if isinstance(value.get(key), str)), None)
    return None if text is None or kind is None else (kind, text)


def _of_lines(text: str, *, typed: bool) -> Iterator[Entity]:
    kind = ""
    for line in text.splitlines():
        rest = line
        if typed and (label := _LABEL.match(line)):
            kind, rest = label[1], label[2]
        for part in _BETWEEN.split(rest):
            yield kind, _BULLET.sub("", part)
