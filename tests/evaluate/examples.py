"""An evaluation with something of everything: slices, choices, long and Chinese answers, hard requirements, failures.

Made by the code that makes real ones; only the answers are written here.
"""

from __future__ import annotations

import random
from dataclasses import replace
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
LETTERS = ("Respiratory system", "Circulatory system", "Nervous system", "Digestive system")


@cache
def example_suite() -> Suite:
    """180 free questions in five topics, and 60 multiple choices."""
    samples = []
    for number in range(180):
        topic = TOPICS[number % len(TOPICS)]
        chinese = topic == TOPICS[-1]
        question = f"第{number}号：应该怎么办？" if chinese else f"What is to be done in case {number} of {topic}?"
        messages = [Message(role="system", content="Answer briefly."), Message(role="user", content=question)]
        if number % 9 == 0:
            earlier = [Message(role="user", content="Good morning."), Message(role="assistant", content="Good morning!")]
            messages[1:1] = earlier
        samples.append(
            Sample(
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
        )
    for number in range(60):
        samples.append(
            Sample(
                id=f"choice-{number:03}",
                messages=(Message(role="user", content=f"Where does diagnosis {number} belong?"),),
                reference=LETTERS[number % 4],
                group=f"choice-{number}",
                kind="choice",
                choices=LETTERS,
                correct=number % 4,
                slices={"difficulty": "hard"},
            )
        )
    card = SuiteCard(
        name="bedside",
        metrics=["token_f1", "exact_match", "chrf", "choice", "brier"],
        primary="token_f1",
        slices=["topic", "language", "difficulty"],
        thresholds=Thresholds(min_samples=100, min_score=0.3, hard={"exact_match": 0.2}),
    )
    return assemble("medical", card, samples)


def example_result(
    folder: Path, *, skill: float = 0.75, seed: int = 3, evil: str | None = None
) -> tuple[EvaluationResult, list[Answer]]:
    """The result and the answers of `medical@3`, of the base model, and of `medical@2` in production.

    Args:
        skill: how good the version is, from 0 to 1; the base model has 0.2, production 0.7.
        evil: what the version says to the first questions.
    """
    suite = example_suite()
    contenders = [
        Contender("medical@3", "version", "3" * 64),
        Contender("smollm2-135m", "base", "b" * 64),
        Contender("medical@2", "production", "2" * 64),
    ]
    skills = {"medical@3": skill, "smollm2-135m": 0.2, "medical@2": 0.7}
    chance = random.Random(seed)
    answers = [
        _answer(sample, contender, skills[contender.name], chance)
        for sample in suite.samples
        for contender in contenders
    ]
    if evil is not None:
        answers[:30] = [
            answer.model_copy(update={"answer": evil}) if answer.model == "medical@3" else answer
            for answer in answers[:30]
        ]
    metrics = load_metrics(suite)
    answers = score_all(suite, metrics, answers)
    run = Run(
        contenders=contenders,
        against="medical@2",
        endpoint="http://127.0.0.1:8000/v1",
        concurrency=8,
        command="locum eval medical --model medical@3 --against medical@2 --suite bedside",
        folder=folder,
        created_by="ada",
        notes=["medical@1 stands on another base model and was not compared with."],
    )
    result = conclude(replace(suite), metrics, answers, run)
    return result.model_copy(update={"created_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC)}), answers


def _answer(sample: Sample, contender: Contender, skill: float, chance: random.Random) -> Answer:
    made = Answer(
        sample=sample.id,
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
