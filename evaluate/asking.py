"""A sample as a request to a chat endpoint."""

from __future__ import annotations

import json
from typing import Any

from locum.adapters.chat_template import as_handed_over
from locum.adapters.system_prompt import SystemRole, in_first_question
from locum.evaluate.samples import Sample

NEUTRAL: dict[str, Any] = {
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""What a server would else fill in from the checkpoint's generation_config.json: with a penalty, even the most likely
answer is another one, and two base models or two servers would not be asked the same."""


def chat_fields(sample: Sample, system_role: SystemRole) -> dict[str, Any]:
    """The messages of a request, and the tools where the sample has some.

    What is expected is text, so no tool may be called: the model sees them all the same.
    """
    given = in_first_question(sample.messages) if system_role == "user" else sample.messages
    messages = as_handed_over(given)
    for message in messages:
        for call in message.get("tool_calls", ()):
            call["function"] = {**call["function"], "arguments": json.dumps(call["function"]["arguments"])}
    return {"messages": messages, **({"tools": list(sample.tools), "tool_choice": "none"} if sample.tools else {})}
