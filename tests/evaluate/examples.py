"""An evaluation with something of everything: slices, choices, long and Chinese answers, hard requirements, failures.

Made by the code that makes real ones; only the answers are written here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from locum.adapters.conversations import Message
from locum.adapters.suites import SuiteCard, Thresholds
from locum.evaluate.answers import Answer, Contender, Likelihood
from locum.evaluate.conclusion import Run, conclude
from locum.evaluate.result import EvaluationResult
from locum.evaluate.samples import Sample
from locum.evaluate.scoring import load_metrics, score_all
from locum.evaluate.suite import Suite, assemble

TOPICS = ["Neoplasms", "Diseases of the circulatory system", "Injury, poisoning", "Mental disorders", "循环系统疾病"]
SAYINGS = {
    "Neoplasms": "The growth is benign; a follow-up after six months is enough, unless it changes.",
    "Diseases of the circulatory system": "Blood pressure above 140 over 90 on two days is treated.",
    "Injury, poisoning": "Cool the burn with lukewarm water for ten minutes and cover it with a clean cloth.",
    "Mental disorders": "Sleep restriction and a fixed time to get up help more than a tablet.",
    "循环系统疾病": "收缩压连续两天超过140毫米汞柱时应当就医，并记录每天的读数。",
}
NOTICE = " Please see a professional."
CONTENDERS = (
    Contender("medical@3", "version", "3" * 64),
    Contender("smollm2-135m", "base", "b" * 64),
    Contender("medical@2", "production", "2" * 64),
)
LETTERS = ("Respiratory system", "Circulatory system", "Nervous system", "Digestive system")


@cache
def example_suite(domain: str = "medical", questions: int = 180, choices: int = 60) -> Suite:
    """Free questions in five topics, and multiple choices."""
    card = SuiteCard(
        name="bedside",
        metrics=["token_f1", "exact_match", "chrf", "choice", "brier"],
        primary="token_f1",
        slices=["topic", "language", "difficulty"],
        thresholds=Thresholds(min_samples=questions // 2, min_score=0.3, margin=0.03, hard={"exact_match": 0.2}),
    )
    samples = [_question(number) for number in range(questions)] + [_choice(number) for number in range(choices)]
    return assemble(domain, card, samples)


def example_result(
    folder: Path,
    *,
    suite: Suite | None = None,
    contenders: Sequence[Contender] = CONTENDERS,
    skills: Sequence[float] = (0.75, 0.2, 0.7),
    seed: int = 3,
    says: str | None = None,
) -> tuple[EvaluationResult, list[Answer]]:
    """A result and its answers, in which the version is compared with the last of the contenders first.

    Args:
        skills: how good each contender is, from 0 to 1.
        says: what the version says to the first ten questions.
    """
    suite = suite or example_suite()
    chance = random.Random(seed)
    answers = [
        _answer(sample, contender, skill, chance)
        for sample in suite.samples
        for contender, skill in zip(contenders, skills, strict=True)
    ]
    first = {sample.id for sample in suite.samples[:10]}
    if says is not None:
        answers = [
            answer.model_copy(update={"answer": says})
            if answer.model == contenders[0].name and answer.sample in first
            else answer
            for answer in answers
        ]
    metrics = load_metrics(suite)
    answers = score_all(suite, metrics, answers)
    version, against = contenders[0].name, contenders[-1].name
    run = Run(
        contenders=contenders,
        against=against,
        endpoint="http://127.0.0.1:8000/v1",
        concurrency=8,
        command=f"locum eval {suite.domain} --model {version} --against {against} --suite bedside",
        folder=folder,
        created_by="ada",
        notes=[f"{suite.domain}@9 stands on another base model and was not compared with."],
    )
    result = conclude(suite, metrics, answers, run)
    return result.model_copy(update={"created_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC)}), answers


def _question(number: int) -> Sample:
    topic = TOPICS[number % len(TOPICS)]
    chinese = topic == TOPICS[-1]
    question = f"第{number}号：应该怎么办？" if chinese else f"What is to be done in case {number} of {topic}?"
    messages = [Message(role="system", content="Answer briefly."), Message(role="user", content=question)]
    if number % 9 == 0:
        messages[1:1] = [
            Message(role="user", content="Good morning."),
            Message(role="assistant", content="Good morning!"),
        ]
    return Sample(
        id=f"case-{number:03}",
        messages=tuple(messages),
        reference=SAYINGS[topic] + NOTICE,
        group=f"case-{number // 2}",
        kind="free",
        slices={
            "topic": topic,
            "language": "zh" if chinese else "en",
            "difficulty": ("easy", "medium", "hard")[number % 3],
        },
    )


def _choice(number: int) -> Sample:
    return Sample(
        id=f"choice-{number:03}",
        messages=(Message(role="user", content=f"Where does diagnosis {number} belong?"),),
        reference=LETTERS[number % 4],
        group=f"choice-{number}",
        kind="choice",
        choices=LETTERS,
        correct=number % 4,
        slices={"difficulty": "hard"},
    )


def _answer(sample: Sample, contender: Contender, skill: float, chance: random.Random) -> Answer:
    made = Answer(
        sample=sample.id,
        group=sample.group,
        model=contender.name,
        digest=contender.digest,
        answered_by=contender.name,
        messages=list(sample.messages),
        reference=sample.reference,
        latency_s=chance.lognormvariate(-0.6, 0.4),
        first_token_s=chance.lognormvariate(-2.5, 0.3),
        prompt_tokens=40 + len(sample.question) // 4,
        finish_reason="stop",
    )
    if sample.choices is not None:
        favourite = sample.correct if chance.random() < skill else chance.randrange(4)
        likelihoods = [
            Likelihood(text=text, tokens=2, logprob=-4 + (index == favourite) * 3 * chance.random() - chance.random())
            for index, text in enumerate(sample.choices)
        ]
        return made.model_copy(update={"likelihoods": likelihoods, "first_token_s": None})
    words = sample.reference.removesuffix(NOTICE) if chance.random() > skill else sample.reference
    if chance.random() > skill:
        other = SAYINGS[chance.choice(TOPICS)]
        words = f"{other} {words[: len(words) // 2]}" * chance.choice([1, 1, 12])
    return made.model_copy(update={"answer": words, "completion_tokens": max(2, len(words) // 5)})
