"""How a version is named: `medical`, `medical@3`, `medical@candidate`, `medical@previous`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from locum.errors import BadInputError
from locum.text import closest

PRODUCTION = "production"
CANDIDATE = "candidate"
PREVIOUS = "previous"
ALIASES = (PRODUCTION, CANDIDATE, PREVIOUS)

_REF = re.compile(rf"(?P<domain>[a-z][a-z0-9_-]{{0,62}})(?:@(?P<at>[1-9][0-9]{{0,8}}|{'|'.join(ALIASES)}))?")

_LOOSE = re.compile(
    r"(?P<domain>[a-z][a-z0-9_-]*)(?:\s*[@:#/.\s]\s*(?:v?0*(?P<number>[1-9][0-9]*)|(?P<alias>[a-z]+)))?"
)


@dataclass(frozen=True)
class Ref:
    """A parsed name. Exactly one of `number` and `alias` is set; a bare domain means production."""

    domain: str
    number: int | None = None
    alias: str | None = None

    def __str__(self) -> str:
        if self.number is not None:
            return f"{self.domain}@{self.number}"
        return self.domain if self.alias == PRODUCTION else f"{self.domain}@{self.alias}"


def _meant(text: str) -> str | None:
    """The version name that somebody wrote otherwise: `medical:1`, `Medical@v1`, `medical@candidat`."""
    match = _LOOSE.fullmatch(text.strip().lower())
    if match is None:
        return None
    at = match["number"] or closest(match["alias"] or "", ALIASES)
    if at is None and (match["number"] or match["alias"]) is not None:
        return None
    meant = f"{match['domain']}@{at}" if at else match["domain"]
    return meant if _REF.fullmatch(meant) else None


def parse_ref(text: str) -> Ref:
    """Read a version name.

    Raises:
        BadInputError: not of the form `domain`, `domain@NUMBER` or `domain@ALIAS`.
    """
    match = _REF.fullmatch(text)
    if match is None:
        meant = _meant(text)
        raise BadInputError(
            f"{text!r} is not a version name; expected DOMAIN, DOMAIN@NUMBER, DOMAIN@candidate or DOMAIN@previous",
            hint=f"did you mean {meant}?" if meant else None,
        )
    at = match["at"]
    if at is None:
        return Ref(match["domain"], alias=PRODUCTION)
    if at.isdigit():
        return Ref(match["domain"], number=int(at))
    return Ref(match["domain"], alias=at)
