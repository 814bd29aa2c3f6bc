"""Errors of HTTP itself, and errors in the format of the API that was asked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from locum.errors import BadInputError, LocumError

# https://docs.anthropic.com/en/api/errors
ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class MethodNotAllowedError(BadInputError):
    """The path is there, but not for this method."""

    http_status = 405
    type = "MethodNotAllowedError"

    def __init__(self, message: str, *, allowed: Iterable[str]) -> None:
        super().__init__(message)
        self.headers = {"allow": ", ".join(sorted(allowed))}


class TooSlowError(BadInputError):
    """A body that does not arrive in time. Its connection is of no use any more."""

    http_status = 408
    type = "RequestTimeoutError"
    headers = MappingProxyType({"connection": "close"})


class TooLargeError(BadInputError):
    """A body beyond what the route could need. The rest of it is not read."""

    http_status = 413
    type = "RequestTooLargeError"


class MediaTypeError(BadInputError):
    """A body that is not JSON by its headers."""

    http_status = 415
    type = "UnsupportedMediaTypeError"


def error_response(error: LocumError, *, anthropic: bool = False) -> JSONResponse:
    """An error in the format of OpenAI's API, or of Anthropic's."""
    message = f"{error}" if error.hint is None else f"{error} ({error.hint})"
    if anthropic:
        content = anthropic_error(message, error.http_status)
    else:
        content = {"error": {"message": message, "type": error.type, "param": error.param, "code": error.http_status}}
    return JSONResponse(content, status_code=error.http_status, headers=dict(error.headers))


def anthropic_error(message: str, status: int) -> dict[str, object]:
    """https://docs.anthropic.com/en/api/errors#error-shapes"""
    kind = ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def as_anthropic_error(body: bytes, status: int) -> bytes:
    """vLLM's error, in whichever format, in Anthropic's."""
    try:
        error = json.loads(body)["error"]
        message = str(error["message"])
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace")
    return json.dumps(anthropic_error(message, status)).encode()


async def explain(request: Request, error: Exception) -> Response:
    """FastAPI's handler for Locum's own errors."""
    assert isinstance(error, LocumError)
    return error_response(error)
