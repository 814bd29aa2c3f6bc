"""A model's own words: without the notice that the server appended to its answer, and marked, where it had none.

The mark is the field `locum: {notice_appended: …}` of a choice; in a stream the chunk that has it brings the notice.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Mark(BaseModel):
    """What a Locum server says of a choice."""

    model_config = ConfigDict(extra="ignore")

    notice_appended: str = ""


def own_words(text: str, mark: Mark | None) -> str:
    """The text without what the mark says was appended.

    Raises:
        ValueError: the text does not end with it, so that nobody can say what the model's own words are.
    """
    appended = mark.notice_appended if mark else ""
    if not text.endswith(appended):
        raise ValueError(f"the answer is said to end with an appended notice, and does not: {appended.strip()!r}")
    return text.removesuffix(appended)


def in_own_words(answer: dict[str, Any]) -> dict[str, Any]:
    """A chat completion or a completion, as JSON, with each choice in the model's own words.

    Raises:
        ValueError: as `own_words`.
    """
    return {**answer, "choices": [_in_own_words(choice) for choice in answer["choices"]]}


def _in_own_words(choice: dict[str, Any]) -> dict[str, Any]:
    if "locum" not in choice:
        return choice
    mark = Mark.model_validate(choice["locum"])
    if "message" in choice:
        message = choice["message"]
        return {**choice, "message": {**message, "content": own_words(message["content"], mark)}}
    return {**choice, "text": own_words(choice["text"], mark)}
