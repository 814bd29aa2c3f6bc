"""A new domain that sorts texts under labels: its prompt, its example rows and its suite."""

from __future__ import annotations

import json
from collections.abc import Sequence

from locum.adapters.suites import Outline
from locum.adapters.wordings import folded
from locum.adapters.yamlfile import changed, flow

_ENGLISH = {
    "prompt": "Sort what the user writes under one of these labels. Reply with the label alone:",
    "description": "Sorts texts under labels.",
    "question": "An example text for: {label}",
    "example": "Put a text here that a user would send.",
}
_CHINESE = {
    "prompt": "将用户的文本归入下列标签之一，只回答标签本身：",
    "description": "将文本归入标签。",
    "question": "“{label}”的示例文本",
    "example": "请在此填写一条用户会发送的文本。",
}

_FILES = "  files: [conversations.jsonl]\n"
_TABLE = "  # A table with the columns text and label: columns: {question: text, answer: label}\n"


def card(template: str, labels: Sequence[str]) -> str:
    """The card's template with a prompt that names the labels, one a line."""
    words = _words(labels)
    prompt = "".join(f"  {line}\n" for line in (words["prompt"], *(f"- {label}" for label in labels)))
    values = {"description": flow(words["description"]), "example": flow(words["example"])}
    return changed(template.replace(_FILES, _FILES + _TABLE), {**values, "system_prompt": f"|\n{prompt}\n"})


def rows(labels: Sequence[str]) -> str:
    """An example conversation for each label, as JSON Lines."""
    question = _words(labels)["question"]
    return "".join(_row(question.format(label=label), label) for label in labels)


def outline(labels: Sequence[str]) -> Outline:
    """The suite of the test split, in which every model is held to the labels."""
    room = max(len(label.encode()) for label in labels) + 8  # no tokenizer makes more of a text than it has bytes
    return Outline(metrics=("exact_match",), primary="exact_match", max_tokens=max(16, room), choices=tuple(labels))


def _row(question: str, label: str) -> str:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": label}]
    return json.dumps({"conversations": turns, "topic": label}, ensure_ascii=False) + "\n"


def _words(labels: Sequence[str]) -> dict[str, str]:
    """Chinese where most labels are."""
    chinese = sum(any("\u4e00" <= sign <= "\u9fff" for sign in folded(label)) for label in labels)
    return _CHINESE if 2 * chinese > len(labels) else _ENGLISH
