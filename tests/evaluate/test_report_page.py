"""The page: what it says, that it is whole by itself, and that no answer can break out of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from locum.adapters.conversations import Message
from locum.evaluate.answers import Answer
from locum.evaluate.figures import Figures
from locum.evaluate.judge.summary import JudgeFailure, JudgeSummary, PairSummary
from locum.evaluate.page import Asked, html_report, summary_report
from locum.evaluate.result import EvaluationResult
from tests.evaluate.examples import example_result

Made = Callable[..., tuple[EvaluationResult, list[Answer]]]
EVIL = "<script>alert('x')</script>\" onload=\"x\x00\x1b[31m\u202e</div></details>"
_VOID = {"meta", "link", "rect", "line", "br", "circle", "polyline"}


class _Page(HTMLParser):
    """Collects tags, attributes and texts, and checks that every tag that opens also closes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, set[str]] = {}
        self.open: list[str] = []
        self.marked: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in _VOID or self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("ins", "del"):
            self.marked.append((self.open[-1], data))
        if not {"style", "title"} & set(self.open):
            self.text += data


def require_self_contained(html: str) -> _Page:
    page = _Page(html)
    assert not {"script", "img", "iframe", "form"} & set(page.tags)
    assert not {"src", "onload"} & page.attributes.keys()
    assert all(target.startswith("#") or target == "data:," for target in page.attributes["href"])
    assert {target[1:] for target in page.attributes["href"] if target[0] == "#"} <= page.attributes.get("id", set())
    assert not re.search(r"url\(|@import", html)
    assert "prefers-color-scheme: dark" in html
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e]", html)
    return page


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[EvaluationResult, list[Answer]]:
    return example_result(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize("shares", [{"version": 0.7, "base": 0.1}, {"version": 0.5, "base": 0.5, "production": 0.6}])
def test_the_page_is_self_contained_and_tells_how_to_reproduce_it(made: Made, shares: dict[str, float]) -> None:
    result, answers = made(shares)
    html = html_report(result, answers)
    require_self_contained(html)
    for needed in (result.version_digest, result.base_fingerprint, result.suite_digest, result.command):
        assert needed in html


def test_an_answer_with_markup_and_controls_is_shown_and_not_run(made: Made) -> None:
    result, answers = made(wrong=EVIL)
    html = html_report(result, answers)
    page = require_self_contained(html)
    assert "<script>" not in html
    assert "alert('x')" in page.text
    assert "␀␛[31m[U+202E]" in page.text
    require_self_contained(summary_report([result], [Asked("medical", EVIL, EVIL, EVIL, EVIL, [EVIL])]))


def test_questions_references_names_and_reasons_are_no_markup_either(made: Made) -> None:
    result, answers = made({"version": 0.5, "base": 0.5})
    evil = [
        answer.model_copy(
            update={"messages": [Message(role="user", content=EVIL)] * 2, "reference": EVIL, "sample": EVIL}
        )
        if index < 4
        else answer
        for index, answer in enumerate(answers)
    ]
    checks = [check.model_copy(update={"reason": EVIL}) for check in result.checks]
    changed = result.model_copy(update={"checks": checks, "notes": [EVIL], "command": EVIL, "suite": EVIL})
    assert "<script>" not in html_report(changed, evil)
    require_self_contained(html_report(changed, evil))


def test_the_verdict_has_three_states_in_words(made: Made) -> None:
    result, answers = made()
    for status, sentence in (
        ("passed", "medical@2 may be released"),
        ("failed", "medical@2 must not be released"),
        ("not enough evidence", "there is not enough evidence for it"),
    ):
        page = _Page(html_report(result.model_copy(update={"status": status}), answers))
        assert sentence in page.text
        assert status in page.text


def test_what_is_not_met_is_told_first_and_every_reason_is_told(example: tuple[EvaluationResult, list[Answer]]) -> None:
    result, answers = example
    text = _Page(html_report(result, answers)).text
    places: dict[str, list[int]] = {"missed": [], "unclear": [], "met": []}
    for check in result.checks:
        places[check.status].append(text.index(check.reason))
    assert result.status == "not enough evidence"
    assert max(places["unclear"]) < min(places["met"])


def test_the_words_that_differ_are_marked_on_both_sides(made: Made) -> None:
    result, answers = made({"version": 0.0, "base": 1.0}, wrong="I think it is hard to say.")
    page = _Page(html_report(result, answers))
    assert ("ins", "I think it is hard to say.") in page.marked
    assert any(tag == "del" and text in ("Respiratory", "Injury") for tag, text in page.marked)


def test_twenty_regressions_and_twenty_improvements_are_told_and_no_more(made: Made) -> None:
    result, answers = made({"version": 0.5, "base": 0.5})
    assert result.headline.better > 20
    assert result.headline.worse > 20
    assert html_report(result, answers).count('<article class="sample">') == 40


def test_a_page_without_regressions_says_so(made: Made) -> None:
    result, answers = made({"version": 1.0, "base": 0.0})
    html = html_report(result, answers)
    assert "None: on no sample does it do worse." in html
    assert "None: on no sample does it do better." not in html


def test_metrics_of_other_ranges_and_directions_say_so(example: tuple[EvaluationResult, list[Answer]]) -> None:
    result, answers = example
    text = _Page(html_report(result, answers)).text
    assert "0 to 2, lower is better" in text
    for model in result.models:
        assert f"{model.scores['brier'].mean:.2f} [{model.scores['brier'].low:.2f}" in text


def test_every_difference_tells_its_corrected_p_value(example: tuple[EvaluationResult, list[Answer]]) -> None:
    result, answers = example
    text = _Page(html_report(result, answers)).text
    for other in result.comparisons:
        for metric, test in other.tests.items():
            assert test.p_adjusted is not None
            told = "p < 0.001" if test.p_adjusted < 0.001 else f"p = {test.p_adjusted:.3f}"
            difference = Figures(result.metrics[metric]).difference(other.differences[metric])
            assert f"{difference}{told}" in text


def test_slices_show_their_number_their_scores_and_the_margin(example: tuple[EvaluationResult, list[Answer]]) -> None:
    result, answers = example
    html = html_report(result, answers)
    text = _Page(html).text
    for each in result.slices:
        found = each.differences["medical@2"]
        assert f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]" in text
        assert f"n = {each.samples}" in text
    assert "margin: 0.150 worse" in text
    assert html.count('class="margin"') == len(result.slices) + 1  # and one for the difference on all samples


