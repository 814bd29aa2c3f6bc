"""How long to wait before asking again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.evaluate.client import Patience, pause, retry_after, session

PATIENCE = Patience(backoff_s=0.5, backoff_cap_s=20, retry_after_cap_s=60)


@given(st.integers(1, 30))
def test_the_wait_doubles_up_to_a_cap_with_up_to_a_half_left_to_chance(attempt: int) -> None:
    full = min(20, 0.5 * 2 ** (attempt - 1))
    assert full / 2 <= pause(attempt, None, PATIENCE) <= full


def test_what_the_server_asks_for_wins_up_to_a_cap() -> None:
    assert pause(1, 7.0, PATIENCE) == 7.0
    assert pause(9, 0.0, PATIENCE) == 0.0
    assert pause(1, 3600.0, PATIENCE) == 60


@pytest.mark.parametrize(("header", "seconds"), [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), (None, None), ("soon", None)])
def test_retry_after_in_seconds(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_retry_after_as_a_date() -> None:
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=30)
    before = datetime.now(UTC)
    found = retry_after(format_datetime(later, usegmt=True))
    assert found is not None
    assert later - datetime.now(UTC) <= timedelta(seconds=found) <= later - before
    assert retry_after(format_datetime(later - timedelta(hours=1), usegmt=True)) == 0.0


def test_retry_after_that_is_not_a_number_of_seconds_is_passed_over() -> None:
    assert retry_after("nan") is None
    assert retry_after("inf") is None


async def test_the_proxy_that_the_environment_names_is_used_except_where_it_says_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with session("http://models.example/v1", "", 1) as outside, session("http://127.0.0.1/v1", "", 1) as here:
        assert str(outside._default_proxy) == "http://proxy.example:3128"
        assert here._default_proxy is None
