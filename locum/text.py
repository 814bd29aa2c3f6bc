"""Words of messages that all parts share."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

SHORTEST = 3  # characters by which a name is known that begins with them
LONGEST = 200  # characters of a name that is compared


def closest(name: str, known: Iterable[str], *, least: float = 0.6) -> str | None:
    """The known name that was probably meant, whatever the case of its letters; None where none is near.

    It is the one that is most like it, or else the only one that begins with it.

    Args:
        least: how alike they must be, from 0 to 1, by Ratcliff and Obershelp (`difflib`).
    """
    if len(name) > LONGEST:  # whoever may ask a server may send it a megabyte
        return None
    folded = {each.casefold(): each for each in known}
    meant = name.casefold()
    near = get_close_matches(meant, folded, n=1, cutoff=least)
    if not near and len(meant) >= SHORTEST:
        near = [each for each in folded if each.startswith(meant)]
    return folded[near[0]] if len(near) == 1 else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`: did you mean courts?`, to follow the sentence that refuses a name; nothing where none is near."""
    near = closest(name, known)
    return "" if near is None else f": did you mean {near}?"


def alternatives(name: str, known: Iterable[str], *, there_are: str = "there are") -> str:
    """What follows a sentence that refuses a name: the one that was probably meant, then all that there are."""
    known = list(known)
    return f"{did_you_mean(name, known)} ({there_are}: {', '.join(known) or 'none'})"


def expected_one_of(name: str, known: Iterable[str]) -> str:
    """What follows an option and a value that it cannot have: the one that was probably meant, then all."""
    known = list(known)
    all_of_them = f"expected one of {', '.join(known)}"
    near = did_you_mean(name, known)
    return f"{near} ({all_of_them})" if near else f": {all_of_them}"
