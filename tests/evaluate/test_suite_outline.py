"""What `locum suite new` proposes fits the rows and the card, and passes `locum suite check`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from locum.adapters.suites import SuiteCard
from locum.evaluate.suite_check import check_suites
from locum.evaluate.suite_new import new_suite
from locum.settings import Settings
from tests.evaluate.suites import Row, Workshop, ask, talk, workshop_in, write_lines

WORDS = ["court", "appeal", "licence", "order", "statute", "judge", "ruling", "brief", "claim", "motion"]
COMPLIANCE = "compliance: {referral: true, forbidden: [guaranteed win]}\n"


@pytest.fixture
def workshop(settings: Settings) -> Workshop:
    return workshop_in(settings)


def propose(workshop: Workshop, rows: Sequence[Row], *, card: str = "") -> SuiteCard:
    """The suite that is proposed for these rows, once `locum suite check` has found nothing wrong with it."""
    path = workshop.domain.folder / "card.yaml"
    path.write_text(path.read_text() + card)
    source = write_lines(workshop.settings.home / "rows.jsonl", rows)
    new_suite(workshop.domain, "begun", source=str(source))
    [report] = check_suites(workshop.settings, "legal", "begun")
    assert report.wrong == []
    return workshop.domain.suite("begun")


def questions(count: int = 120) -> list[str]:
    """So many that are no near duplicates of one another."""
    return [
        f"{WORDS[n % 10]} {WORDS[n // 10 % 10]} {n * 7919} {WORDS[n % 7]} what does {n * 104729} say"
        for n in range(count)
    ]


LONG = (
    "The court of appeal may set the order aside where the judge has misread the statute, as case {} shows at length."
)


@pytest.mark.parametrize(
    ("answers", "metrics", "choices"),
    [
        (["billing", "delivery", "complaint"], ["exact_match"], ["billing", "delivery", "complaint"]),
        (["账单", "配送", "投诉"], ["exact_match"], ["账单", "配送", "投诉"]),
        (["yes", "no"], ["exact_match"], ["yes", "no"]),
        ([f"{n}.5 %" for n in range(120)], ["numeric", "exact_match"], None),
        ([f"${n},000" for n in range(1, 121)], ["numeric", "exact_match"], None),
        ([f"{n} mg" for n in range(120)], ["numeric", "exact_match"], None),
        ([f"{n:04}" for n in range(120)], ["exact_match", "token_f1"], None),
        ([f"2024-01-{n:02}x{n}" for n in range(120)], ["exact_match", "token_f1"], None),
        ([f"The {WORDS[n % 10]} of {n}" for n in range(120)], ["exact_match", "token_f1"], None),
        ([LONG.format(n) for n in range(120)], ["rouge_l", "chrf", "token_f1"], None),
        ([f'{{"drug": ["d{n}"], "dose": ["{n}"]}}' for n in range(120)], ["entity_f1"], None),
    ],
    ids=[
        "labels",
        "Chinese labels",
        "yes or no",
        "percent",
        "dollars",
        "unit",
        "codes",
        "dates",
        "short",
        "long",
        "JSON",
    ],
)
def test_metrics_fit_the_answers(
    workshop: Workshop, answers: list[str], metrics: list[str], choices: list[str] | None
) -> None:
    rows = [talk(question, answers[n % len(answers)]) for n, question in enumerate(questions())]
    card = propose(workshop, rows)
    assert card.metrics == metrics
    assert card.primary == metrics[0]
    assert card.generation.choices == choices


def test_rows_without_a_reference_get_no_metric_that_needs_one(workshop: Workshop) -> None:
    rows = [ask(question, None, kind="free") for question in questions()]
    card = propose(workshop, rows, card=COMPLIANCE)
    assert card.metrics == ["referral", "forbidden"]


def test_without_a_reference_and_without_demands_it_is_whether_there_is_an_answer(workshop: Workshop) -> None:
    card = propose(workshop, [ask(question, None, kind="free") for question in questions()])
    assert card.metrics == ["honesty"]


def test_what_the_card_demands_is_measured_besides(workshop: Workshop) -> None:
    rows = [talk(question, LONG.format(n)) for n, question in enumerate(questions())]
    card = propose(workshop, rows, card=COMPLIANCE)
    assert card.metrics == ["rouge_l", "chrf", "token_f1", "referral", "forbidden"]


def test_a_notice_is_measured_where_the_server_appends_it(workshop: Workshop) -> None:
    path = workshop.domain.folder / "card.yaml"
    enforced = "notices: {texts: [This is a test.], enforce: append}"
    path.write_text(path.read_text().replace("notices: [This is a test.]", enforced))
    card = propose(workshop, [talk(question, LONG.format(n)) for n, question in enumerate(questions())])
    assert "notice" in card.metrics


@pytest.mark.parametrize(
    ("fields", "metrics"),
    [
        ({"kind": "decline", "reference": None}, ["decline"]),
        ({"kind": "choice", "reference": None, "choices": ["a", "b"], "correct": 0}, ["choice", "brier"]),
        ({"kind": "preference", "reference": None, "chosen": "a", "rejected": "b"}, ["preference"]),
        ({"unknowable": True, "reference": None}, ["honesty"]),
        (
            {"kind": "extraction", "reference": {"drug": ["ibuprofen"]}, "schema": {"type": "object"}},
            ["entity_f1", "json_schema"],
        ),
    ],
    ids=["decline", "choice", "preference", "unknowable", "extraction"],
)
def test_other_kinds_get_their_own_metrics(workshop: Workshop, fields: dict[str, Any], metrics: list[str]) -> None:
    rows = [ask(question, **fields) for question in questions()]
    assert propose(workshop, rows).metrics == metrics


def test_the_longest_answer_has_room(workshop: Workshop) -> None:
    rows = [talk(question, LONG.format(n) * 5) for n, question in enumerate(questions())]
    assert propose(workshop, rows).generation.max_tokens >= 5 * len(LONG.split())


def test_a_suite_of_the_test_split_fits_the_split(workshop: Workshop) -> None:
    labels = ("billing", "delivery")
    write_lines(workshop.data / "test.jsonl", [talk(q, labels[n % 2]) for n, q in enumerate(questions())])
    new_suite(workshop.domain, "begun", source="test", data_path=workshop.data)
    card = workshop.domain.suite("begun")
    assert (card.samples, card.metrics, card.generation.choices) == ("test", ["exact_match"], list(labels))


def test_example_rows_are_scored_by_what_the_card_demands_too(workshop: Workshop) -> None:
    path = workshop.domain.folder / "card.yaml"
    path.write_text(path.read_text() + COMPLIANCE)
    new_suite(workshop.domain, "begun", kind="free")
    assert workshop.domain.suite("begun").metrics[-2:] == ["referral", "forbidden"]


def test_a_files_name_may_hold_what_yaml_reads(workshop: Workshop, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "a: #b.jsonl", [talk("one", "two words")])
    new_suite(workshop.domain, "begun", source=str(source))
    assert workshop.domain.suite("begun").description == "Rows of a: #b.jsonl."
