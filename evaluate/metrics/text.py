"""What two texts must share to count as the same: normalisation, common to the metrics."""

from __future__ import annotations

import re

from locum.adapters.wordings import folded

_QUOTES = "\"'`*_“”‘’„‚«»‹›「」『』《》〈〉"
_SENTENCE_MARKS = ".,;:!?…。、"

_HAN = re.compile(r"[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_FENCE = re.compile(r"```[^\S\n]*[\w+-]*[^\S\n]*\n((?:(?!```).)*?)\n?[^\S\n]*```", re.DOTALL)


def normalise(text: str) -> str:
    """Text without what does not change an answer.

    In this order: Unicode NFKC (full-width to plain, composed accents); case folded; runs of white space to one space;
    white space, quotation marks and Markdown's ` * _ removed from both ends, and sentence marks . , ; : ! ? 。 、 from
    the right end. Everything else stays: articles, inner punctuation, signs, brackets, percent and currency, so that
    `-5` and `5`, `(5)` and `5`, `5 %` and `5`, `.5` and `5` remain different answers.
    """
    text = " ".join(folded(text).split())
    return text.lstrip(_QUOTES + " ").rstrip(_QUOTES + _SENTENCE_MARKS + " ")


def has_chinese(text: str) -> bool:
    """Whether any Han character is in the text."""
    return bool(_HAN.search(text))


def fenced(text: str) -> list[str]:
    """What stands inside the ``` fences of a Markdown text."""
    return [found[1].strip() for found in _FENCE.finditer(text)]


def unfenced(text: str) -> str:
    """The text without the one fence that is all around it, if there is one; without white space at its ends."""
    inside = _FENCE.fullmatch(text.strip())
    return (inside[1] if inside else text).strip()
