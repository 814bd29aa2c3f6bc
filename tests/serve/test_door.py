"""The parts of the door that need no server: tokens and bodies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.errors import UnauthorizedError
from locum.serve.auth import require_token


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
