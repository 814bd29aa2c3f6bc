"""Who gets no new requests, so that whoever has waited for an adapter's place gets one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from vllm import SamplingParams
from vllm.lora.request import LoRARequest
from vllm.v1.request import Request

from locum.serve.scheduler import PATIENCE_SECONDS, adapter_of, to_drain

NOW = 1000.0
LATE = NOW - 2 * PATIENCE_SECONDS


def request(adapter: int, arrival: float = NOW) -> Request:
    """A request as vLLM's engine has it; adapter 0 is the base model."""
    lora = LoRARequest(lora_name=f"a@{adapter}", lora_int_id=adapter, lora_path="/somewhere") if adapter else None
    return Request(
        request_id=f"{adapter}-{arrival}",
        prompt_token_ids=[1],
        sampling_params=SamplingParams(max_tokens=1),
        pooling_params=None,
        arrival_time=arrival,
        lora_request=lora,
    )


def drained(running: list[Request], waiting: list[Request], draining: tuple[int, ...] = ()) -> dict[int, float]:
    return to_drain(running, waiting, places=2, draining=draining, now=NOW)


def test_nothing_is_drained_while_a_place_is_free() -> None:
    assert drained([request(1), request(1), request(0)], [request(3, LATE)]) == {}


def test_nothing_is_drained_for_who_has_not_waited_long_or_has_a_place_or_needs_none() -> None:
    running = [request(1), request(2)]
    assert drained(running, [request(3, NOW - PATIENCE_SECONDS / 2), request(2, LATE), request(0, LATE)]) == {}


def test_the_adapter_with_the_fewest_requests_is_drained_for_who_has_waited_longest() -> None:
    running = [request(1), request(1), request(2)]
    assert drained(running, [request(3, LATE), request(3, LATE - 1), request(0, LATE - 9)]) == {2: LATE - 1}


def test_one_adapter_is_drained_for_each_that_waits() -> None:
    waiting = [request(number, LATE - number) for number in (3, 4, 5)]
    assert drained([request(1), request(1), request(2)], waiting) == {2: LATE - 5, 1: LATE - 4}


def test_what_drains_goes_on_to_drain() -> None:
    running = [request(1), request(1), request(2)]
    assert drained(running, [request(3, LATE)], draining=(1,)) == {1: LATE}


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(0, NOW))),
    st.lists(st.tuples(st.integers(0, 5), st.floats(0, NOW))),
    st.integers(1, 4),
)
def test_only_running_adapters_are_drained_and_never_more_than_wait_for_a_place(
    running: list[tuple[int, float]], waiting: list[tuple[int, float]], places: int
) -> None:
    runs, waits = ([request(*each) for each in them] for them in (running, waiting))
    found = to_drain(runs, waits, places=places, draining=(), now=NOW)
    active = {adapter_of(each) for each in runs} - {0}
    assert set(found) <= active
    assert len(found) <= len({adapter_of(each) for each in waits} - active - {0})
    assert bool(found) <= (len(active) >= places)
    assert all(NOW - arrival > PATIENCE_SECONDS for arrival in found.values())
