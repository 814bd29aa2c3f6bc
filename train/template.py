"""From a conversation to token ids and labels, by the base model's own chat template.

The model must learn from exactly the tokens that a server will show it: each answer is put behind the rendered prompt
(`add_generation_prompt=True`), as a server would put it. Labels are the ids of the answers with their
end-of-turn token, and IGNORED everywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from locum.adapters.chat_template import WAY_OUT, ChatTemplate, as_handed_over, tool_definitions
from locum.adapters.conversations import Conversation, Message, Preference
from locum.adapters.end_of_turn import TurnEnds, declared_ends, ends_in, special_ids, stops_by, turn_ends
from locum.adapters.system_prompt import SystemRole, in_first_question
from locum.errors import BadInputError
from locum.train.answer_span import Answer, Span, Tools, find_span
from locum.train.thought import split_thought
from locum.train.tool_use import require_tools_shown

IGNORED = -100

Thinking = Literal["keep", "drop", "mask"]


@dataclass(frozen=True)
class Tokens:
    """Token ids of a conversation, and for each the id to learn, or IGNORED."""

    input_ids: list[int]
    labels: list[int]


@dataclass(frozen=True)
class PairTokens:
    """Token ids of a prompt, and of two answers to it with their end-of-turn tokens; none of one that is missing."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]

    @property
    def length(self) -> int:
        """Tokens of the prompt with the longer answer."""
        return len(self.prompt_ids) + self.longest_answer

    @property
    def longest_answer(self) -> int:
        """Tokens of the longer answer."""
        return max(len(self.chosen_ids), len(self.rejected_ids))


