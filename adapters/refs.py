"""How a version is named: `medical`, `medical@3`, `medical@candidate`, `medical@previous`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from locum.errors import BadInputError

PRODUCTION = "production"
CANDIDATE = "candidate"
PREVIOUS = "previous"
ALIASES = (PRODUCTION, CANDIDATE, PREVIOUS)

_REF = re.compile(rf"(?P<domain>[a-z][a-z0-9_-]{{0,62}})(?:@(?P<at>[1-9][0-9]{{0,8}}|{'|'.join(ALIASES)}))?")


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


def parse_ref(text: str) -> Ref:
    """Read a version name.

    Raises:
        BadInputError: not of the form `domain`, `domain@NUMBER` or `domain@ALIAS`.
    """
    match = _REF.fullmatch(text)
    if match is None:
        raise BadInputError(
            f"{text!r} is not a version name; expected DOMAIN, DOMAIN@NUMBER, DOMAIN@candidate or DOMAIN@previous"
        )
    at = match["at"]
    if at is None:
        return Ref(match["domain"], alias=PRODUCTION)
    if at.isdigit():
        return Ref(match["domain"], number=int(at))
    return Ref(match["domain"], alias=at)
