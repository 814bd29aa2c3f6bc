"""The requests that run now, by the id that the answer's header, the log, vLLM's statistics and its traces carry."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from locum.serve import metrics
from locum.serve.answer_ids import AnswerIds

logger = logging.getLogger("vllm.locum.request")

REQUEST_ID = "x-request-id"
ACCEPTED = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_in_flight: dict[str, Asked] = {}


@dataclass
class Asked:
    """One request: what answers it (`medical@3` or the base model's name), and how that went.

    `status` is the answer's, None before it begins; the tokens are vLLM's count, known when it is done.
    """

    id: str
    name: str
    status: int | None = None
    finished: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def outcome(self) -> str:
        """`ok`, `refused` (4xx), `failed` (5xx), or `aborted`: the client left before the answer's end."""
        if not self.finished:
            return "aborted" if self.status in {None, 200} else "failed"
        assert self.status is not None
        return "failed" if self.status >= 500 else "refused" if self.status >= 400 else "ok"


@contextmanager
def accounted(
    wanted_id: str | None, name: str, *, version_id: int, ids: AnswerIds, path: str, log: bool
) -> Iterator[Asked]:
    """A request while it runs; at its end it is counted and, with `log`, told in one line: no word of what was said.

    It gets the id that its client wants, if that is one, no other has it now, and it is not an earlier answer's: that
    would say that another version spoke. Else it gets a new one of `ids`.
    """
    taken = wanted_id is None or not ACCEPTED.fullmatch(wanted_id) or wanted_id in _in_flight
    if wanted_id is None or taken or ids.version_id(wanted_id) is not None:
        wanted_id = ids.new(version_id)
    request = Asked(wanted_id, name)
    _in_flight[request.id] = request
    started = time.perf_counter()
    try:
        yield request
    except Exception:
        request.status = 500
        raise
    finally:
        del _in_flight[request.id]
        metrics.count_request(name, request.outcome)
        if log:
            domain, version = metrics.labels_of(name)
            fields = {
                "request_id": request.id,
                "path": path,
                "domain": domain,
                "version": version,
                "outcome": request.outcome,
                "status": request.status,
                "seconds": round(time.perf_counter() - started, 4),
                "prompt_tokens": request.prompt_tokens,
                "completion_tokens": request.completion_tokens,
            }
            logger.info("request", extra=fields)


def names(name: str) -> bool:
    """Whether a request runs that this version answers."""
    return any(request.name == name for request in _in_flight.values())


def of_engine(engine_id: str | None) -> Asked | None:
    """The running request that vLLM knows as `chatcmpl-ID` or, one prompt of a completion, as `cmpl-ID-0`."""
    found = (engine_id or "").partition("-")[2]
    return _in_flight.get(found) or _in_flight.get(found.rpartition("-")[0])
