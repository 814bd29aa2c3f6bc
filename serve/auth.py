"""Bearer tokens: who may ask, and who may administer."""

from __future__ import annotations

import hmac

from locum.errors import UnauthorizedError


def require_token(authorization: str | None, accepted: list[str], *, what_for: str) -> None:
    """Check an `Authorization` header against the accepted tokens, in constant time.

    Raises:
        UnauthorizedError: there is no bearer token, or not one of `accepted`.
    """
    scheme, _, token = (authorization or "").partition(" ")
    matches = [hmac.compare_digest(token.strip().encode(), other.encode()) for other in accepted]
    if scheme.lower() != "bearer" or not any(matches):
        found = "the token is not the right one" if token else "there is no bearer token"
        raise UnauthorizedError(f"{what_for} needs the header `Authorization: Bearer TOKEN`; {found}")
