"""What counts as the same text, and what as a token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.wordings import contains, plain, spaced, tokens
from locum.evaluate.metrics.text import fenced, has_chinese, normalise, unfenced


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("  Respiratory. ", "respiratory"),
        ("**Respiratory**", "Respiratory"),
        ('"External  causes"!', "External causes"),
        ("ＩＣＤ－10", "icd-10"),
        ("呼吸系统疾病。", "呼吸系统疾病"),
        ("「肿瘤」", "肿瘤"),
        ("Cafe\u0301", "café"),
        ("STRASSE", "straße"),
    ],
)
def test_what_does_not_change_an_answer_is_normalised_away(answer: str, reference: str) -> None:
    assert normalise(answer) == normalise(reference)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("-5", "5"),
        ("(5)", "5"),
        ("5 %", "5"),
        (".5", "5"),
        ("3.5", "35"),
        ("$5", "5"),
        ("the eye", "eye"),
        ("Health-status", "Health status"),
    ],
)
def test_what_changes_an_answer_stays(answer: str, reference: str) -> None:
    assert normalise(answer) != normalise(reference)


@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
    assert plain(plain(text)) == plain(text)


def test_chinese_characters_and_kana_are_tokens_by_themselves() -> None:
    assert tokens("高血压 (type 2)、カゼ") == ["高", "血", "压", "type", "2", "カ", "ゼ"]
    assert tokens("हिन्दी café_2") == ["हिन्दी", "café", "2"]
    assert spaced("型2糖尿病").split() == ["型", "2", "糖", "尿", "病"]


def test_chinese_is_told_from_kana_and_from_letters() -> None:
    assert has_chinese("the 高 one")
    assert not has_chinese("カゼ and ひらがな, café")


@given(st.text(), st.text())
def test_a_text_contains_its_parts_by_whole_words(before: str, after: str) -> None:
    assert contains(f"{before} Not Medical advice, {after}", "not medical ADVICE!")
    assert not contains("This will secure it.", "cure")
    assert not contains(before, "...")


def test_a_fence_is_taken_off_only_where_it_is_all_around() -> None:
    assert unfenced('```json\n{"a": 1}\n```') == '{"a": 1}'
    assert unfenced(" ```\n[1]``` ") == "[1]"
    two = "```\na\n```\nand\n```\nb\n```"
    assert unfenced(two) == two
    assert fenced(two) == ["a", "b"]
