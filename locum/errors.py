"""The one exception tree. Each error knows its exit code, its HTTP status and what the user can do.

Exit codes: 0 fine, 1 a gate or check failed, 2 wrong use, 3 the environment
(server not reachable, model or package missing).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class LocumError(Exception):
    """Any failure that Locum explains. `str(error)` is one sentence: what, found, expected.

    `hint` says what to do next, where there is something to do; `param` names the field of a request that is wrong.
    `headers` go with an HTTP answer.
    """

    exit_code: int = 1
    http_status: int = 500
    type: str = "InternalServerError"
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, message: str, *, hint: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.param = param


class BadInputError(LocumError):
    """The user gave something that cannot be right: a wrong card, a malformed row, a bad name."""

    exit_code = 2
    http_status = 400
    type = "BadRequestError"


class NotFoundError(BadInputError):
    """What was named does not exist: a domain, a version, an alias, a suite."""

    http_status = 404
    type = "NotFoundError"


class ConflictError(BadInputError):
    """It exists, but its state forbids this: deleting the version in production, a changed artifact."""

    http_status = 409
    type = "ConflictError"


class UnauthorizedError(BadInputError):
    """No bearer token, or the wrong one."""

    http_status = 401
    type = "AuthenticationError"
    headers = MappingProxyType({"www-authenticate": "Bearer"})


class CheckFailedError(LocumError):
    """A check that was asked for did not hold: a probe, an artifact's digest, a leak between splits."""

    exit_code = 1
    http_status = 409
    type = "CheckFailedError"


class GateError(CheckFailedError):
    """A release was refused: evidence is missing or the gate failed."""

    type = "GateError"


class UnavailableError(LocumError):
    """The environment: a server that does not answer, a model or a package that is not there.

    `retry_after` is what an HTTP client is told: in how many seconds it may be otherwise.
    """

    retry_after = 10
    exit_code = 3
    http_status = 503
    type = "ServiceUnavailableError"

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        return {"retry-after": str(self.retry_after)}


class UnservableError(UnavailableError):
    """A server that cannot answer this for as long as it runs: asking again is no use, restarting it may be.

    No status at which clients ask again by themselves, as OpenAI's do at 409 and from 500 on.
    """

    http_status = 422
    type = "UnservableError"

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        return {"x-should-retry": "false"}


class StoreError(UnavailableError):
    """The artifact store does not answer."""


class DiskFullError(UnavailableError):
    """There is no room for a file."""


class OutOfMemoryError(UnavailableError):
    """The machine has too little memory for what was asked."""
