"""What the APIs that vLLM offers have in common where a notice is appended to an answer.

A notice is added as one more delta before the end of the answer that lacks it. It is marked with a field `locum`, so
that whoever measures the model can take it out again. Usage and the reason why the answer ended stay the model's own:
the notice was not generated. An answer that cannot be read fails: nobody could say whether it has its notices.
"""

from __future__ import annotations

from typing import Any, Protocol


class Missing(Protocol):
    """Decides what is appended to a finished answer; an empty text for nothing."""

    def missing(self, text: str, *, appendable: bool) -> str: ...


class Format(Protocol):
    """The answer to one request."""

    def whole(self, answer: Any) -> bool:
        """Append to an answer that came in one piece. Returns whether that changed it."""

    def event(self, event: bytes) -> bytes:
        """What goes out in place of one event of a stream: itself, more, or nothing as yet."""

    def flush(self) -> bytes:
        """What was held back, when the stream has ended."""


def mark(notice: str) -> dict[str, str]:
    """What the field `locum` says of an appended notice."""
    return {"notice_appended": notice}
