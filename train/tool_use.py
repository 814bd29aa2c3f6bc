"""Whether a chat template shows the model all that a conversation has of tools."""

from __future__ import annotations

from typing import Any

from locum.adapters.chat_template import MARK, ChatTemplate
from locum.errors import BadInputError
from locum.train.answer_span import Messages, Tools

WAY_OUT = "leave such rows out, or take a base model whose chat template knows tools"


def require_tools_shown(template: ChatTemplate, messages: Messages, tools: Tools) -> None:
    """Make sure that definitions, calls and results of tools change what the template makes of the conversation.

    Raises:
        BadInputError: one of them does not, or the template refuses it.
    """
    whole = template.render(messages, tools=tools)
    if tools and whole == template.render(messages, tools=[_renamed(tools[0]), *tools[1:]]):
        raise _left_out("the definitions of tools (`tools`)")
    for place, message in enumerate(messages):
        for other, what in _others(message):
            if whole == template.render([*messages[:place], other, *messages[place + 1 :]], tools=tools):
                raise _left_out(what)


def _others(message: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """The message with another result, name or arguments, and what that is."""
    if message["role"] == "tool":
        return [({**message, "content": MARK}, "the result of a tool (role `tool`)")]
    others = []
    for place, call in enumerate(message.get("tool_calls", [])):
        changes: list[dict[str, Any]] = [{"name": MARK}]
        if call["function"]["arguments"]:
            changes.append({"arguments": dict.fromkeys(call["function"]["arguments"], MARK)})
        for change in changes:
            calls = list(message["tool_calls"])
            calls[place] = {**call, "function": {**call["function"], **change}}
            others.append(({**message, "tool_calls": calls}, f"the {next(iter(change))} of a call (`tool_calls`)"))
    return others


def _renamed(tool: dict[str, Any]) -> dict[str, Any]:
    return {**tool, "function": {**tool["function"], "name": MARK}}


def _left_out(what: str) -> BadInputError:
    return BadInputError(f"the base model's chat template leaves out {what}", hint=WAY_OUT)
