"""Reports: what they say, that they are whole by themselves, and that no answer can break out of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import ValidationError

from locum.evaluate.answers import Answer
from locum.evaluate.report import (
    Asked,
    html_report,
    markdown_report,
    paired,
    read_result,
    summary_report,
    write_report,
)
from locum.evaluate.result import EvaluationResult

Made = Callable[..., tuple[EvaluationResult, list[Answer]]]
EVIL = "<script>alert('x')</script>\" onload=\"x"
_VOID = {"meta", "rect", "line", "br"}


class _Page(HTMLParser):
    """Collects tags and attributes, and checks that every tag that opens also closes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in _VOID or self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def require_self_contained(html: str) -> None:
    page = _Page(html)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href", "onload"} & page.attributes
    assert not re.search(r"url\(|@import", html)
    assert "prefers-color-scheme: dark" in html
    assert "svg" in page.tags


def test_the_result_survives_the_file_and_refuses_fields_it_does_not_know(made: Made) -> None:
    result, answers = made()
    result.folder.mkdir()
    assert write_report(result, answers) == result.folder / "report.html"
    assert read_result(result.folder / "result.json") == result
    for path in ([], ["models", 0, "scores", "rouge_l"]):
        data = result.model_dump(mode="json")
        inner = data
        for key in path:
            inner = inner[key]  # type: ignore[index]
        inner["more"] = 1
        with pytest.raises(ValidationError, match="more"):
            EvaluationResult.model_validate(data)


def test_the_record_says_for_exactly_what_the_evidence_holds(made: Made) -> None:
    result, _ = made({"version": 0.7, "base": 0.1, "production": 0.6})
    record = result.record()
    assert (record.domain, record.number, record.production) == ("medical", 2, "medical@1")
    assert (record.version_digest, record.base_fingerprint) == ("digest-of-version", "digest-of-base")
    assert record.suite_digest == result.suite_digest
    assert record.gain == pytest.approx(record.score - (record.base_score or 0))
    assert record.gain_interval == (result.gain.low, result.gain.high)
    assert record.reasons == result.reasons
    assert record.passed


def test_markdown_has_every_model_every_reason_and_the_verdict(made: Made) -> None:
    result, _ = made({"version": 0.7, "base": 0.1, "production": 0.6})
    text = markdown_report(result)
    assert text.startswith("### medical@2 on diagnoses: passed\n")
    for model in result.models:
        assert f"| {model.name} |" in text
    for reason in result.reasons:
        assert f"- ✓ {reason}" in text
    assert "quick look" not in text


def test_a_quick_look_says_that_it_is_no_evidence(made: Made) -> None:
    result, answers = made()
    quick = result.model_copy(update={"recorded": False})
    assert "no evidence for a release" in markdown_report(quick)
    assert "no evidence for a release" in html_report(quick, answers)


@pytest.mark.parametrize("shares", [{"version": 0.7, "base": 0.1}, {"version": 0.5, "base": 0.5, "production": 0.6}])
def test_the_page_is_self_contained_and_tells_how_to_reproduce_it(made: Made, shares: dict[str, float]) -> None:
    result, answers = made(shares)
    html = html_report(result, answers)
    require_self_contained(html)
    for needed in (result.version_digest, result.base_fingerprint, result.suite_digest, result.command):
        assert needed in html


def test_an_answer_with_markup_is_shown_and_not_run(made: Made) -> None:
    result, answers = made(wrong=EVIL)
    html = html_report(result, answers)
    require_self_contained(html)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    require_self_contained(summary_report([result], [Asked("medical", EVIL, EVIL, EVIL, EVIL, [EVIL])]))


def test_a_page_without_regressions_says_so(made: Made) -> None:
    result, answers = made({"version": 1.0, "base": 0.0})
    html = html_report(result, answers)
    assert "None: on no sample does it score lower." in html
    assert "None: on no sample does it score higher." not in html


def test_the_worst_loss_comes_first_and_the_greatest_gain_last(made: Made) -> None:
    result, answers = made({"version": 0.5, "base": 0.5})
    differences = [pair.difference for pair in paired(result, answers)]
    assert differences == sorted(differences)
    assert len(differences) == result.samples
    assert differences[0] == -1
    assert differences[-1] == 1


def test_the_summary_has_a_row_for_each_domain_and_the_answers_side_by_side(made: Made, tmp_path: Path) -> None:
    results = [made(domain=name)[0] for name in ("medical", "legal", "finance")]
    asked = [Asked("legal", "legal@2", "Is MIT permissive?", "Permissive", "It depends.", ["No legal advice."])]
    html = summary_report(results, asked)
    require_self_contained(html)
    for result in results:
        assert result.version in html
        assert f"{result.gain.mean:+.3f} [{result.gain.low:+.3f}, {result.gain.high:+.3f}]" in html
    for text in ("Is MIT permissive?", "Permissive", "It depends.", "No legal advice."):
        assert text in html
