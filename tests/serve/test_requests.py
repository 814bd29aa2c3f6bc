"""A request has one id everywhere, and one outcome."""

from __future__ import annotations

import asyncio
import logging

import pytest

from locum.serve.answer_ids import AnswerIds
from locum.serve.requests import Asked, accounted, of_engine

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
    with pytest.raises(error), accounted(None, "legal@1", version_id=3, ids=IDS, path="/", log=True):
        raise error
    logging.getLogger("vllm.locum.request").removeHandler(caplog.handler)
    assert caplog.records[-1].__dict__["outcome"] == outcome


@pytest.mark.parametrize("engine_id", ["chatcmpl-{}", "cmpl-{}-0", "cmpl-{}-11", "resp-{}"])
@pytest.mark.parametrize("wanted", ["visit-7", "7", "a.b:c_d-1-2"])
def test_a_request_is_found_by_what_vllm_calls_it_while_it_runs(engine_id: str, wanted: str) -> None:
    with accounted(wanted, "legal@1", version_id=3, ids=IDS, path="/", log=False) as request:
        assert request.id == wanted
        assert of_engine(engine_id.format(wanted)) is request
    assert of_engine(engine_id.format(wanted)) is None


@pytest.mark.parametrize("wanted", [None, "", "two words", "x" * 129, "sly\nline"])
def test_an_id_that_is_none_is_replaced(wanted: str | None) -> None:
    with accounted(wanted, "legal@1", version_id=3, ids=IDS, path="/", log=False) as request:
        assert IDS.version_id(request.id) == 3


def test_an_id_that_runs_already_is_replaced() -> None:
    with (
        accounted("same", "a@1", version_id=3, ids=IDS, path="/", log=False),
        accounted("same", "b@1", version_id=3, ids=IDS, path="/", log=False) as second,
    ):
        assert second.id != "same"


def test_an_earlier_answers_id_is_replaced_so_that_no_answer_claims_another_version() -> None:
    with accounted(None, "a@1", version_id=1, ids=IDS, path="/", log=False) as first:
        pass
    with accounted(first.id, "b@1", version_id=2, ids=IDS, path="/", log=False) as second:
        assert second.id != first.id
        assert IDS.version_id(second.id) == 2
