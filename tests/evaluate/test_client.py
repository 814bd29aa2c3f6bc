"""How long to wait before asking again, what is no answer, and what is sent along."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.errors import BadInputError
from locum.evaluate.chat import stream_answer
from locum.evaluate.client import Patience, ask, pause, post, retry_after, session
from locum.evaluate.endpoint import read_endpoint
from tests.chat import FakeModel

PATIENCE = Patience(backoff_s=0.5, backoff_cap_s=20, retry_after_cap_s=60)


@given(st.integers(1, 30))
def test_the_wait_doubles_up_to_a_cap_with_up_to_a_half_left_to_chance(attempt: int) -> None:
    full = min(20, 0.5 * 2 ** (attempt - 1))
    assert full / 2 <= pause(attempt, None, PATIENCE) <= full


def test_what_the_server_asks_for_wins_up_to_a_cap() -> None:
    assert pause(1, 7.0, PATIENCE) == 7.0
    assert pause(1, 0.0, PATIENCE) > 0  # or all attempts would be over at once
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


class _Stopped(FakeModel):
    """Is stopped while it gives its first answer, as vLLM says it."""

    def says(self, body: dict[str, Any]) -> str:
        self.finish_reason = "stop" if len(self.requests) > 1 else "abort"
        return "the whole answer" if self.finish_reason == "stop" else "the wh"


async def test_an_answer_that_the_server_broke_off_is_asked_again() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
    patience = Patience(attempts=2, backoff_s=0.01)
    with _Stopped("m").answering() as model:
        async with session(model.url, "", 1) as client:
            reply = await ask(client, model.url, body, timed=False, patience=patience, on_retry=lambda: None)
    assert (reply.text, reply.finish_reason, reply.attempts) == ("the whole answer", "stop", 2)
    with _Stopped("m").answering() as model:
        async with session(model.url, "", 1) as client:
            said = await post(client, model.url, "/chat/completions", body, patience=patience, on_retry=lambda: None)
    assert said["choices"][0]["message"]["content"] == "the whole answer"


@pytest.mark.parametrize("key", ["secret\n", "sécret"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    for send in (
        lambda: session("http://127.0.0.1:1/v1", key, 1),
        lambda: read_endpoint("http://127.0.0.1:1/v1", api_key=key),
        lambda: list(stream_answer("http://127.0.0.1:1/v1", key, model="m", system=None, question="?", max_tokens=1)),
    ):
        with pytest.raises(BadInputError, match=r"^the API key holds a line end or") as caught:
            send()
        assert "cret" not in str(caught.value)
