"""A few validation questions, answered before and after a training: what the losses cannot show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path
from typing import Any

from locum.adapters.conversations import Message, read_conversations, read_preferences
from locum.adapters.probes import greedy_config
from locum.train.template import Template

SAMPLES = 3
MAX_TOKENS = 32


@dataclass(frozen=True)
class Question:
    """What is asked, and what would be right."""

    text: str
    prompt_ids: list[int]
    expected: str


def choose_questions(file: Path, template: Template, *, pairs: bool) -> list[Question]:
    """The same few questions of a validation split each time: those with the lowest digests.

    Args:
        pairs: whether the split holds preference pairs.
    """
    if pairs:
        wanted = (pair for pair in read_preferences(file) if pair.chosen is not None)
        chosen = nsmallest(SAMPLES, wanted, key=lambda pair: pair.digest)
        return [_question(pair.prompt, pair.chosen or "", template) for pair in chosen]
    shown = (row for row in read_conversations(file) if template.shows(row))
    rows = nsmallest(SAMPLES, shown, key=lambda row: row.digest)
    return [_question(row.prompt, _expected(row.conversations[-1]), template, row.tools) for row in rows]


def _question(
    prompt: Sequence[Message], expected: str, template: Template, tools: Sequence[dict[str, Any]] | None = None
) -> Question:
    return Question(prompt[-1].content, template.prompt_ids(prompt, tools=tools), expected)


def answers(model: Any, template: Template, questions: Sequence[Question]) -> list[str]:
    """The model's most likely answer to each question, at most MAX_TOKENS long.

    Draws no random number and leaves the model as it was, so that it changes nothing of what is trained.
    """
    import torch

    training = model.training
    model.eval()
    said = []
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    own, plain.generation_config = plain.generation_config, greedy_config(template.stops)
    with torch.no_grad():
        for question in questions:
            prompt = torch.tensor([question.prompt_ids], device=model.device)
            output = model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=MAX_TOKENS,
            )
            ids = output[0, len(question.prompt_ids) :]
            cut = len(ids) == MAX_TOKENS and int(ids[-1]) not in template.stops
            said.append(template.text(ids) + ("…" if cut else ""))
    plain.generation_config = own
    model.train(training)
    return said


def _expected(message: Message) -> str:
    """What the assistant says, with any calls of tools behind it."""
    calls = [f"{call.name}({json.dumps(call.arguments, ensure_ascii=False)})" for call in message.tool_calls or []]
    return "\n".join([*([message.content] if message.content else []), *calls])
