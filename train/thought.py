"""What models of the DeepSeek-R1 family write between <think> and </think>."""

from __future__ import annotations

THOUGHT, END_OF_THOUGHT = "<think>", "</think>"


def split_thought(content: str) -> tuple[str, str]:
    """The thought at the beginning of an answer, and what is said after it; a text without a thought as it is."""
    before, mark, said = content.rpartition(END_OF_THOUGHT)
    if not mark:
        return "", content
    return before.strip().removeprefix(THOUGHT).strip(), said.strip()


def thought_text(prompt: str, thought: str) -> str:
    """A thought, or an empty one, from where the prompt ends to where it is said what is said."""
    opening = "" if prompt.rstrip().endswith(THOUGHT) else THOUGHT
    newline = "" if prompt.endswith("\n") and not opening else "\n"
    return f"{opening}{newline}{thought}\n{END_OF_THOUGHT}\n\n"


def before_open_thought(prompt: str) -> str | None:
    """A prompt up to the thought that it opens; None where it opens none."""
    prompt = prompt.rstrip()
    return prompt.removesuffix(THOUGHT) if prompt.endswith(THOUGHT) else None


def before_closed_thought(prompt: str) -> str | None:
    """A prompt up to the empty thought that it ends with; None where it ends with none."""
    prompt = prompt.rstrip()
    return before_open_thought(prompt.removesuffix(END_OF_THOUGHT)) if prompt.endswith(END_OF_THOUGHT) else None


def after_closed_thought(text: str) -> str:
    """What follows the end of a thought."""
    return text.lstrip().removeprefix(END_OF_THOUGHT).lstrip("\n")


def without_empty_thought(text: str) -> str:
    """A text without the empty thought that it begins with, if it begins with one."""
    rest = text.lstrip()
    if not rest.startswith(THOUGHT) or not rest.removeprefix(THOUGHT).lstrip().startswith(END_OF_THOUGHT):
        return text
    return after_closed_thought(rest.removeprefix(THOUGHT))
