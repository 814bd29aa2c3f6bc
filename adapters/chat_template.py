"""A checkpoint's chat template, and messages as vLLM's server hands them to it.

What is trained, probed and previewed must be the text that a server makes of the same conversation: here is the one
place where messages become that text. vLLM's side is in its renderers/chat_utils.py and renderers/hf.py;
tests/serve/test_rendering.py holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from locum.adapters.conversations import Message
from locum.errors import BadInputError

ContentFormat = Literal["string", "openai"]
"""vLLM's `--chat-template-content-format`: contents reach a template as text, or as lists of parts."""

# Stand for texts of which only the place is asked. They begin and end differently and hold nothing that a template
# would trim or look for.
MARK, OTHER_MARK = "k7Qwordv3N", "z4Jplacem8B"
WAY_OUT = "take another base model, or correct its chat_template.jinja"


def common_prefix(one: str, other: str) -> str:
    """The text that both begin with."""
    length = next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    return min(one, other, key=len) if length is None else one[:length]


def common_suffix(one: str, other: str) -> str:
    """The text that both end with."""
    return common_prefix(one[::-1], other[::-1])[::-1]


class ChatTemplate:
    """The chat template and tokenizer of a base checkpoint."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, base: Path) -> ChatTemplate:
        """The template of the checkpoint in the folder `base`.

        Raises:
            BadInputError: the checkpoint has no chat template, or several of which none is the default.
        """
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(base)
        if not tokenizer.chat_template:
            raise BadInputError(
                f"the base model at {base} has no chat template, expected chat_template.jinja or one in "
                "tokenizer_config.json",
                hint="take an instruction-tuned model",
            )
        if isinstance(tokenizer.chat_template, dict) and "default" not in tokenizer.chat_template:
            raise BadInputError(
                f"the base model at {base} has chat templates called {', '.join(sorted(tokenizer.chat_template))}, "
                "expected one called default",
                hint="save the one that it is to be served with as chat_template.jinja",
            )
        return cls(tokenizer)

    def render(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        tools: Sequence[dict[str, Any]] | None = None,
        add_generation_prompt: bool = False,
    ) -> str:
        """The text that the template makes of messages as `as_handed_over` gives them.

        Raises:
            BadInputError: the template refuses them.
        """
        return self._render(messages, self.content_format, tools, add_generation_prompt=add_generation_prompt)

    def encode(self, text: str) -> list[int]:
        """Token ids of rendered text. The template has put a beginning-of-text token there, if there is to be one."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def prompt_ids(self, messages: Sequence[Message], *, tools: Sequence[dict[str, Any]] | None = None) -> list[int]:
        """Token ids of a prompt, as a server shows it to the model.

        Raises:
            BadInputError: the template refuses the messages.
        """
        defined = tool_definitions(tools) if tools else None
        return self.encode(self.render(as_handed_over(messages), tools=defined, add_generation_prompt=True))

    @cached_property
    def content_format(self) -> ContentFormat:
        """`openai` where a template shows nothing of a content that is text, and shows it in parts; else `string`."""
        return "openai" if not self._shows_text("string") and self._shows_text("openai") else "string"

    @cached_property
    def system_problem(self) -> str | None:
        """What becomes of a system message where the model does not see it: refused or left out. None where it does.

        A template that does not show a question either has another problem, which is told.

        Raises:
            BadInputError: the template refuses any conversation.
        """
        question = {"role": "user", "content": MARK}
        self.render([question], add_generation_prompt=True)
        try:
            one, other = (
                self.render([{"role": "system", "content": text}, question], add_generation_prompt=True)
                for text in (OTHER_MARK, OTHER_MARK[::-1])
            )
        except BadInputError as error:
            return f"refuses a system message ({str(error).rpartition(': ')[2]})"
        return "leaves the system message out" if one == other and MARK in one else None

    def require_system_role(self) -> None:
        """Make sure that a system message reaches the model.

        Raises:
            BadInputError: it does not; says what a card can do.
        """
        if self.system_problem is not None:
            raise BadInputError(
                f"the base model's chat template {self.system_problem}: the system prompt would not reach the model",
                hint="`recipe: {system_role: user}` in the card puts it before the first question, in training, "
                "probes, evaluation and on the server alike",
            )

    def _shows_text(self, form: ContentFormat) -> bool:
        try:
            return MARK in self._render([{"role": "user", "content": MARK}], form, None, add_generation_prompt=True)
        except BadInputError:
            return False

    def _render(
        self,
        messages: Sequence[dict[str, Any]],
        form: ContentFormat,
        tools: Sequence[dict[str, Any]] | None,
        *,
        add_generation_prompt: bool,
    ) -> str:
        from jinja2 import TemplateError

        shown = [_in_parts(message) for message in messages] if form == "openai" else list(messages)
        try:
            text: str = self.tokenizer.apply_chat_template(
                shown, tools=tools, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
            roles = ", ".join(message["role"] for message in messages)
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise BadInputError(
                f"the base model's chat template refuses a conversation of {roles}: {reason}", hint=WAY_OUT
            ) from None
        return text


def as_handed_over(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as vLLM's server gives them to a chat template when a client sends them.

    A call without an id gets one of nine letters and digits, which all templates take; results without the id of their
    call belong to the calls before them, in order.
    """
    handed: list[dict[str, Any]] = []
    open_calls: list[str] = []
    calls = 0
    for message in messages:
        given: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            ids = [call.id or f"call{calls + place:05d}" for place, call in enumerate(message.tool_calls)]
            given["tool_calls"] = [
                {"id": id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for id, call in zip(ids, message.tool_calls, strict=True)
            ]
            calls, open_calls = calls + len(ids), list(ids)
        if message.role == "tool":
            first = open_calls.pop(0) if open_calls else None
            if id := message.tool_call_id or first:
                given["tool_call_id"] = id
            if message.name is not None:
                given["name"] = message.name
        handed.append(given)
    return handed


def tool_definitions(tools: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Definitions of tools as vLLM's server gives them to a chat template: what it does not know is left out.

    Raises:
        BadInputError: a definition has no function with a name.
    """
    return [{"type": "function", "function": _function(tool)} for tool in tools]


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadInputError(
            f"tools: expected {{type: function, function: {{name, description, parameters}}}}, found {str(tool)[:80]}"
        )
    optional = {name: function[name] for name in ("strict", "defer_loading") if function.get(name) is not None}
    always = {name: function.get(name) for name in ("name", "description", "parameters")}
    return {**always, **optional}


def _in_parts(message: dict[str, Any]) -> dict[str, Any]:
    """The message with its content in a list; a tool's result stays text, as vLLM has it."""
    if message["role"] == "tool":
        return message
    content = message["content"]
    return {**message, "content": [{"type": "text", "text": content}] if content else []}