def test_a_field_with_many_values_shows_the_worst_and_folds_the_rest(
    example: tuple[EvaluationResult, list[Answer]],
) -> None:
    result, answers = example
    many = [
        each.model_copy(update={"field": "topic", "value": f"{each.value} {turn}"})
        for turn in range(2)
        for each in result.slices
    ]
    text = _Page(html_report(result.model_copy(update={"slices": many}), answers)).text
    assert f"{len(many) - 12} more, none of them worse" in text
    worst = min(many, key=lambda each: each.differences["medical@2"].mean)
    best = max(many, key=lambda each: each.differences["medical@2"].mean)
    assert text.index(worst.value) < text.index("more, none of them worse") < text.index(best.value)


def test_calibration_is_drawn_where_there_are_choices_and_only_there(
    example: tuple[EvaluationResult, list[Answer]], made: Made
) -> None:
    page = _Page(html_report(*example))
    assert page.text.count("ECE 0.") == len(example[0].models)
    assert "circle" in page.tags
    assert "Calibration" not in _Page(html_report(*made())).text


def test_hard_requirements_show_the_first_answers_that_break_them(
    example: tuple[EvaluationResult, list[Answer]],
) -> None:
    result, answers = example
    strict = result.thresholds.model_copy(update={"hard": {"exact_match": 1.0}})
    text = _Page(html_report(result.model_copy(update={"thresholds": strict}), answers)).text
    broken = [a for a in answers if a.model == "medical@3" and a.scores.get("exact_match") == 0.0]
    assert f"It does not hold in {len(broken)} answers of medical@3" in text
    assert broken[0].sample in text


