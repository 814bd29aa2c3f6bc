"""From a conversation to token ids and labels, by the base model's own chat template.

The model must learn from exactly the tokens that a server will show it: each answer is put behind the rendered prompt
(`add_generation_prompt=True`), as a server would put it. Labels are the ids of the answers with their
end-of-turn token, and IGNORED everywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from locum.adapters.conversations import Conversation, Message, Preference
from locum.errors import BadInputError

IGNORED = -100
THOUGHT, END_OF_THOUGHT = "<think>", "</think>"

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
    """The chat template and tokenizer of a base checkpoint.

    `thinking` says what becomes of what an answer has between <think> and </think>, as models of the DeepSeek-R1
    family write it: it is learnt (keep), left out (drop), or there but not learnt (mask).
    """

    def __init__(self, tokenizer: Any, thinking: Thinking = "keep") -> None:
        self.tokenizer = tokenizer
        self.thinking = thinking
        # What may end a turn: some models end it with another special token than the tokenizer's eos.
        self._stops = {*tokenizer.all_special_ids, tokenizer.eos_token_id}

    @classmethod
    def load(cls, base: Path, thinking: Thinking = "keep") -> Template:
        """The template of the checkpoint in the folder `base`.

        Raises:
            BadInputError: the checkpoint has no chat template.
        """
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(base)
        if not tokenizer.chat_template:
            raise BadInputError(
                f"the base model at {base} has no chat template, expected chat_template.jinja or one in "
                "tokenizer_config.json",
                hint="take an instruction-tuned model",
            )
        return cls(tokenizer, thinking)

    def tokenise(self, conversation: Conversation) -> list[Tokens]:
        """Ids and labels of all answers of a conversation.

        That is one sequence, unless the template rewrites earlier turns (as those do that take past thoughts out):
        then it is one for each answer, behind the prompt that a server would make for it.

        Raises:
            BadInputError: the template has no place for the answer, or does not end it.
        """
        messages = [self._message(message.role, message.content) for message in conversation.conversations]
        done: list[Tokens] = []
        for index in (index for index, message in enumerate(messages) if message["role"] == "assistant"):
            prompt = self._render(messages[:index], add_generation_prompt=True)
            prompt_ids = self._encode(prompt)
            answer_ids, shown = self._answer(prompt, prompt_ids, messages[: index + 1])
            labels = [IGNORED] * len(prompt_ids)
            if done and prompt_ids[: len(done[-1].input_ids)] == done[-1].input_ids:
                before = done.pop().labels
                labels[: len(before)] = before
            done.append(Tokens(prompt_ids + answer_ids, labels + [IGNORED] * shown + answer_ids[shown:]))
        return done

    def prompt_ids(self, prompt: Sequence[Message]) -> list[int]:
        """Ids of a prompt, as a server would show it to the model."""
        messages = [self._message(message.role, message.content) for message in prompt]
        return self._encode(self._render(messages, add_generation_prompt=True))

    @property
    def stops(self) -> list[int]:
        """Tokens that may end an answer."""
        return sorted(self._stops)

    def tokenise_pair(self, pair: Preference) -> PairTokens:
        """Ids of a preference pair, each answer as it follows the prompt.

        Raises:
            BadInputError: as `tokenise` does.
        """
        messages = [self._message(message.role, message.content) for message in pair.prompt]
        prompt = self._render(messages, add_generation_prompt=True)
        prompt_ids = self._encode(prompt)
        chosen_ids, rejected_ids = (
            self._answer(prompt, prompt_ids, [*messages, self._message("assistant", answer)])[0] if answer else []
            for answer in (pair.chosen, pair.rejected)
        )
        return PairTokens(prompt_ids, chosen_ids, rejected_ids)

    def _message(self, role: str, content: str) -> dict[str, str]:
        if self.thinking == "drop" and role == "assistant":
            content = content.rpartition(END_OF_THOUGHT)[2].strip()
        return {"role": role, "content": content}

    def _answer(self, prompt: str, prompt_ids: list[int], messages: Sequence[dict[str, str]]) -> tuple[list[int], int]:
        """Ids of the last answer with its end-of-turn token, as they follow the prompt.

        The number is of those at the beginning that are not to be learnt.
        """
        before, _, said = (part.strip() for part in messages[-1]["content"].rpartition(END_OF_THOUGHT))
        thought = before.removeprefix(THOUGHT).strip()
        if not said:
            what = "only a thought" if thought else "blank"
            raise BadInputError(f"an answer is {what}, expected text: {messages[-2]['content']!r}")
        whole = self._render(messages)
        begun = prompt.rstrip().endswith(THOUGHT)
        if not (whole.startswith(prompt) or begun) or said not in whole:
            raise BadInputError(
                "the base model's chat template has no place for the answer: a conversation does not begin with the "
                f"prompt that a server makes of it ({prompt[-60:]!r}), or leaves out the answer {said[:60]!r}",
                hint="take another base model, or correct its chat_template.jinja",
            )
        place = whole.rindex(said)
        end = whole[place + len(said) :]
        begin = whole[len(prompt) : place] if whole.startswith(prompt) else ""
        if thought not in begin or not (begin or whole.startswith(prompt)):
            begin = self._thought(prompt, thought)  # the template leaves it out; a server's model would say it here
        end_ids = self._encode(end)
        stop = next((position for position, token in enumerate(end_ids, start=1) if token in self._stops), None)
        if stop is None:
            raise BadInputError(
                f"the base model's chat template does not end the answer with a special token (found {end[:40]!r}): "
                "an adapter could not learn to stop",
                hint="take another base model, or correct its chat_template.jinja",
            )
        answer_text = begin + said + end
        ids = self._encode(prompt + answer_text)
        # Where a token would span the border, a server begins a new one there, and so must we.
        ids = ids[len(prompt_ids) :] if ids[: len(prompt_ids)] == prompt_ids else self._encode(answer_text)
        shown = 0
        if self.thinking == "mask" and END_OF_THOUGHT in begin:
            # A token that spans the border to what is said is learnt.
            shown = sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(self._encode(begin), ids, strict=False)))
        return ids[: len(ids) - len(end_ids) + stop], shown

    @staticmethod
    def _thought(prompt: str, thought: str) -> str:
        """A thought, or an empty one, from where the prompt ends to where the answer begins."""
        opening = "" if prompt.rstrip().endswith(THOUGHT) else THOUGHT
        newline = "" if prompt.endswith("\n") and not opening else "\n"
        return f"{opening}{newline}{thought}\n{END_OF_THOUGHT}\n\n"

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _render(self, messages: Sequence[dict[str, str]], *, add_generation_prompt: bool = False) -> str:
        from jinja2 import TemplateError

        try:
            text: str = self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise BadInputError(
                f"the base model's chat template refuses a conversation of {roles}: {error}",
                hint="take another base model, or correct its chat_template.jinja",
            ) from None
        return text
