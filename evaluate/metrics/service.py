"""What an answer cost: waiting, pace and length."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from locum.evaluate.metrics.base import INTEGER, NUMBER, PairMetric

if TYPE_CHECKING:
    from locum.evaluate.answers import Answer
    from locum.evaluate.samples import Sample


class _Service(PairMetric):
    source = "This project; the names are those of vLLM's `benchmark_serving`: TTFT and TPOT"
    high = math.inf
    higher_is_better = False


class FirstToken(_Service):
    """Time to first token: from the request to the first token of the answer, as the client sees it.

    In seconds, from 0 without bound; lower is better. It holds the network, the queue and the reading of the prompt. It
    depends on how many requests are under way, so compare only models that were asked in one run, interleaved.
    """

    metric = "first_token"
    unit = "s"
    inputs: ClassVar[dict[str, Any]] = {"seconds": NUMBER}

    def columns(self, sample: Sample, answer: Answer) -> dict[str, Any] | None:
        """The time, if it was measured."""
        return None if answer.first_token_s is None else {"seconds": answer.first_token_s}

    def score_pair(self, seconds: float) -> float:
        return seconds


class PerToken(_Service):
    """Time per token after the first: (latency − time to first token) / (tokens − 1).

    In seconds a token, from 0 without bound; lower is better. Nothing is said about an answer of fewer than two tokens.
    """

    metric = "per_token"
    unit = "s/token"
    inputs: ClassVar[dict[str, Any]] = {"seconds": NUMBER, "first": NUMBER, "tokens": INTEGER}

    def columns(self, sample: Sample, answer: Answer) -> dict[str, Any] | None:
        """The answer's times and tokens, if they were measured."""
        if answer.latency_s is None or answer.first_token_s is None or (answer.completion_tokens or 0) < 2:
            return None
        return {"seconds": answer.latency_s, "first": answer.first_token_s, "tokens": answer.completion_tokens}

    def score_pair(self, seconds: float, first: float, tokens: int) -> float:
        return max(0.0, seconds - first) / (tokens - 1)


class Tokens(_Service):
    """Tokens of the answer, by the endpoint's own count.

    From 0 without bound; lower is better, because each costs time and money; an answer that is cut short for it is
    another metric's business.
    """

    metric = "tokens"
    unit = "tokens"
    inputs: ClassVar[dict[str, Any]] = {"tokens": INTEGER}

    def columns(self, sample: Sample, answer: Answer) -> dict[str, Any] | None:
        """The count, if the endpoint tells it."""
        return None if answer.completion_tokens is None else {"tokens": answer.completion_tokens}

    def score_pair(self, tokens: int) -> float:
        return float(tokens)
