"""The requests that run now, by the id that the answer's header, the log, vLLM's statistics and its traces carry.

Whatever reaches the engine belongs to one of them, or is a probe of Locum's own: `admit` is asked before the engine
is, and refuses the rest. So nothing is answered by another version than the one that the door resolved, or without an
account.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from locum.errors import LocumError
from locum.serve import metrics
from locum.serve.answer_ids import AnswerIds, unsigned

logger = logging.getLogger("vllm.locum.request")

REQUEST_ID = "x-request-id"
ACCEPTED = re.compile(r"[A-Za-z0-9._:-]{1,128}")
SETTLE_SECONDS = 5.0  # vLLM's statistics of a request come a moment after, or before, its last words
_in_flight: dict[str, Asked] = {}
_of_engine: dict[str, Asked] = {}  # by what vLLM calls it
_current: ContextVar[Asked | None] = ContextVar("locum_request", default=None)
_probing: ContextVar[bool] = ContextVar("locum_probing", default=False)


class AnotherVersionError(LocumError):
    """The engine was about to answer with another adapter than the door resolved, or behind its back."""


@dataclass
class Asked:
    """One request: what answers it (`medical@3` or the base model's name), and how that went.

    `signed` says whether its id vouches for the version. `status` is the answer's, None before it begins; `seconds` is
    None while it runs. The tokens are vLLM's count, known when `running`, its sequences in the engine, is 0 again.
    """

    id: str
    name: str
    path: str = ""
    signed: bool = False
    status: int | None = None
    finished: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    running: int = 0
    engine_ids: list[str] = field(default_factory=list)
    seconds: float | None = None
    log: bool = False
    settled: bool = False

    @property
    def outcome(self) -> str:
        """`ok`, `refused` (4xx), `failed` (5xx), or `aborted`: the client left before the answer's end."""
        if not self.finished:
            return "aborted" if self.status in {None, 200} else "failed"
        assert self.status is not None
        return "failed" if self.status >= 500 else "refused" if self.status >= 400 else "ok"

    def unsign(self) -> None:
        """Let the id vouch for nothing, before anybody has seen it; one that the client chose never does."""
        if self.signed:
            self.id = unsigned(self.id)
            self.signed = False


@contextmanager
def accounted(
    wanted_id: str | None, name: str, *, version_id: int, ids: AnswerIds, path: str, generates: bool, log: bool
) -> Iterator[Asked]:
    """A request while it runs; at its end it is counted and, with `log`, told in one line: no word of what was said.

    It gets the id that its client wants, if that is one, no other has it now, and it is not an earlier answer's: that
    would say that another version spoke. Else it gets a new one of `ids`, signed if it `generates` an answer.
    """
    request = _named(wanted_id, name, version_id=version_id, ids=ids)
    request.path, request.log = path, log
    if not generates:
        request.unsign()
    known_as = request.id
    _in_flight[known_as] = request
    current = _current.set(request)
    started = time.perf_counter()
    try:
        yield request
    except Exception:
        request.status = 500
        raise
    finally:
        _current.reset(current)
        del _in_flight[known_as]
        request.seconds = time.perf_counter() - started
        metrics.count_request(name, request.outcome)
        if request.running and request.outcome == "ok":
            asyncio.get_running_loop().call_later(SETTLE_SECONDS, _settle, request)
        else:
            _settle(request)


def _named(wanted_id: str | None, name: str, *, version_id: int, ids: AnswerIds) -> Asked:
    taken = wanted_id is None or not ACCEPTED.fullmatch(wanted_id) or wanted_id in _in_flight
    if wanted_id is None or taken or ids.version_id(wanted_id) is not None:
        return Asked(ids.new(version_id), name, signed=True)
    return Asked(wanted_id, name)


@contextmanager
def probing() -> Iterator[None]:
    """Whatever is asked of the engine meanwhile is Locum's own question, and no request."""
    token = _probing.set(True)
    try:
        yield
    finally:
        _probing.reset(token)


def admit(engine_id: str, name: str, *, sequences: int) -> None:
    """Let the engine begin with what it calls `engine_id`: `sequences` answers by the adapter `name`.

    Raises:
        AnotherVersionError: no request runs here that these answers belong to, or the door resolved another name.
    """
    if _probing.get():
        return
    request = _current.get()
    resolved = request.name if request is not None and request.seconds is None else None
    if request is None or resolved != name:
        metrics.count_another_version(name)
        logger.error("another_version engine_id=%s resolved=%s used=%s", engine_id, resolved, name)
        if request is not None:
            request.unsign()
        raise AnotherVersionError(f"the engine was asked for {name}, the door resolved {resolved}: nothing is answered")
    request.running += sequences
    request.engine_ids.append(engine_id)
    _of_engine[engine_id] = request


def count_finished(engine_id: str | None, *, prompt: int, completion: int) -> Asked | None:
    """Add the tokens of one sequence that has ended to its request; None if it belongs to none, as a probe."""
    request = _of_engine.get(engine_id or "")
    if request is not None:
        request.prompt_tokens += prompt
        request.completion_tokens += completion
        request.running -= 1
        if not request.running and request.seconds is not None:
            _settle(request)
    return request


def names(name: str) -> bool:
    """Whether a request runs that this version answers."""
    return any(request.name == name for request in _in_flight.values())


def _settle(request: Asked) -> None:
    """Forget a request that has ended and whose tokens are known, or will not be, and log it."""
    if request.settled:
        return
    request.settled = True
    for engine_id in request.engine_ids:
        if _of_engine.get(engine_id) is request:
            del _of_engine[engine_id]
    if request.log:
        domain, version = metrics.labels_of(request.name)
        fields = {
            "request_id": request.id,
            "path": request.path,
            "domain": domain,
            "version": version,
            "outcome": request.outcome,
            "status": request.status,
            "seconds": round(request.seconds or 0.0, 4),
            "prompt_tokens": request.prompt_tokens,
            "completion_tokens": request.completion_tokens,
        }
        logger.info("request", extra=fields)
