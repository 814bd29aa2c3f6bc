"""A request has one id everywhere, and one outcome."""

from __future__ import annotations

import asyncio
import logging
from contextvars import copy_context

import pytest

from locum.serve.answer_ids import AnswerIds
from locum.serve.requests import AnotherVersionError, Asked, accounted, admit, count_finished, probing

IDS = AnswerIds(bytes(32))


@pytest.mark.parametrize(
    ("status", "finished", "outcome"),
    [
        (200, True, "ok"),
        (400, True, "refused"),
        (503, True, "failed"),
        (200, False, "aborted"),  # in the middle of a stream
        (None, False, "aborted"),  # before the answer began
        (500, False, "failed"),
    ],
)
def test_the_outcome_is_the_status_unless_the_client_left(status: int | None, finished: bool, outcome: str) -> None:
    assert Asked("id", "legal@1", status=status, finished=finished).outcome == outcome


@pytest.mark.parametrize(("error", "outcome"), [(ValueError, "failed"), (asyncio.CancelledError, "aborted")])
def test_a_request_that_ends_in_an_error_has_failed_and_one_that_is_cancelled_was_aborted(
    error: type[BaseException], outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vllm.locum.request")
    logging.getLogger("vllm.locum.request").addHandler(caplog.handler)  # vLLM's loggers do not propagate
    with pytest.raises(error), accounted(None, "legal@1", version_id=3, ids=IDS, path="/", generates=True, log=True):
        raise error
    logging.getLogger("vllm.locum.request").removeHandler(caplog.handler)
    assert caplog.records[-1].__dict__["outcome"] == outcome


def test_tokens_are_those_of_the_request_that_ran_when_the_engine_was_asked() -> None:
    with accounted(None, "legal@1", version_id=3, ids=IDS, path="/", generates=True, log=False) as request:
        admit("one", "legal@1", sequences=2)
        admit("two", "legal@1", sequences=1)
        for engine_id in ("one", "two", "one"):
            assert count_finished(engine_id, prompt=4, completion=3) is request
    assert (request.prompt_tokens, request.completion_tokens) == (12, 9)
    assert count_finished("one", prompt=4, completion=3) is None


async def test_tokens_that_come_after_the_answers_end_are_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vllm.locum.request")
    logging.getLogger("vllm.locum.request").addHandler(caplog.handler)
    with accounted(None, "legal@1", version_id=3, ids=IDS, path="/", generates=True, log=True) as request:
        admit("late", "legal@1", sequences=1)
        request.status, request.finished = 200, True
    assert caplog.records == []
    count_finished("late", prompt=4, completion=3)
    logging.getLogger("vllm.locum.request").removeHandler(caplog.handler)
    assert {record.__dict__["completion_tokens"] for record in caplog.records} == {3}


def test_another_version_than_the_one_that_was_resolved_is_refused_and_the_id_vouches_for_nothing() -> None:
    with accounted(None, "legal@1", version_id=3, ids=IDS, path="/", generates=True, log=False) as request:
        with pytest.raises(AnotherVersionError, match=r"asked for legal@2, the door resolved legal@1"):
            admit("one", "legal@2", sequences=1)
        assert IDS.version_id(request.id) is None


def test_what_no_request_asks_is_refused_but_for_probes() -> None:
    with pytest.raises(AnotherVersionError):
        admit("nobody's", "legal@1", sequences=1)
    with probing():
        admit("a probe", "legal@1", sequences=1)
    assert count_finished("a probe", prompt=1, completion=1) is None


def test_a_request_that_has_ended_asks_nothing_more() -> None:
    with accounted(None, "legal@1", version_id=3, ids=IDS, path="/", generates=True, log=False):
        later = copy_context()
    with pytest.raises(AnotherVersionError):
        later.run(admit, "in the background", "legal@1", sequences=1)


def test_what_generates_no_answer_has_an_id_that_vouches_for_nothing() -> None:
    with accounted(None, "legal@1", version_id=3, ids=IDS, path="/tokenize", generates=False, log=False) as request:
        assert len(request.id) == 40
        assert IDS.version_id(request.id) is None


@pytest.mark.parametrize("wanted", [None, "", "two words", "x" * 129, "sly\nline"])
def test_an_id_that_is_none_is_replaced(wanted: str | None) -> None:
    with accounted(wanted, "legal@1", version_id=3, ids=IDS, path="/", generates=True, log=False) as request:
        assert IDS.version_id(request.id) == 3


def test_an_id_that_runs_already_is_replaced() -> None:
    with (
        accounted("same", "a@1", version_id=3, ids=IDS, path="/", generates=True, log=False),
        accounted("same", "b@1", version_id=3, ids=IDS, path="/", generates=True, log=False) as second,
    ):
        assert second.id != "same"


def test_an_earlier_answers_id_is_replaced_so_that_no_answer_claims_another_version() -> None:
    with accounted(None, "a@1", version_id=1, ids=IDS, path="/", generates=True, log=False) as first:
        pass
    with accounted(first.id, "b@1", version_id=2, ids=IDS, path="/", generates=True, log=False) as second:
        assert second.id != first.id
        assert IDS.version_id(second.id) == 2
