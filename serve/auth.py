"""Tokens: who may ask, and who may administer."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence

from locum.errors import UnauthorizedError


def tokens_of(headers: Mapping[str, str]) -> list[str]:
    """The tokens that a request brings: as OpenAI's clients send one, and as Anthropic's do (`x-api-key`)."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    tokens = [bearer.strip() if scheme.lower() == "bearer" else "", headers.get("x-api-key", "")]
    return [token for token in tokens if token]


def require_token(tokens: Sequence[str], accepted: Sequence[str], *, what_for: str) -> None:
    """Check what a request brings against the accepted tokens, in constant time.

    Raises:
        UnauthorizedError: it brings none of `accepted`.
    """
    matches = [hmac.compare_digest(token.encode(), other.encode()) for token in tokens for other in accepted]
    if not any(matches):
        found = "the token is not the right one" if tokens else "there is no token"
        raise UnauthorizedError(
            f"{what_for} needs the header `Authorization: Bearer TOKEN` or `x-api-key: TOKEN`; {found}"
        )
