"""Text of models made safe to show: what cannot be seen, or would turn other text round, becomes a sign that can."""

from __future__ import annotations

import re

# Beside the controls: signs that turn the direction of text, and halves of a character, which no file can hold.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_PICTURES = 0x2400  # U+2400 and on: ␀ ␁ ␂ …


def visible(text: str) -> str:
    """The text with every control character but tab and newline shown as its Unicode picture, or as `[U+202E]`.

    What comes out is allowed in HTML and in XML 1.0, and no terminal takes any of it as a command.
    """
    return _UNSEEN.sub(lambda found: _sign(ord(found[0])), text.replace("\r\n", "\n"))


def _sign(code: int) -> str:
    if code < 0x20:
        return chr(_PICTURES + code)
    if code == 0x7F:
        return "␡"
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"[U+{code:04X}]"