class Template:
    """How a base checkpoint's chat template makes samples of conversations.

    `thinking` says what becomes of what an answer has between <think> and </think>, as models of the DeepSeek-R1
    family write it: it is learnt (keep), left out (drop), or there but not learnt (mask). Thoughts of earlier answers
    are never there: a server tells them apart from answers, and clients send only those back.
    """

    def __init__(
        self,
        tokenizer: Any,
        thinking: Thinking = "keep",
        system_role: SystemRole = "system",
        *,
        declared: Sequence[int] = (),
    ) -> None:
        """`declared` are tokens that end an answer by what the checkpoint says beside its template."""
        self.tokenizer = tokenizer
        self.declared = declared
        self.thinking = thinking
        self.system_role = system_role
        self.chat = ChatTemplate(tokenizer)

    @classmethod
    def load(cls, base: Path, thinking: Thinking = "keep", system_role: SystemRole = "system") -> Template:
        """The template of the checkpoint in the folder `base`.

        Raises:
            BadInputError: the checkpoint has no chat template.
        """
        return cls(ChatTemplate.load(base).tokenizer, thinking, system_role, declared=declared_ends(base))

    def tokenise(self, conversation: Conversation) -> list[Tokens]:
        """Ids and labels of all answers of a conversation that are to be learnt.

        That is one sequence, unless the template rewrites earlier turns (as those do that take past thoughts out):
        then it is one for each answer, behind the prompt that a server would make for it.

        Raises:
            BadInputError: the template has no place for an answer, does not end it, or does not show the model all
                that the conversation has.
        """
        messages = self._context(conversation.conversations)
        tools = tool_definitions(conversation.tools) if conversation.tools else None
        if tools or any(message["role"] == "tool" or "tool_calls" in message for message in messages):
            require_tools_shown(self.chat, messages, tools)
        # What the system message becomes part of keeps its place: only that message may be gone.
        given = conversation.conversations[len(conversation.conversations) - len(messages) :]
        done: list[Tokens] = []
        for index in (index for index, message in enumerate(given) if message.learnt):
            prompt = self.chat.render(messages[:index], tools=tools, add_generation_prompt=True)
            prompt_ids = self.chat.encode(prompt)
            answer = self._answer(given[index], messages[index], question=given[index - 1].content)
            answer_ids, shown = self._ids(prompt, prompt_ids, messages[:index], answer, tools)
            labels = [IGNORED] * len(prompt_ids)
            if done and prompt_ids[: len(done[-1].input_ids)] == done[-1].input_ids:
                before = done.pop().labels
                labels[: len(before)] = before
            done.append(Tokens(prompt_ids + answer_ids, labels + [IGNORED] * shown + answer_ids[shown:]))
        return done

    def text(self, ids: Sequence[int]) -> str:
        """The text of an answer's ids, as a server gives it."""
        plain: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return plain.strip()

    def shows(self, conversation: Conversation) -> bool:
        """Whether the conversation can be learnt with this template."""
        try:
            return bool(self.tokenise(conversation))
        except BadInputError:
            return False

    def prompt_ids(self, prompt: Sequence[Message], *, tools: Sequence[dict[str, Any]] | None = None) -> list[int]:
        """Ids of a prompt, as a server would show it to the model."""
        defined = tool_definitions(tools) if tools else None
        return self.chat.encode(self.chat.render(self._context(prompt), tools=defined, add_generation_prompt=True))

    def tokenise_pair(self, pair: Preference) -> PairTokens:
        """Ids of a preference pair, each answer as it follows the prompt.

        Raises:
            BadInputError: as `tokenise` does.
        """
        messages = self._context(pair.prompt)
        if any(message["role"] == "tool" or "tool_calls" in message for message in messages):
            require_tools_shown(self.chat, messages, None)
        prompt = self.chat.render(messages, add_generation_prompt=True)
        prompt_ids = self.chat.encode(prompt)

        def ids(text: str | None) -> list[int]:
            if text is None:
                return []
            message = Message(role="assistant", content=text)
            answer = self._answer(message, {}, question=pair.prompt[-1].content)
            return self._ids(prompt, prompt_ids, messages, answer, None)[0]

        return PairTokens(prompt_ids, ids(pair.chosen), ids(pair.rejected))

    @cached_property
    def stops(self) -> list[int]:
        """Tokens at which an answer ends, here as on a server."""
        return stops_by(self.chat, self.declared)

    @cached_property
    def _special(self) -> frozenset[int]:
        return special_ids(self.tokenizer) | frozenset(self._ends.ids)

    @cached_property
    def _ends(self) -> TurnEnds:
        return turn_ends(self.chat, self.declared)

    def _context(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """Messages as a server hands them to the template, without the thoughts of answers."""
        if self.system_role == "user":
            messages = in_first_question(messages)
        elif any(message.role == "system" for message in messages):
            self.chat.require_system_role()
        handed = as_handed_over(messages)
        for message in handed:
            if message["role"] == "assistant":
                message["content"] = split_thought(message["content"])[1]
        return handed

    def _answer(self, message: Message, handed: dict[str, Any], *, question: str) -> Answer:
        """What is to be learnt of a message, of which `handed` is what a server would hand over."""
        thought, said = split_thought(message.content)
        if not said.strip() and not message.tool_calls:
            what = "only a thought" if thought else "blank"
            raise BadInputError(f"an answer is {what}, expected text: {question!r}")
        return Answer("" if self.thinking == "drop" else thought, said, tuple(handed.get("tool_calls", ())))

    def _ids(
        self, prompt: str, prompt_ids: list[int], messages: Sequence[dict[str, Any]], answer: Answer, tools: Tools
    ) -> tuple[list[int], int]:
        """Ids of an answer with its end-of-turn token, as they follow the prompt.

        The number is of those at the beginning that are not to be learnt.
        """
        self._require_text(answer)
        ends = self._ends
        span = find_span(self.chat, messages, prompt, answer, tools)
        ids = self.chat.encode(prompt + span.text)
        # Where a token would span the border, a server begins a new one there, and so must we.
        ids = ids[len(prompt_ids) :] if ids[: len(prompt_ids)] == prompt_ids else self.chat.encode(span.text)
        end = ends.call if answer.calls and ends.call is not None else ends.text
        if not ends.in_turn:
            return [*ids, end], self._shown(span, ids)
        last = self.chat.encode(span.end or span.said)
        places = [place for place, id in enumerate(last) if id == ends.text][:1] or ends_in(self.tokenizer, last)[-1:]
        if not places:
            raise BadInputError(
                f"the base model's chat template does not end the answer with a special token (found "
                f"{(span.end or span.said)[-40:]!r}): an adapter could not learn to stop",
                hint=WAY_OUT,
            )
        ids = ids[: len(ids) - len(last) + places[0] + 1]
        return ids, self._shown(span, ids)

    def _shown(self, span: Span, ids: list[int]) -> int:
        if self.thinking != "mask" or not span.thinks:
            return 0
        # A token that spans the border to what is said is learnt.
        thought = self.chat.encode(span.before)
        return sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(thought, ids, strict=False)))

    def _require_text(self, answer: Answer) -> None:
        """Make sure that no part of an answer is text that the tokenizer reads as a token of its own."""
        calls = [part for call in answer.calls for part in _texts(call["function"])]
        for text in (answer.thought, answer.said, *calls):
            special = next((id for id in self.chat.encode(text) if id in self._special), None)
            if special is not None:
                token = self.tokenizer.decode([special])
                raise BadInputError(
                    f"an answer has {token} in its text, which the base model reads as a token of its own and not as "
                    f"text: {text[:60]!r}",
                    hint="write it otherwise, or leave such rows out",
                )


def _texts(value: Any) -> list[str]:
    """All texts in a JSON value."""
    if isinstance(value, dict):
        return [text for name, inner in value.items() for text in (name, *_texts(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) else []
