"""What an asking will cost: how many requests, how many of them are known already, and about how long.

The pace is the endpoint's own: that of the last asking of the same suite here, else of any suite at the same endpoint
with as many requests at a time. It is kept beside the answers.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass

from locum.evaluate.cache import AnswerCache, cache_key

FEW = 8  # answers that a pace is not learnt from


@dataclass(frozen=True)
class Pace:
    """Seconds for one request, those beside it counted: 0.1 where ten are answered in a second."""

    seconds: float
    source: str


@dataclass(frozen=True)
class Forecast:
    """The requests of one suite, and those whose answers are known. `pace` is None where nobody knows it yet."""

    name: str
    requests: int
    known: int
    pace: Pace | None = None

    @property
    def left(self) -> int:
        return self.requests - self.known

    @property
    def seconds(self) -> float | None:
        return 0.0 if not self.left else self.pace.seconds * self.left if self.pace else None

    @property
    def sentence(self) -> str:
        """What is said before anything is asked."""
        all_of = f"{self.name}: {_counted(self.requests)}"
        if not self.left:
            return f"{all_of}, whose answers are all known from before: nothing is asked."
        known = f", of which {self.known:,} are known from before and {self.left:,} are asked" if self.known else ""
        if self.seconds is None or self.pace is None:
            return f"{all_of}{known}; how long that takes is known after the first answers."
        return f"{all_of}{known}: about {duration(self.seconds)}, at the pace of {self.pace.source}."


def total(forecasts: list[Forecast]) -> str | None:
    """The sum over several suites; None where there is one, or nothing is left to be asked."""
    left = sum(each.left for each in forecasts)
    if len(forecasts) < 2 or not left:
        return None
    seconds = [each.seconds for each in forecasts]
    took = None if None in seconds else sum(each for each in seconds if each is not None)
    return f"Together {_counted(left)} to ask{'' if took is None else f': about {duration(took)}'}."


def duration(seconds: float) -> str:
    """A time for people, no more exact than an estimate is."""
    if seconds < 1:
        return "1 s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def known_pace(cache: AnswerCache, suite: str, *where: object) -> Pace | None:
    """The pace that an earlier asking had.

    Args:
        where: what a pace depends on beside the suite: the endpoint, its base model, how many ask at a time.
    """
    sources = {_key(suite, *where): "its last evaluation here", _key(*where): "another suite at this endpoint"}
    found = cache.get(sources)
    for key, source in sources.items():
        with suppress(KeyError, ValueError):
            return Pace(float(json.loads(found[key])), source)
    return None


def learn_pace(cache: AnswerCache, suite: str, *where: object, answers: int, seconds: float) -> None:
    """Keep the pace of an asking, unless it was too short to have one."""
    if answers >= FEW:
        for key in (_key(suite, *where), _key(*where)):
            cache.put(key, json.dumps(seconds / answers))


def _key(*parts: object) -> str:
    return cache_key("pace", *parts)


def _counted(requests: int) -> str:
    return f"{requests:,} request{'' if requests == 1 else 's'}"
