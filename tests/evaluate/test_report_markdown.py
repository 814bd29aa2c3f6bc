"""The comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from locum.evaluate.answers import Answer
from locum.evaluate.markdown import markdown_report, marker
from locum.evaluate.result import EvaluationResult

Made = Callable[..., tuple[EvaluationResult, list[Answer]]]


def test_it_begins_with_the_marker_and_has_the_verdict_in_its_title(made: Made) -> None:
    result, _ = made({"version": 0.7, "base": 0.1, "production": 0.6})
    lines = markdown_report([result]).splitlines()
    assert lines[0] == marker("medical") == "<!-- locum-eval:medical -->"
    assert lines[1] == "### ✅ passed: medical@2 on diagnoses"


@pytest.mark.parametrize(
    ("status", "title"), [("failed", "### ❌ failed: "), ("not enough evidence", "### ❔ not enough evidence: ")]
)
def test_the_title_of_several_suites_is_the_worst_verdict(made: Made, status: str, title: str) -> None:
    result, _ = made()
    other = result.model_copy(update={"status": status, "suite": "elsewhere"})
    text = markdown_report([result, other])
    assert text.splitlines()[1].startswith(f"{title}medical@2 on 2 suites")
    assert "#### ✅ passed: diagnoses" in text


def test_it_has_every_metric_every_difference_and_every_reason(made: Made) -> None:
    result, _ = made({"version": 0.7, "base": 0.1, "production": 0.6})
    text = markdown_report([result])
    assert "| metric | medical@2 | minus tiny | minus medical@1 |" in text
    for name, score in result.models[0].scores.items():
        assert re.search(rf"\| \**`{name}`\** \| {re.escape(str(score))} \|", text)
    plain = text.replace("\\", "")
    for reason in result.reasons:
        assert f"- ✅ {reason}" in plain


def test_what_is_not_met_is_open_and_what_is_met_folds_up(made: Made) -> None:
    result, _ = made({"version": 0.1, "base": 0.5})
    text = markdown_report([result])
    opened = text[: text.index("<details>")]
    for check in result.checks:
        assert (check.reason in opened.replace("\\", "")) is not check.met


def test_details_close_and_have_a_blank_line_before_their_markdown(made: Made) -> None:
    result, answers = made({"version": 0.4, "base": 0.5})
    text = markdown_report([result], {result.suite: answers})
    assert text.count("<details>") == text.count("</details>") >= 3
    assert len(re.findall(r"<details><summary>[^<]+</summary>\n\n", text)) == text.count("<details>")


def test_no_answer_is_markup_a_mention_or_the_end_of_its_block(made: Made) -> None:
    evil = "````\n</details> @everyone ![x](http://evil.example/x.png) <img src=x>\x1b[31m"
    result, answers = made({"version": 0.1, "base": 0.9}, wrong=evil)
    text = markdown_report([result], {result.suite: answers})
    outside = re.sub(r"^(`{3,})[^\n]*\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert "evil.example" in text
    assert "evil.example" not in outside
    assert "@everyone" not in outside
    assert outside.count("</details>") == outside.count("<details>")


def test_a_samples_id_is_no_markup_and_mentions_nobody(made: Made) -> None:
    result, answers = made({"version": 0.1, "base": 0.9})
    evil = [each.model_copy(update={"sample": f"@team <img src=x> {each.sample}"}) for each in answers]
    text = markdown_report([result], {result.suite: evil})
    assert "**@\u200bteam &lt;img src=x&gt; " in text
    assert "<img" not in text


def test_reasons_and_slices_are_shown_as_they_are(made: Made) -> None:
    result, _ = made({"version": 0.1, "base": 0.9})
    evil = [check.model_copy(update={"reason": "hi @team <b> [x](y) `z` a|b"}) for check in result.checks]
    text = markdown_report([result.model_copy(update={"checks": evil})])
    assert "hi @\u200bteam &lt;b&gt; \\[x\\](y) \\`z\\` a|b" in text


def test_a_comment_is_never_longer_than_github_takes(made: Made) -> None:
    result, answers = made({"version": 0.1, "base": 0.9})
    reasons = [check.model_copy(update={"reason": "x" * 9_000}) for check in result.checks] * 8
    text = markdown_report([result.model_copy(update={"checks": reasons})], {result.suite: answers})
    assert len(text) < 65_536
    assert text.startswith(marker("medical"))


def test_a_quick_look_says_that_it_is_no_evidence(made: Made) -> None:
    result, _ = made()
    assert "no evidence for a release" in markdown_report([result.model_copy(update={"recorded": False})])
    assert "quick look" not in markdown_report([result])
