"""The parts of the door that need no server: tokens and bodies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.errors import UnauthorizedError
from locum.serve.auth import require_token
from locum.serve.door import MAX_BODY_BYTES, TooLargeError, read_body
from locum.serve.feedback import MAX_BYTES


@given(st.text())
def test_no_header_but_the_right_token_opens(header: str) -> None:
    with pytest.raises(UnauthorizedError):
        require_token(header, ["right-token"], what_for="this route")


@pytest.mark.parametrize("header", ["Bearer one", "bearer two"])
def test_any_of_the_accepted_tokens_opens(header: str) -> None:
    require_token(header, ["one", "two"], what_for="this route")


def test_an_empty_accepted_token_does_not_open_for_an_empty_header() -> None:
    with pytest.raises(UnauthorizedError):
        require_token("Bearer ", ["right"], what_for="this route")
    with pytest.raises(UnauthorizedError):
        require_token(None, ["right"], what_for="this route")


@pytest.mark.parametrize(("limit", "said"), [(MAX_BODY_BYTES, "64 MiB"), (MAX_BYTES, "256 KiB")])
async def test_a_body_that_is_too_large_is_told_the_limit_in_the_unit_that_it_is_given_in(
    limit: int, said: str
) -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": bytes(limit // 2), "more_body": True}

    with pytest.raises(TooLargeError, match=f"^the request has more than {said}$"):
        await read_body(receive, limit=limit)