def test_service_tells_times_tokens_and_failures(example: tuple[EvaluationResult, list[Answer]]) -> None:
    result, answers = example
    text = _Page(html_report(result, answers)).text
    service = result.models[0].service
    assert f"{service.latency_median_s:.2f} s" in text
    assert f"{service.completion_tokens:,}" in text
    assert f"0 of {service.answers}" in text


def test_a_model_whose_answers_all_failed_breaks_no_page(made: Made) -> None:
    result, answers = made()
    nothing = dict.fromkeys(type(result.models[1].service).model_fields, None)
    counts = {name: 0 for name in nothing if not name.endswith("_s")}
    silent = result.models[1].service.model_copy(update=nothing | counts)
    models = [result.models[0], result.models[1].model_copy(update={"service": silent})]
    failed = [
        answer.model_copy(update={"error": "too long", "answer": None, "scores": {}, "latency_s": None})
        if answer.model == "tiny"
        else answer
        for answer in answers
    ]
    require_self_contained(html_report(result.model_copy(update={"models": models}), failed))


def test_a_judge_is_told_with_its_contradictions_and_failures(made: Made) -> None:
    result, answers = made()
    judge = JudgeSummary(
        model="judge-7b",
        endpoint="http://127.0.0.1:9/v1",
        answered_by=["judge-7b"],
        rubric="r" * 64,
        dimensions=["accuracy"],
        verdicts=240,
        reused=0,
        requests=240,
        prompt_tokens=9000,
        completion_tokens=900,
        failures=[JudgeFailure(sample="s1", models=["tiny"], problem="no JSON: <b>")],
        pairs=[
            PairSummary(
                version="medical@2",
                other="tiny",
                pairs=120,
                won=70,
                tied=30,
                lost=20,
                equal=5,
                changed=12,
                first_place=8,
            )
        ],
    )
    judged = result.model_copy(update={"judge": judge})
    page = require_self_contained(html_report(judged, answers))
    assert "70 · 30 · 20" in page.text
    assert "12 changed with the order" in page.text
    assert "1 verdict missing" in page.text
    assert "no JSON: <b>" in page.text
    for line in judge.told:
        assert line in page.text
    assert "The judge" not in _Page(html_report(result, answers)).text


def test_a_long_answer_folds_up_and_keeps_its_marks(tmp_path: Path) -> None:
    result, answers = example_result(tmp_path, says="Nobody said so. " * 60)
    html = html_report(result, answers)
    assert "Show all 960 characters" in html
    assert re.search(r'<span class="preview text"><ins>Nobody', html)


def test_a_quick_look_says_that_it_is_no_evidence(made: Made) -> None:
    result, answers = made()
    assert "no evidence for a release" in html_report(result.model_copy(update={"recorded": False}), answers)
    assert "no evidence for a release" not in html_report(result, answers)


def test_the_summary_has_a_row_for_each_domain_and_the_answers_side_by_side(made: Made) -> None:
    results = [made(domain=name)[0] for name in ("medical", "legal", "finance")]
    asked = [Asked("legal", "legal@2", "Is MIT permissive?", "Permissive", "It depends.", ["No legal advice."])]
    html = summary_report(results, asked)
    require_self_contained(html)
    for result in results:
        assert result.version in html
        assert f"{result.gain.mean:+.3f} [{result.gain.low:+.3f}, {result.gain.high:+.3f}]" in html
    for text in ("Is MIT permissive?", "Permissive", "It depends.", "No legal advice."):
        assert text in html
