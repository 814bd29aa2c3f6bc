"""The judge's part of an evaluation: every answer graded, and the version's compared with each other model's.

A comparison is asked twice, once in each order, because judges prefer a place: Zheng et al., "Judging LLM-as-a-Judge
with MT-Bench and Chatbot Arena" (2023, arXiv:2306.05685), section 3.4, which also says to call it a tie where the two
orders disagree. How often they do is part of the result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from locum.adapters.judge import JudgeCard
from locum.errors import UnavailableError
from locum.evaluate.answers import Answer
from locum.evaluate.cache import AnswerCache, cache_key
from locum.evaluate.client import Patience
from locum.evaluate.judge.judge import Heard, Question, hear
from locum.evaluate.judge.prompts import (
    Case,
    Prompt,
    comparison_prompt,
    judge_digest,
    rating_prompt,
    rubric_digest,
)
from locum.evaluate.judge.rubric import Language
from locum.evaluate.judge.summary import JudgeFailure, JudgeSummary, PairSummary
from locum.evaluate.judge.verdicts import PREFERENCE, settled
from locum.evaluate.samples import GENERATED, Sample

if TYPE_CHECKING:
    from rich.console import Console

_POINTS = {"first": 1.0, "tie": 0.5, "second": 0.0}


@dataclass(frozen=True)
class Preferred:
    """The outcome of one pair, in the form of a vote. `left` is the version; where the orders disagree, it is a tie."""

    question: str
    left: str
    right: str
    outcome: Literal["left", "right", "tie"]


@dataclass(frozen=True)
class Judged:
    """The answers with their ratings, the outcome of each pair, and what there is to know about the judging."""

    answers: list[Answer]
    outcomes: list[Preferred]
    summary: JudgeSummary


def rate_all(
    samples: Sequence[Sample],
    answers: Sequence[Answer],
    card: JudgeCard,
    cache: AnswerCache,
    *,
    version: str | None = None,
    patience: Patience | None = None,
    console: Console | None = None,
) -> Judged:
    """Have the judge rate the answers; a verdict that the cache holds is not asked for again.

    Answers that failed, and samples that are not answered in words, are passed over. Equal answers are not compared:
    they tie.

    Args:
        samples: of the suite that the answers belong to.
        version: the model whose answers are compared with each other model's; none for that of the first answer.
        patience: with one request; by default the card's timeout and the usual attempts.
        console: where the progress bar is drawn; none for silence.

    Returns:
        The answers in their order. `ratings` has a list with one grade from 1 to 5 for each dimension; and, with
        `pairwise`, under `preference` what the answer got in each order against the version's (1 won, 0.5 tied,
        0 lost), the version's own being 0.5. What the judge failed on is in the summary and has no rating.

    Raises:
        BadInputError, UnauthorizedError, NotFoundError: as `hear`.
        UnavailableError: the judge is gone, or failed on more than the card's `max_failures`.
    """
    known = {sample.id: sample for sample in samples}
    version = version or next((answer.model for answer in answers), "")
    spoken = [each for each in answers if each.error is None and each.answer is not None]
    spoken = [each for each in spoken if known[each.sample].kind in GENERATED]
    ratings = [_Rating(card, known[each.sample], each) for each in spoken] if card.dimensions else []
    pairs = [_Pair(card, known[ours.sample], ours, theirs) for ours, theirs in _pairs(spoken, version, card)]
    work: list[_Rating | _Pair] = [*ratings, *pairs]
    asked = {key: question for each in work for key, question in each.questions.items()}
    heard = hear(card, asked, cache, patience=patience, console=console)
    _require_most(card, heard, len(asked))

    found: dict[tuple[str, str, int], dict[str, list[float]]] = {}
    for rating in ratings:
        if verdict := heard.verdicts.get(rating.key):
            grades = {name: [float(grade)] for name, grade in verdict.grades.items()}
            found.setdefault(_place(rating.answer), {}).update(grades)
    outcomes = []
    for pair in pairs:
        if (points := pair.points(heard)) is not None:
            found.setdefault(_place(pair.theirs), {})[PREFERENCE] = [1 - each for each in points]
            found.setdefault(_place(pair.ours), {})[PREFERENCE] = [0.5]
            outcomes.append(pair.outcome(points))
    return Judged(
        [each.model_copy(update={"ratings": found.get(_place(each), {})}) for each in answers],
        outcomes,
        _summary(card, heard, work),
    )


class _Rating:
    """One answer to be graded."""

    def __init__(self, card: JudgeCard, sample: Sample, answer: Answer) -> None:
        self.sample, self.answer = sample, answer
        text = answer.answer or ""
        prompt = rating_prompt(_case(sample), text, dimensions=card.dimensions, language=_language(card, sample))
        self.key = _key(card, prompt, sample, text)
        self.questions = {self.key: Question(prompt, tuple(card.dimensions))}

    def failures(self, heard: Heard) -> Iterator[JudgeFailure]:
        if problem := heard.failures.get(self.key):
            yield JudgeFailure(sample=self.sample.id, models=[self.answer.model], problem=problem)


class _Pair:
    """Two answers to be compared, in both orders."""

    def __init__(self, card: JudgeCard, sample: Sample, ours: Answer, theirs: Answer) -> None:
        self.sample, self.ours, self.theirs = sample, ours, theirs
        self.keys: list[str] = []
        self.questions: dict[str, Question] = {}
        texts = (ours.answer or "", theirs.answer or "")
        for first, second in (texts, texts[::-1]) if texts[0] != texts[1] else ():
            prompt = comparison_prompt(_case(sample), first, second, language=_language(card, sample))
            key = _key(card, prompt, sample, first, second)
            self.keys.append(key)
            self.questions[key] = Question(prompt)

    def points(self, heard: Heard) -> list[float] | None:
        """What our answer got in each order: 1 won, 0.5 tied, 0 lost; none if a verdict is missing."""
        if not self.keys:
            return [0.5, 0.5]
        places = [verdict.winner for key in self.keys if (verdict := heard.verdicts.get(key))]
        if len(places) < len(self.keys) or None in places:
            return None
        forward, backward = (_POINTS[str(place)] for place in places)
        return [forward, 1 - backward]

    def outcome(self, points: Sequence[float]) -> Preferred:
        outcomes: dict[float, Literal["left", "right", "tie"]] = {1.0: "left", 0.0: "right"}
        outcome = outcomes.get(settled(points), "tie")
        return Preferred(self.sample.id, self.ours.model, self.theirs.model, outcome)

    def failures(self, heard: Heard) -> Iterator[JudgeFailure]:
        models = [self.ours.model, self.theirs.model]
        for key in self.keys:
            if problem := heard.failures.get(key):
                yield JudgeFailure(sample=self.sample.id, models=models, problem=problem)


def _pairs(answers: Sequence[Answer], version: str, card: JudgeCard) -> Iterator[tuple[Answer, Answer]]:
    if not card.pairwise:
        return
    ours = {(each.sample, each.repeat): each for each in answers if each.model == version}
    for theirs in answers:
        if theirs.model != version and (own := ours.get((theirs.sample, theirs.repeat))):
            yield own, theirs


def _case(sample: Sample) -> Case:
    if sample.unknowable:
        return Case(sample.messages, sample.reference, "unknowable")
    return Case(sample.messages, sample.reference, "decline" if sample.kind == "decline" else "answer")


def _language(card: JudgeCard, sample: Sample) -> Language:
    if card.language != "sample":
        return card.language
    return "zh" if sample.slices.get("language", "").startswith("zh") else "en"


def _key(card: JudgeCard, prompt: Prompt, sample: Sample, *texts: str) -> str:
    """Who judges, by what, on which sample, and which answers in which order."""
    digests = [hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest() for text in texts]
    return cache_key("judge", card.model, rubric_digest(prompt.system), sample.digest, digests)


def _place(answer: Answer) -> tuple[str, str, int]:
    return answer.sample, answer.model, answer.repeat


def _require_most(card: JudgeCard, heard: Heard, asked: int) -> None:
    """Raises UnavailableError if more verdicts are missing than the card lets pass."""
    missing = len(heard.failures)
    if missing > card.max_failures * asked:
        raise UnavailableError(
            f"the judge {card.model} gave no usable verdict on {missing} of {asked} questions, and the card lets "
            f"{card.max_failures:.1%} pass; the last: {list(heard.failures.values())[-1]}",
            hint="verdicts are kept: type the same command again when the judge answers, or take one that keeps to "
            "JSON (docs/judge.md)",
        )


def _summary(card: JudgeCard, heard: Heard, work: Sequence[_Rating | _Pair]) -> JudgeSummary:
    pairs = [each for each in work if isinstance(each, _Pair)]
    new = [verdict for key, verdict in heard.verdicts.items() if key not in heard.known]
    met = dict.fromkeys((pair.ours.model, pair.theirs.model) for pair in pairs)
    return JudgeSummary(
        model=card.model,
        endpoint=card.endpoint,
        answered_by=sorted({verdict.answered_by for verdict in heard.verdicts.values()}),
        rubric=judge_digest(card),
        dimensions=list(card.dimensions),
        verdicts=len(heard.verdicts),
        reused=len(heard.known),
        requests=sum(verdict.requests for verdict in new),
        prompt_tokens=sum(verdict.prompt_tokens for verdict in new),
        completion_tokens=sum(verdict.completion_tokens for verdict in new),
        failures=[failure for each in work for failure in each.failures(heard)],
        pairs=[_pair_summary(version, other, pairs, heard) for version, other in met],
    )


def _pair_summary(version: str, other: str, pairs: Sequence[_Pair], heard: Heard) -> PairSummary:
    met = [pair for pair in pairs if (pair.ours.model, pair.theirs.model) == (version, other)]
    points = [found for pair in met if (found := pair.points(heard)) is not None]
    outcomes = [settled(each) for each in points]
    return PairSummary(
        version=version,
        other=other,
        pairs=len(points),
        won=outcomes.count(1.0),
        tied=outcomes.count(0.5),
        lost=outcomes.count(0.0),
        equal=sum(not pair.keys for pair in met),
        changed=sum(forward != backward for forward, backward in points),
        first_place=sum(forward > backward for forward, backward in points),
    )
