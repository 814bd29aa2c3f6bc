"""An evaluation without a server: a domain of twelve codes, and what two models could have said about them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from locum.adapters.card import DomainCard, GateCard, Source, SuiteCard
from locum.adapters.domains import Domain
from locum.evaluate.answers import Answer, Contender, Role
from locum.evaluate.comparison import by_model, compare, describe
from locum.evaluate.gate import decide
from locum.evaluate.result import EvaluationResult
from locum.evaluate.suite import Sample, Suite, load_suites

CHAPTERS = ["Respiratory", "Circulatory", "Neoplasms", "Injury"]


def write_rows(path: Path, count: int) -> None:
    """A test split of `count` questions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "conversations": [
                {"role": "user", "content": f"Diagnosis number {index}"},
                {"role": "assistant", "content": CHAPTERS[index % len(CHAPTERS)]},
            ]
        }
        for index in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def domain(tmp_path: Path) -> Domain:
    card = DomainCard(
        name="medical",
        description="Places diagnoses.",
        system_prompt="Answer with the chapter's name.",
        source=Source(files=["rows.jsonl"]),
        suites=[SuiteCard(name="diagnoses")],
        gate=GateCard(min_samples=10, min_score=0.3),
        notices=["Not a medical device."],
        example="Where does asthma belong?",
    )
    return Domain(card, tmp_path / "domains" / "medical")


@pytest.fixture
def suite(domain: Domain, tmp_path: Path) -> Suite:
    write_rows(tmp_path / "data" / "test.jsonl", 120)
    [loaded] = load_suites(domain, tmp_path / "data")
    return loaded


def answer_of(contender: Contender, sample: Sample, text: str, latency_s: float = 0.5) -> Answer:
    right = float(text == sample.reference)
    return Answer(
        sample=sample.id,
        model=contender.name,
        digest=contender.digest,
        answered_by=contender.name,
        messages=list(sample.messages),
        reference=sample.reference,
        answer=text,
        scores={"exact_match": right, "token_f1": right, "rouge_l": right},
        latency_s=latency_s,
        completion_tokens=3,
        finish_reason="stop",
        attempts=1,
    )


@pytest.fixture
def made(suite: Suite, tmp_path: Path) -> Callable[..., tuple[EvaluationResult, list[Answer]]]:
    """A result and its answers, from the share of right answers that each role gives."""

    def make(
        shares: dict[Role, float] | None = None, *, domain: str = "medical", wrong: str = "I think it is hard to say."
    ) -> tuple[EvaluationResult, list[Answer]]:
        shares = shares or {"version": 0.7, "base": 0.1}
        chance = random.Random(7)
        names = {"version": f"{domain}@2", "base": "tiny", "production": f"{domain}@1", "against": f"{domain}@7"}
        contenders = [Contender(names[role], role, f"digest-of-{role}") for role in shares]
        answers = [
            answer_of(
                contender,
                sample,
                sample.reference if chance.random() < shares[contender.role] else wrong,
                chance.lognormvariate(-0.6, 0.4),
            )
            for sample in suite.samples
            for contender in contenders
        ]
        answered = by_model(suite, contenders, answers)
        models = [describe(contender, answered, suite, confidence=0.95) for contender in contenders]
        comparisons = [compare(contenders[0], other, answered, suite, confidence=0.95) for other in contenders[1:]]
        verdict = decide(
            GateCard(),
            samples=len(suite.samples),
            score=models[0].scores["exact_match"],
            gain=comparisons[0].differences["exact_match"],
        )
        result = EvaluationResult(
            domain=domain,
            version=f"{domain}@2",
            version_digest="digest-of-version",
            base="tiny",
            base_fingerprint="digest-of-base",
            suite="diagnoses",
            suite_digest=suite.digest,
            metric="exact_match",
            samples=len(suite.samples),
            groups=len(suite.samples),
            confidence=0.95,
            max_tokens=32,
            temperature=0.0,
            endpoint="http://127.0.0.1:8000/v1",
            concurrency=8,
            models=models,
            comparisons=comparisons,
            against="tiny",
            checks=verdict.checks,
            passed=verdict.passed,
            recorded=True,
            reused=0,
            command=f"locum eval {domain} --model {domain}@2 --against base --suite diagnoses",
            folder=tmp_path / "run",
            code_version="0.1.0",
            created_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            created_by="ada",
        )
        return result, answers

    return make
