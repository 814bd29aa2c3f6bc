"""From a conversation to token ids and labels, by the base model's own chat template.

The model must learn from exactly the tokens that a server will show it: each answer is put behind the rendered prompt
(`add_generation_prompt=True`), as a server would put it. Labels are the ids of the answers with their
end-of-turn token, and IGNORED everywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locum.adapters.conversations import Conversation
from locum.errors import BadInputError

IGNORED = -100
THOUGHT, END_OF_THOUGHT = "<think>", "</think>"


@dataclass(frozen=True)
class Tokens:
    """Token ids of a conversation, and for each the id to learn, or IGNORED."""

    input_ids: list[int]
    labels: list[int]


class Template:
    """The chat template and tokenizer of a base checkpoint."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        # What may end a turn: some models end it with another special token than the tokenizer's eos.
        self._stops = {*tokenizer.all_special_ids, tokenizer.eos_token_id}

    @classmethod
    def load(cls, base: Path) -> Template:
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
        return cls(tokenizer)

    def tokenise(self, conversation: Conversation) -> list[Tokens]:
        """Ids and labels of all answers of a conversation.

        That is one sequence, unless the template rewrites earlier turns (as those do that take past thoughts out):
        then it is one for each answer, behind the prompt that a server would make for it.

        Raises:
            BadInputError: the template has no place for the answer, or does not end it.
        """
        messages = [message.model_dump() for message in conversation.conversations]
        done: list[Tokens] = []
        for index in (index for index, message in enumerate(messages) if message["role"] == "assistant"):
            prompt = self._render(messages[:index], add_generation_prompt=True)
            prompt_ids = self._encode(prompt)
            answer_ids = self._answer(prompt, prompt_ids, messages[: index + 1])
            labels = [IGNORED] * len(prompt_ids)
            if done and prompt_ids[: len(done[-1].input_ids)] == done[-1].input_ids:
                before = done.pop().labels
                labels[: len(before)] = before
            done.append(Tokens(prompt_ids + answer_ids, labels + answer_ids))
        return done

    def _answer(self, prompt: str, prompt_ids: list[int], messages: Sequence[dict[str, str]]) -> list[int]:
        """Ids of the last answer with its end-of-turn token, as they follow the prompt."""
        answer = messages[-1]["content"].strip()
        if not answer:
            raise BadInputError(f"an answer is blank, expected text: {messages[-2]['content']!r}")
        whole = self._render(messages)
        thinking = prompt.rstrip().endswith(THOUGHT) and not whole.startswith(prompt)
        said = answer.rsplit(END_OF_THOUGHT, 1)[-1].strip() if thinking else answer
        if not (whole.startswith(prompt) or thinking) or said not in whole:
            raise BadInputError(
                "the base model's chat template has no place for the answer: a conversation does not begin with the "
                f"prompt that a server makes of it ({prompt[-60:]!r}), or leaves out the answer {said[:60]!r}",
                hint="take another base model, or correct its chat_template.jinja",
            )
        place = whole.rindex(said)
        end = whole[place + len(said) :]
        begin = self._thought(prompt, answer) if thinking else whole[len(prompt) : place]
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
        return ids[: len(ids) - len(end_ids) + stop]

    @staticmethod
    def _thought(prompt: str, answer: str) -> str:
        """What stands between a prompt that has begun a thought and the answer: the row's thought, or an empty one."""
        thought = answer.rpartition(END_OF_THOUGHT)[0].strip().removeprefix(THOUGHT).strip()
        newline = "" if prompt.endswith("\n") else "\n"
        return f"{newline}{thought}\n{END_OF_THOUGHT}\n\n"

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
