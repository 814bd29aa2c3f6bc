"""When and where a chat has the system prompt that its version was trained and evaluated with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from locum.adapters.conversations import Message

Switch = Literal["default", "always", "never"]
"""`default`: where the client brings none. `always`: it stands first, and what the client brings follows. `never`."""

SystemRole = Literal["system", "user"]
"""Where system messages reach the model: as such, or, for templates that know none, before the first question."""

HEADER = "x-locum-system"
"""A request header: with `never`, a chat gets no system prompt, whatever the version's switch."""

SEPARATOR = "\n\n"
"""Between a system prompt and what follows it in the same message."""


def in_first_question(messages: Sequence[Message]) -> list[Message]:
    """The messages with what a system message says before the first question, for a model that knows none."""
    if not messages or messages[0].role != "system":
        return list(messages)
    system, *others = messages
    place = next((place for place, message in enumerate(others) if message.role == "user"), None)
    if place is None:
        return [system.model_copy(update={"role": "user"}), *others]
    asked = others[place]
    content = f"{system.content}{SEPARATOR}{asked.content}" if asked.content else system.content
    return [*others[:place], asked.model_copy(update={"content": content}), *others[place + 1 :]]
