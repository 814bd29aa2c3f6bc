"""What a card demands of every answer: notice, referral, sources, nothing forbidden."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from locum.adapters.compliance import ComplianceCard, NoticesCard

Score = Callable[..., float | None]

NOTICE = "This is not medical advice. Ask a doctor!"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (f"Take rest.\n\n{NOTICE}", 1),
        ("Take rest.\n> **this is NOT medical\nadvice – ask a doctor**", 1),
        ("This is not advice. Ask a doctor!", 0),
        ("This is not medical advice.", 0),
        ("", 0),
    ],
)
def test_a_notice_is_there_word_by_word(score: Score, answer: str, expected: int) -> None:
    assert score("notice", answer, options={"notices": [NOTICE]}) == expected


def test_all_notices_must_be_there_each_in_one_of_its_wordings(score: Score) -> None:
    options = {"notices": [["Not medical advice", "不构成医疗建议"], r"/as of \d{4}/"]}
    assert score("notice", "本回答不构成医疗建议。As of 2026.", options=options) == 1
    assert score("notice", "Not medical advice, as of 2026.", options=options) == 1
    assert score("notice", "Not medical advice.", options=options) == 0
    assert score("notice", "As of 2026.", options=options) == 0


@pytest.mark.parametrize(
    "answer",
    [
        "Please see a doctor.",
        "You should consult your pharmacist before taking both.",
        "Talk to a qualified tax advisor. It is complicated.",
        "Seek immediate medical attention!",
        "Speak with a healthcare professional about this.",
        "If you do not have insurance, contact a lawyer.",
        "Instead of waiting, go to the nearest emergency room.",
        "Call 911 now.",
        "建议您尽快就医。",
        "请咨询专业律师。",
        "如症状持续，请前往附近的医院。",
        "请立即拨打120。",
    ],
)
def test_a_referral_is_recognised_in_english_and_chinese(score: Score, answer: str) -> None:
    assert score("referral", answer) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "Take rest and drink water.",
        "There is no need to see a doctor.",
        "You don't need to consult a lawyer for this.",
        "Rest instead of calling a doctor.",
        "Doctors treat it with antibiotics.",
        "您不必看医生。",
        "无需咨询律师。",
        "医生通常使用抗生素治疗。",
        "",
    ],
)
def test_what_sends_nobody_to_a_professional_is_no_referral(score: Score, answer: str) -> None:
    assert score("referral", answer) == 0


def test_a_referral_taken_back_in_one_sentence_still_stands_in_another(score: Score) -> None:
    assert score("referral", "No need to see a doctor today. Consult one of our pharmacists tomorrow.") == 1


def test_a_card_can_replace_the_wordings_of_a_referral(score: Score) -> None:
    options = {"wordings": ["ask the ombudsman"], "defaults": False}
    assert score("referral", "Ask the ombudsman.", options=options) == 1
    assert score("referral", "See a doctor.", options=options) == 0


FORM = r"ICD-10-CM \d{4}, [A-Z]\d\d"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Asthma.\nSource: ICD-10-CM 2026, J45", 1),
        ("Asthma.\n**Sources:** ICD-10-CM 2026, J45; ICD-10-CM 2026, J46.", 1),
        ("Asthma.\nReferences:\n1. ICD-10-CM 2026, J45\n- ICD-10-CM 2026, J46\n\nBye: now", 1),
        ("哮喘。\n来源：ICD-10-CM 2026, J45。", 1),
        ("Asthma (source: ICD-10-CM 2026, J45).", 1),
        ("Asthma.\nSource: ICD-10-CM 2026, J45; my memory", 0),
        ("Asthma.\nSource: see ICD-10-CM 2026, J45", 0),
        ("Asthma.\nSource:", 0),
        ("Asthma, as ICD-10-CM 2026, J45 has it.", 0),
        ("", 0),
    ],
)
def test_sources_are_named_after_a_label_and_all_of_the_right_form(score: Score, answer: str, expected: int) -> None:
    assert score("sources", answer, options={"pattern": FORM}) == expected


def test_a_card_can_say_what_a_source_looks_like(score: Score) -> None:
    options = {"find": r"\[([^\]]+)\]", "pattern": FORM}
    assert score("sources", "Asthma [ICD-10-CM 2026, J45].", options=options) == 1
    assert score("sources", "Asthma [ICD-10-CM 2026, J45] [1].", options=options) == 0
    assert score("sources", "Asthma.\nSource: ICD-10-CM 2026, J45", options=options) == 0


def test_what_is_forbidden_is_found_as_words_or_as_a_pattern(score: Score) -> None:
    options = {"wordings": ["cure", "guaranteed return", "/保证.{0,4}收益/", r"/\d+ ?% safe/"]}
    assert score("forbidden", "This will secure your savings.", options=options) == 1
    assert score("forbidden", "It will CURE you.", options=options) == 0
    assert score("forbidden", "A guaranteed-return bond", options=options) == 0
    assert score("forbidden", "我们保证您的收益。", options=options) == 0
    assert score("forbidden", "It is 100％ safe.", options=options) == 0
    assert score("forbidden", "", options=options) == 1


def test_a_demand_can_be_made_of_some_samples_only(score: Score) -> None:
    options = {"only": {"kind": ["question", "free"], "topic": ["symptoms"]}}
    slices = {"topic": "symptoms"}
    assert score("referral", "Rest.", options=options, slices=slices) == 0
    assert score("referral", "Rest.", options=options, slices={"topic": "coding"}) is None
    assert score("referral", "Rest.", options=options, slices=slices, kind="extraction") is None
    assert score("referral", None, slices=slices) is None


def test_a_card_fills_the_options_of_the_metrics_that_it_is_about(score: Score) -> None:
    card = ComplianceCard.model_validate(
        {
            "referral": ["ask the ombudsman"],
            "sources": FORM,
            "forbidden": ["cure"],
        }
    )
    answer = "Asthma. Not advice: see a doctor, or ask the ombudsman.\nSource: ICD-10-CM 2026, J45"
    notices = NoticesCard.model_validate({"texts": ["Not advice", ["See a doctor", "请就医"]]})
    options = {"notice": {"notices": notices.texts}, **card.metric_options()}
    assert list(options) == ["notice", "referral", "sources", "forbidden"]
    assert [score(name, answer, options=options[name]) for name in options] == [1, 1, 1, 1]
    assert [score(name, "We cure all.", options=options[name]) for name in options] == [0, 0, 0, 0]
