"""vLLM's scheduler, made fair between adapters.

A batch holds at most `max_loras` adapters. vLLM passes over a waiting request whose adapter would be one too many and
goes on with later ones whose adapter is running: while these keep coming, the first waits for ever. Here, when a
request has waited for a moment, one of the running adapters gets no new requests until its own have ended, and its
place is free. SGLang calls this draining (https://github.com/sgl-project/sglang/pull/15129).

vLLM takes a scheduler by name (`--scheduler-cls locum.serve.scheduler.fair_scheduler`), but its interface is not
promised to last: tests/serve/test_vllm_internals.py says so when what is used here changes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.request_queue import SchedulingPolicy
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import RequestStatus

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.v1.request import Request

PATIENCE_SECONDS = 0.25  # that a request may be passed over: long enough to fill batches, too short to be noticed


def fair_scheduler(vllm_config: VllmConfig, **options: Any) -> Scheduler:
    """The scheduler that vLLM would take for this configuration, made fair."""
    kind = FairAsyncScheduler if vllm_config.scheduler_config.async_scheduling else FairScheduler
    return kind(vllm_config=vllm_config, **options)


def to_drain(
    running: Iterable[Request], waiting: Iterable[Request], *, places: int, draining: Collection[int], now: float
) -> dict[int, float]:
    """Adapters that get no new requests, each with the arrival of the request that waits for its place.

    Args:
        places: how many adapters a batch may hold.
        draining: adapters that were chosen a step before; they stay chosen.
        now: in seconds since the epoch, as arrivals are.
    """
    active = Counter(adapter for request in running if (adapter := adapter_of(request)))
    if len(active) < places:
        return {}
    arrivals: dict[int, float] = {}  # the first arrival for each adapter that has no place
    for request in waiting:
        if (adapter := adapter_of(request)) and adapter not in active:
            arrivals[adapter] = min(request.arrival_time, arrivals.get(adapter, request.arrival_time))
    impatient = sorted(arrival for arrival in arrivals.values() if now - arrival > PATIENCE_SECONDS)
    # those with the fewest requests are done the soonest
    chosen = sorted(active, key=lambda adapter: (adapter not in draining, active[adapter], adapter))
    return dict(zip(chosen, impatient, strict=False))


def adapter_of(request: Request) -> int:
    """The id of a request's adapter; 0 for the base model."""
    return request.lora_request.lora_int_id if request.lora_request else 0


class _Fair:
    """Goes before one of vLLM's schedulers in a class's bases."""

    _draining: Mapping[int, float] = MappingProxyType({})

    def schedule(self, *args: Any, **options: Any) -> Any:
        # With priorities, whoever has the higher one would take the place again as soon as it is free.
        if self.lora_config and self.policy is SchedulingPolicy.FCFS:  # type: ignore[attr-defined]
            self._draining = to_drain(
                self.running,  # type: ignore[attr-defined]
                self.waiting,  # type: ignore[attr-defined]
                places=self.lora_config.max_loras,  # type: ignore[attr-defined]
                draining=self._draining,
                now=time.time(),
            )
        return super().schedule(*args, **options)  # type: ignore[misc]

    def _handle_blocked_waiting_request(self, request: Request) -> bool:
        """Whether a waiting request may begin; vLLM asks this of each, and passes over those that may not."""
        before = self._draining.get(adapter_of(request))
        # who came before, or has begun already, has the older right to the place
        if before is not None and request.arrival_time > before and request.status != RequestStatus.PREEMPTED:
            return False
        return bool(super()._handle_blocked_waiting_request(request))  # type: ignore[misc]


class FairScheduler(_Fair, Scheduler):  # type: ignore[misc]
    """For engines that schedule a step when the one before has ended, as those on CPUs do."""


class FairAsyncScheduler(_Fair, AsyncScheduler):  # type: ignore[misc]
    """For engines that schedule ahead."""
