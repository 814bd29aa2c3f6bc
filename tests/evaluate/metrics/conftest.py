"""One answer to one sample, scored: what most tests of metrics are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

import pytest

from locum.adapters.conversations import Message
from locum.errors import BadInputError
from locum.evaluate.answers import Answer, Likelihood
from locum.evaluate.metrics.registry import METRICS, Metric, load_metric
from locum.evaluate.samples import Sample

Score = Callable[..., float | None]


def sample_of(**fields: Any) -> Sample:
    """A sample with these fields."""
    needed: dict[str, Any] = {
        "id": "s1",
        "messages": (Message(role="user", content="What is it?"),),
        "reference": "",
        "group": "s1",
    }
    return Sample(**needed | fields)


def answer_of(**fields: Any) -> Answer:
    """An answer with these fields; `likelihoods` may be given as a mapping from text to (log-probability, tokens)."""
    likelihoods = fields.pop("likelihoods", {})
    found = [Likelihood(text=text, logprob=value, tokens=tokens) for text, (value, tokens) in likelihoods.items()]
    needed: dict[str, Any] = {"sample": "s1", "model": "m", "digest": "d", "messages": [], "reference": ""}
    return Answer(**needed | {"likelihoods": found} | fields)


@cache
def _metric(name: str) -> Metric:
    return load_metric(name)


@pytest.fixture(scope="session")
def make_sample() -> Callable[..., Sample]:
    return sample_of


@pytest.fixture(scope="session")
def make_answer() -> Callable[..., Answer]:
    return answer_of


@pytest.fixture(scope="session")
def score() -> Score:
    """`score(metric, answer, reference)`; further keywords are the sample's, `options` the metric's.

    All metrics are loaded first, before Hypothesis looks at the clock.
    """
    for name in METRICS:
        with suppress(BadInputError):  # it needs an option
            _metric(name)

    def score_one(
        name: str,
        answer: str | Answer | None,
        reference: str = "",
        *,
        options: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> float | None:
        metric = load_metric(name, options) if options else _metric(name)
        said = answer if isinstance(answer, Answer) else answer_of(answer=answer)
        [value] = metric.score([sample_of(reference=reference, **fields)], [said])
        return value

    return score_one
