"""The version's and another model's answer to the same sample, and which of these pairs are worth reading first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from locum.evaluate.answers import Answer
from locum.evaluate.result import EvaluationResult

_LIKELIEST = 5  # so many choices are told of a multiple choice
_EQUAL = 1e-9


@dataclass(frozen=True)
class Pair:
    """Two answers to one sample. `difference` is of the primary metric, over all repeats; positive is better."""

    question: str
    reference: str
    ours: Answer
    theirs: Answer
    difference: float


@dataclass(frozen=True)
class Broken:
    """A hard requirement, whether the version meets it, and its first answers that do not keep to it.

    `count` is how many these are in all; `met` is whether the mean of all answers reaches `lowest`.
    """

    metric: str
    lowest: float
    met: bool
    answers: Sequence[Answer]
    count: int


def paired(
    answers: Iterable[Answer], ours: str, theirs: str, metric: str, *, higher_is_better: bool = True
) -> list[Pair]:
    """Each sample's two answers that the metric speaks about: the worst loss first, the greatest gain last.

    Where a sample was asked several times, the pair that differs most in the direction of the mean is shown. Samples
    that the metric cannot tell apart are ordered by the sum of all metrics, and then by their ids.
    """
    sign = 1 if higher_is_better else -1
    found: dict[str, dict[int, dict[str, Answer]]] = {}
    for answer in answers:
        if answer.model in (ours, theirs) and metric in answer.scores:
            found.setdefault(answer.sample, {}).setdefault(answer.repeat, {})[answer.model] = answer
    pairs = []
    for repeats in found.values():
        asked = [(both[ours], both[theirs]) for both in repeats.values() if len(both) == 2]
        if not asked:
            continue
        differences = [sign * (our.scores[metric] - their.scores[metric]) for our, their in asked]
        mean = sum(differences) / len(differences)
        towards = 1 if mean >= 0 else -1
        our, their = max(zip(asked, differences, strict=True), key=lambda each: towards * each[1])[0]
        pairs.append(Pair(our.messages[-1].content, our.reference, our, their, mean))
    return sorted(pairs, key=_order)


def regressions(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """The pairs with a loss, the worst first."""
    return [pair for pair in pairs if pair.difference < -_EQUAL][:count]


def improvements(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """The pairs with a gain, the greatest first."""
    return [pair for pair in reversed(pairs) if pair.difference > _EQUAL][:count]


def broken(result: EvaluationResult, answers: Iterable[Answer], count: int) -> list[Broken]:
    """The hard requirements of the suite, each with the version's first `count` answers that break it."""
    ours = [answer for answer in answers if answer.model == result.version]
    scores = result.models[0].scores
    found = []
    for metric, lowest in result.thresholds.hard.items():
        against = [answer for answer in ours if answer.scores.get(metric, math.inf) < lowest]
        met = metric in scores and scores[metric].mean >= lowest
        found.append(Broken(metric, lowest, met, against[:count], len(against)))
    return found


def said(answer: Answer) -> str:
    """What a person reads as the answer: its text, or of a choice the likeliest with their probabilities.

    These probabilities are among the choices: the softmax of the log-likelihoods of the whole texts.
    """
    if answer.error is not None:
        return f"(failed: {answer.error})"
    if answer.answer is not None or not answer.likelihoods:
        return answer.answer or "(nothing)"
    top = max(each.logprob for each in answer.likelihoods)
    total = sum(math.exp(each.logprob - top) for each in answer.likelihoods)
    ranked = sorted(answer.likelihoods, key=lambda each: -each.logprob)[:_LIKELIEST]
    return "\n".join(f"{100 * math.exp(each.logprob - top) / total:.0f} % {each.text}" for each in ranked)


def _order(pair: Pair) -> tuple[float, float, str]:
    others = sum(pair.ours.scores.values()) - sum(pair.theirs.scores.values())
    return pair.difference, others, pair.ours.sample
