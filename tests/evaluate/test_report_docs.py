"""What docs/reports.md shows is what is printed: the outputs in it are made here, from the example of these tests."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from locum.commands import reading, verdict
from locum.evaluate.answers import Answer, Contender
from locum.evaluate.junit import junit_report
from locum.evaluate.markdown import markdown_report
from locum.evaluate.recorded import Recorded
from locum.evaluate.result import EvaluationResult
from locum.evaluate.trend import trend_of
from locum.evaluate.versus import versus
from tests.evaluate.examples import example_result, example_suite

DOCS = (Path(__file__).parent.parent.parent / "docs" / "reports.md").read_text(encoding="utf-8")
FOLDER = Path(".locum/evaluations/medical@3-bedside-2b1c6a90f7de")


@pytest.fixture(scope="module")
def example() -> tuple[EvaluationResult, list[Answer]]:
    return example_result(FOLDER)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], str]:
    """What a call prints to a pipe a hundred columns wide, without the spaces at the ends of lines."""

    def call(prints: Callable[[], None]) -> str:
        console = Console(file=io.StringIO(), width=100)
        monkeypatch.setattr(verdict, "out", console)
        monkeypatch.setattr(reading, "out", console)
        prints()
        text: str = console.file.getvalue()  # type: ignore[attr-defined]
        return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())

    return call


def test_the_evaluation(
    example: tuple[EvaluationResult, list[Answer]], printed: Callable[[Callable[[], None]], str]
) -> None:
    assert printed(lambda: verdict.show_result(example[0])) in DOCS


def test_the_sample(
    example: tuple[EvaluationResult, list[Answer]], printed: Callable[[Callable[[], None]], str]
) -> None:
    answers = [answer for answer in example[1] if answer.sample == "case-001"]
    assert printed(lambda: verdict.show_sample(answers, "token_f1")) in DOCS


def test_the_comparison(
    example: tuple[EvaluationResult, list[Answer]], printed: Callable[[Callable[[], None]], str]
) -> None:
    recorded = Recorded(example[0], FOLDER)
    recorded.__dict__["answers"] = example[1]
    found = versus("medical@3", recorded, "medical@2", recorded)
    assert printed(lambda: verdict.show_versus(found, changed=3)) in DOCS


def test_the_trend(printed: Callable[[Callable[[], None]], str]) -> None:
    records = []
    for number, skill in enumerate((0.45, 0.6, 0.7, 0.8), start=1):
        contenders = [Contender(f"medical@{number}", "version", "d"), Contender("smollm2-135m", "base", "b")]
        result, _ = example_result(
            FOLDER, suite=example_suite("medical", 100, 8), contenders=contenders, skills=(skill, 0.2), seed=number
        )
        made = result.created_at + timedelta(days=number)
        records.append(result.model_copy(update={"created_at": made}).record())
    assert printed(lambda: reading._show_trend(trend_of("medical", "bedside", records))) in DOCS


def test_the_beginning_of_the_comment_and_of_the_test_report(example: tuple[EvaluationResult, list[Answer]]) -> None:
    result, answers = example
    comment = markdown_report([result], {result.suite: answers})
    assert comment[: comment.index("<details>")].strip() in DOCS
    junit = junit_report([result])
    case = junit[junit.index('    <testcase classname="locum.medical.bedside" name="samples"') :]
    assert case[: case.index("</testcase>")].strip() in DOCS
