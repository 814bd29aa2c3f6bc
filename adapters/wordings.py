"""Whether a text has what a card asks for: the same answer for whoever measures answers and whoever serves them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from locum.adapters.compliance import pattern_of

# Scripts written without spaces: Han with its extensions, Hiragana and Katakana.
_SINGLE = re.compile(
    r"([\u3005\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)
_HEADER_SAFE = " !#$&'()*+,/:;=?@[]^_`{|}~"
_STRAIGHT = str.maketrans("‘’‚“”„", "'''\"\"\"")


def lacking(text: str, notices: Sequence[Sequence[str]]) -> list[str]:
    """The notices that a text does not have, each in its first wording. It has one if it has one of its wordings."""
    return [wordings[0] for wordings in notices if not any(says(text, wording) for wording in wordings)]


def joined(notices: Iterable[str]) -> str:
    """Notices as they stand below an answer, a paragraph each."""
    return "\n\n".join(notices)


def in_header(notices: Iterable[str]) -> str:
    """Notices as the value of an HTTP header: percent-encoded UTF-8, as URLs have it; plain ASCII stays readable."""
    return quote(joined(notices).strip(), safe=_HEADER_SAFE)


def says(text: str, wording: str) -> bool:
    """Whether a text has a card's wording: a phrase word by word, or a `/pattern/` anywhere, in any case of letters.

    A pattern is looked for in the text as it stands and in its `plain` form.
    """
    pattern = pattern_of(wording)
    if pattern is None:
        return contains(text, wording)
    return any(re.search(pattern, form, re.IGNORECASE) for form in (text, plain(text)))


def contains(text: str, phrase: str) -> bool:
    """Whether the words of a phrase stand in a text one after the other; case, width and punctuation do not matter."""
    wanted = tokens(phrase)
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(tokens(text))} "


def tokens(text: str) -> list[str]:
    """Words of a text: NFKC, case folded, then runs of letters, digits and combining marks.

    A Chinese character or a Japanese kana is a token by itself. On ASCII text this is what `rouge_score` does by
    default; unlike it, letters beyond a-z count.
    """
    text = spaced(folded(text))
    return "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in text).split()


def spaced(text: str) -> str:
    """The text with spaces around each Chinese character and each kana, so that whoever splits at spaces finds them."""
    return _SINGLE.sub(r" \1 ", text)


def plain(text: str) -> str:
    """Text for patterns that people write: NFKC, straight quotation marks, runs of white space to one space."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_STRAIGHT).split())


def folded(text: str) -> str:
    """NFKC and case folded; once more NFKC, because folding can take some letters apart again."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
