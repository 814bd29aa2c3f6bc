"""The place of an answer in the text that a chat template makes of a conversation.

It is found by position, never by searching for the answer: the template renders the conversation with other texts in
the answer's place, and what all of those have in common stands around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from locum.adapters.chat_template import MARK, OTHER_MARK, WAY_OUT, ChatTemplate, common_prefix, common_suffix
from locum.errors import BadInputError
from locum.train.thought import (
    END_OF_THOUGHT,
    after_closed_thought,
    before_closed_thought,
    before_open_thought,
    thought_text,
    without_empty_thought,
)

Messages = Sequence[dict[str, Any]]
Tools = Sequence[dict[str, Any]] | None
Form = Callable[[str, str], dict[str, Any]]
"""The answer as a message, made of a thought and what is said."""

THOUGHT_FIELDS = ("reasoning", "reasoning_content", "thinking")  # vLLM's two, and that of gpt-oss' template
QUESTION = {"role": "user", "content": "What is it?"}


@dataclass(frozen=True)
class Answer:
    """What the assistant has to say next: a thought, text and calls of tools, each of which may be missing."""

    thought: str
    said: str
    calls: tuple[dict[str, Any], ...] = ()

    def message(self, thought: str, said: str) -> dict[str, Any]:
        """The answer as a message, with the thought in its content."""
        content = f"<think>\n{thought}\n{END_OF_THOUGHT}\n\n{said}" if thought else said
        return self._with_calls({"role": "assistant", "content": content})

    def in_fields(self, thought: str, said: str) -> dict[str, Any]:
        """The answer as a message, with the thought in the fields that templates have for it."""
        thoughts = dict.fromkeys(THOUGHT_FIELDS, thought) if thought else {}
        return self._with_calls({"role": "assistant", "content": said, **thoughts})

    def _with_calls(self, message: dict[str, Any]) -> dict[str, Any]:
        return {**message, "tool_calls": list(self.calls)} if self.calls else message


@dataclass(frozen=True)
class Span:
    """The text that a model has to write behind the prompt: its parts, in order.

    `before` ends with the thought where there is one (`thinks`), which is not to be learnt with `thinking: mask`.
    """

    before: str
    said: str
    end: str
    thinks: bool

    @property
    def text(self) -> str:
        return self.before + self.said + self.end


def find_span(template: ChatTemplate, messages: Messages, prompt: str, answer: Answer, tools: Tools = None) -> Span:
    """What a model has to write for `answer` behind `prompt`, which a server makes of `messages`.

    Raises:
        BadInputError: the template has no place for the answer, or leaves a part of it out.
    """
    form, shows_thought = _form(template, messages, answer, tools)

    def render(thought: str, said: str, context: Messages = messages) -> str:
        return template.render([*context, form(thought, said)], tools=tools)

    if answer.calls:
        return _span_of_calls(template, messages, prompt, answer, render, tools, shows_thought=shows_thought)
    head, end = _around(render(answer.thought, MARK), render(answer.thought, OTHER_MARK), prompt)
    whole = render(answer.thought, answer.said)
    if not (whole.startswith(head) and whole.endswith(end) and len(whole) >= len(head) + len(end)):
        raise BadInputError(
            f"the base model's chat template has no place for the answer {answer.said[:60]!r}: what it writes around "
            "an answer depends on the answer",
            hint=WAY_OUT,
        )
    said = whole[len(head) : len(whole) - len(end)]
    if said.strip() != answer.said.strip():  # many templates trim what is said
        raise BadInputError(
            f"the base model's chat template writes the answer {answer.said[:60]!r} as {said[:60]!r}", hint=WAY_OUT
        )
    thought = answer.thought if shows_thought else ""
    before = _before(head, prompt, answer.thought, shown=bool(thought))
    if before is None:
        before = _before_elsewhere(template, head, prompt, answer.thought, render, shown=bool(thought))
    return Span(before, said, end, thinks=_thinks(before, answer))


def _form(template: ChatTemplate, messages: Messages, answer: Answer, tools: Tools) -> tuple[Form, bool]:
    """How to hand the answer to the template, so that it shows the thought; and whether it does at all."""
    if not answer.thought:
        return answer.in_fields, False
    for form in (answer.in_fields, answer.message):
        one, other = (template.render([*messages, form(mark, MARK)], tools=tools) for mark in (OTHER_MARK, "q2Lm9"))
        if one != other:
            return form, True
    return (lambda _, said: answer.in_fields("", said)), False


def _around(one: str, other: str, prompt: str) -> tuple[str, str]:
    """What stands before and behind the answer, from two renderings that differ in it alone."""
    if one == other:
        raise BadInputError(
            "the base model's chat template has no place for the answer: a conversation leaves it out (the prompt ends "
            f"with {prompt[-60:]!r})",
            hint=WAY_OUT,
        )
    return common_prefix(one, other), common_suffix(one, other)


def _before(head: str, prompt: str, thought: str, *, shown: bool) -> str | None:
    """What a model writes between the end of the prompt and what is said; None where they do not fit together.

    Args:
        head: of a conversation, up to what is said.
        shown: whether the thought is in `head`.
    """
    if head.startswith(prompt):
        before = head[len(prompt) :]
        # Where a template leaves it out of conversations, a server's model says it here.
        return before if shown or not thought else before + thought_text(prompt + before, thought)
    opened = before_open_thought(prompt)
    if opened is not None and head.startswith(opened):
        return thought_text(prompt, thought)
    closed = before_closed_thought(prompt)
    if closed is not None and head.startswith(closed):
        if thought:
            raise BadInputError(
                "the base model's chat template ends every prompt behind an empty thought, so none can be learnt",
                hint="leave thoughts out: --set thinking=drop",
            )
        return ""
    return None


def _before_elsewhere(
    template: ChatTemplate, head: str, prompt: str, thought: str, render: Callable[..., str], *, shown: bool
) -> str:
    """The same, for a template that renders the messages before an answer otherwise than those of a prompt.

    Mistral's put the system message before the last question only where nothing follows it. What stands between a
    prompt and an answer is then read from a question that is alone.
    """
    asked = template.render([QUESTION], add_generation_prompt=True)
    alone = common_prefix(render(thought, MARK, [QUESTION]), render(thought, OTHER_MARK, [QUESTION]))
    before = _before(alone, asked, thought, shown=shown)
    inside = before if shown else _before(alone, asked, "", shown=False)
    if before is None or inside is None or not head.endswith(inside):
        raise BadInputError(
            "the base model's chat template has no place for the answer: a conversation does not begin with the "
            f"prompt that a server makes of it ({prompt[-60:]!r})",
            hint=WAY_OUT,
        )
    return before


def _span_of_calls(
    template: ChatTemplate,
    messages: Messages,
    prompt: str,
    answer: Answer,
    render: Callable[..., str],
    tools: Tools,
    *,
    shows_thought: bool,
) -> Span:
    """The span of an answer that calls tools: the whole of it is the template's own text behind the prompt."""
    whole = render(answer.thought, answer.said)
    if answer.said and whole == render(answer.thought, MARK):
        raise BadInputError(
            f"the base model's chat template leaves out what is said beside a call of a tool ({answer.said[:60]!r})",
            hint="take that text out of the row, or another base model",
        )
    rest = _behind(prompt, whole)
    if rest is None:  # as `_before_elsewhere`
        asked = template.render([QUESTION], tools=tools, add_generation_prompt=True)
        rest = _behind(asked, render(answer.thought, answer.said, [QUESTION]))
        if rest is None or not whole.endswith(rest):
            raise BadInputError(
                "the base model's chat template has no place for the call of a tool: a conversation does not begin "
                f"with the prompt that a server makes of it ({prompt[-60:]!r})",
                hint=WAY_OUT,
            )
    if not answer.thought:
        before = _close(prompt, whole)
        return Span(before, without_empty_thought(rest) if before else rest, "", thinks=bool(before))
    if not shows_thought:
        return Span(thought_text(prompt, answer.thought), without_empty_thought(rest), "", thinks=True)
    said = after_closed_thought(common_suffix(render(OTHER_MARK, answer.said), render("q2Lm9", answer.said)))
    if before_open_thought(prompt) is not None and not whole.startswith(prompt):
        return Span(thought_text(prompt, answer.thought), said, "", thinks=True)
    return Span(rest[: len(rest) - len(said)], said, "", thinks=True)


def _thinks(before: str, answer: Answer) -> bool:
    return bool(answer.thought) or END_OF_THOUGHT in before


def _behind(prompt: str, whole: str) -> str | None:
    """The part of a conversation behind the prompt, whatever the prompt says of a thought."""
    for begin in (prompt, before_open_thought(prompt), before_closed_thought(prompt)):
        if begin is not None and whole.startswith(begin):
            return whole[len(begin) :]
    return None


def _close(prompt: str, whole: str) -> str:
    """The end of an empty thought that a prompt opens and a conversation does not have."""
    opened = before_open_thought(prompt)
    return thought_text(prompt, "") if opened is not None and not whole.startswith(prompt) else ""
