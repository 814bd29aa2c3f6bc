"""What two texts must share to count as the same: normalisation and tokens, common to the metrics."""

from __future__ import annotations

import re
import unicodedata

_QUOTES = "\"'`*_“”‘’„‚«»‹›「」『』《》〈〉"
_SENTENCE_MARKS = ".,;:!?…。、"

# Scripts written without spaces: Han with its extensions, Hiragana and Katakana.
_SINGLE = re.compile(
    r"([\u3005\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)
_HAN = re.compile(r"[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_STRAIGHT = str.maketrans("‘’‚“”„", "'''\"\"\"")
_FENCE = re.compile(r"```[^\S\n]*[\w+-]*[^\S\n]*\n((?:(?!```).)*?)\n?[^\S\n]*```", re.DOTALL)


def normalise(text: str) -> str:
    """Text without what does not change an answer.

    In this order: Unicode NFKC (full-width to plain, composed accents); case folded; runs of white space to one space;
    white space, quotation marks and Markdown's ` * _ removed from both ends, and sentence marks . , ; : ! ? 。 、 from
    the right end. Everything else stays: articles, inner punctuation, signs, brackets, percent and currency, so that
    `-5` and `5`, `(5)` and `5`, `5 %` and `5`, `.5` and `5` remain different answers.
    """
    text = " ".join(_folded(text).split())
    return text.lstrip(_QUOTES + " ").rstrip(_QUOTES + _SENTENCE_MARKS + " ")


def tokens(text: str) -> list[str]:
    """Words of a text: NFKC, case folded, then runs of letters, digits and combining marks.

    A Chinese character or a Japanese kana is a token by itself. On ASCII text this is what `rouge_score` does by
    default; unlike it, letters beyond a-z count.
    """
    text = spaced(_folded(text))
    return "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in text).split()


def spaced(text: str) -> str:
    """The text with spaces around each Chinese character and each kana, so that whoever splits at spaces finds them."""
    return _SINGLE.sub(r" \1 ", text)


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


def contains(text: str, phrase: str) -> bool:
    """Whether the words of a phrase stand in a text one after the other; case, width and punctuation do not matter."""
    wanted = tokens(phrase)
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(tokens(text))} "


def plain(text: str) -> str:
    """Text for patterns that people write: NFKC, straight quotation marks, runs of white space to one space."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_STRAIGHT).split())


def _folded(text: str) -> str:
    """NFKC and case folded; once more NFKC, because folding can take some letters apart again."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
