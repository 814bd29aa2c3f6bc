"""Which words of two answers differ: what is marked where they stand side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

# A word of Latin, Cyrillic and the like; one character of Chinese, Japanese or Thai; or one sign of punctuation.
_UNBROKEN = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_UNBROKEN}]|(?:(?![{_UNBROKEN}])\w)+|[^\w\s]|\s+")
_AT_MOST = 1500  # words; beyond these, comparing takes seconds, and nobody reads on


@dataclass(frozen=True)
class Piece:
    """A part of a text, and whether the other text has it at the same place."""

    text: str
    differs: bool


def mark_differences(ours: str, theirs: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces, those that differ marked; the pieces of each joined are the text again.

    Words are compared whole, and Chinese by characters (Ratcliff/Obershelp matching, `difflib`). White space alone is
    never marked. What comes after the first 1,500 words is one piece, compared as a whole.
    """
    left, left_rest = _tokens(ours)
    right, right_rest = _tokens(theirs)
    # White space is left out: a line break where the other has a space tells nothing.
    words = [[index for index, token in enumerate(tokens) if not token.isspace()] for tokens in (left, right)]
    ours_said, theirs_said = [left[index] for index in words[0]], [right[index] for index in words[1]]
    matcher = SequenceMatcher(None, ours_said, theirs_said, autojunk=False)
    differ = [[not token.isspace() for token in tokens] for tokens in (left, right)]
    for block in matcher.get_matching_blocks():
        for marks, kept, start in zip(differ, words, (block.a, block.b), strict=True):
            for index in kept[start : start + block.size]:
                marks[index] = False
    rests = left_rest != right_rest
    return _pieces(left, differ[0], Piece(left_rest, rests)), _pieces(right, differ[1], Piece(right_rest, rests))


def beginning(pieces: Sequence[Piece], length: int) -> list[Piece]:
    """The first pieces that have `length` characters together; the last of them is cut."""
    found, left = [], length
    for piece in pieces:
        if left <= 0:
            break
        found.append(Piece(piece.text[:left], piece.differs))
        left -= len(piece.text)
    return found


def _tokens(text: str) -> tuple[list[str], str]:
    """The first words of a text, and what is left of it."""
    found: list[str] = []
    for match in _TOKEN.finditer(text):
        if len(found) == _AT_MOST:
            return found, text[match.start() :]
        found.append(match[0])
    return found, ""


def _pieces(tokens: Sequence[str], differ: Sequence[bool], rest: Piece) -> list[Piece]:
    """Neighbours of one kind joined; white space is marked only between two marked words."""
    marked = list(differ)
    for index in range(1, len(tokens) - 1):
        if tokens[index].isspace() and marked[index - 1] and marked[index + 1]:
            marked[index] = True
    found: list[Piece] = []
    for token, differs in zip(tokens, marked, strict=True):
        if found and found[-1].differs == differs:
            found[-1] = Piece(found[-1].text + token, differs)
        else:
            found.append(Piece(token, differs))
    return [*found, rest] if rest.text else found
