"""Cleaning: what is wrong is mended or dropped and said, and what is right stays as it is."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from stdnum.cn import ric

from locum.adapters.cleaning import CleaningCard
from locum.adapters.conversations import Conversation, Preference
from locum.train.data.cleaning import Change, Cleaner


def row(question: str, answer: str = "Yes.") -> Conversation:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Conversation.model_validate({"conversations": turns})


def cleaned(found: Conversation | Preference, **card: Any) -> tuple[Any, tuple[Change, ...]]:
    done = Cleaner(CleaningCard(**card))(found)
    return done.row, done.changes


RIGHT = [
    "ICD-10 J45.909, 第123条第2款, $1,234,567.89, 2024-11-02, 02.11.2024, 14:35:07, version 1.2.3.4, 3.14159265358979",
    "“Curly quotes” – dashes, ﬁ, ＡＢＣ，全角　空格; naïve café Straße",
    "case number 2023-CV-0012345, invoice 4539578763621487x, ISBN 978-3-16-148410-0, 12345678901234567890",
    "```python\nif a <= b:\n    print('x')\n```",
    "SELECT 1;",
    "order 2025551234 of 1 000 000 pieces, 110105194912310021 is no identity card",
    "51 Franklin Street, Fifth Floor, Boston, MA 02110-1301, USA",
]


@pytest.mark.parametrize("text", RIGHT)
def test_what_is_right_stays_as_it_is(text: str) -> None:
    assert cleaned(row(text, text)) == (row(text, text), ())


@pytest.mark.parametrize(
    ("text", "wanted", "step"),
    [
        ("The lesseeâ€™s duty", "The lessee’s duty", "encoding"),
        ("ä¸\xadå›½æ³•å¾‹", "中国法律", "encoding"),
        (" two\r\nlines\x00\u200b\n", "two\nlines", "normalise"),
        ("cafe\u0301", "café", "normalise"),
        ("Mail jo.doe+x@clinic.example.org now", "Mail <EMAIL> now", "personal"),
        ("电话13800138000，身份证11010519491231002X。", "电话<PHONE>，身份证<IDENTITY_CARD>。", "personal"),
        ("身份证号：11010519491231002x", "身份证号：<IDENTITY_CARD>", "personal"),
        ("Call +44 20 7946 0958 or (202) 456-1111", "Call <PHONE> or <PHONE>", "personal"),
        ("打 010-6552 9988 找我", "打 <PHONE> 找我", "personal"),
        ("Card 4111 1111 1111 1111.", "Card <CREDIT_CARD>.", "personal"),
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN <IBAN>", "personal"),
        ("SSN 219-09-9998", "SSN <US_SSN>", "personal"),
    ],
)
def test_what_is_wrong_is_put_right_and_the_step_is_named(text: str, wanted: str, step: str) -> None:
    found, changes = cleaned(row(text))
    assert found == row(wanted)
    assert [(change.step, change.action) for change in changes] == [(step, "changed")]
    off = {"encoding": {"encoding": False}, "normalise": {"normalise": False}, "personal": {"personal": "keep"}}
    assert cleaned(row(text), **off[step])[1] == ()


@pytest.mark.parametrize(
    ("found", "card", "step", "reason"),
    [
        (row("q", "First, second,"), {}, "cut_off", "after a comma"),
        (row("q", "首先，"), {}, "cut_off", "after a comma"),
        (row("q", "```python\nprint(1)"), {}, "cut_off", "in a code block"),
        (row("q", "\u200b"), {}, "normalise", "nothing is left"),
        (row("q", "no"), {"shortest": 3}, "length", "shorter than 3"),
        (row("q" * 90, "a" * 20), {"longest": 100}, "length", "longer than 100"),
        (
            row("Was ist ein Pfandrecht an beweglichen Sachen nach deutschem Recht?"),
            {"languages": ["en"]},
            "languages",
            "de",
        ),
        (row("Call +44 20 7946 0958"), {"personal": "drop"}, "personal", "personal data: phone"),
        (row("Buy our Casino chips"), {"unwanted": ["(?i)casino"]}, "unwanted", "(?i)casino"),
    ],
)
def test_what_cannot_be_mended_is_dropped_with_the_reason(
    found: Conversation, card: dict[str, Any], step: str, reason: str
) -> None:
    gone, changes = cleaned(found, **card)
    assert gone is None
    assert (changes[-1].step, changes[-1].action) == (step, "dropped")
    assert reason in changes[-1].reason


def test_a_step_that_is_off_or_satisfied_drops_nothing() -> None:
    broken, chinese = row("Was ist?", "First,"), row("什么是留置权？" * 8, "对财产的权利。")
    assert cleaned(broken, cut_off=False) == (broken, ())
    assert cleaned(chinese, languages=["en", "zh"]) == (chinese, ())


def test_both_answers_of_a_preference_are_cleaned_and_two_that_become_one_are_dropped() -> None:
    pair = Preference.model_validate(
        {"prompt": [{"role": "user", "content": "q"}], "chosen": "call +44 20 7946 0958", "rejected": "call no one"}
    )
    assert cleaned(pair)[0] == pair.model_copy(update={"chosen": "call <PHONE>"})
    same = pair.model_copy(update={"rejected": "call +44 20 7946 0959"})
    assert cleaned(same)[0] is None


cards = st.builds(CleaningCard, personal=st.sampled_from(["mask", "drop", "keep"]), shortest=st.integers(1, 3))
pieces = st.sampled_from([*RIGHT, "â€™", "\r\n", "+44 20 7946 0958", "a@b.example", "\x07", "，", "```", "13800138000"])
anything = st.one_of(
    st.text(min_size=1), st.lists(pieces, min_size=1).map("".join), st.lists(pieces, min_size=1).map(" ".join)
)


@given(anything, anything, cards)
@settings(max_examples=300, deadline=None)
@example("0", "\x8a\x1f¯", CleaningCard())
def test_cleaning_again_changes_nothing_more(question: str, answer: str, card: CleaningCard) -> None:
    once = Cleaner(card)(row(question, answer)).row
    if once is not None:
        again = Cleaner(card)(once)
        assert (again.row, again.changes) == (once, ())


@given(
    st.dates(min_value=datetime.date(1930, 1, 1), max_value=datetime.date(2020, 1, 1)),
    st.integers(1, 999),
    st.sampled_from(["110105", "310101", "440305"]),
    st.text(alphabet="患者姓名住址，。 abc", max_size=10),
)
def test_no_valid_identity_card_survives(born: Any, number: int, county: str, around: str) -> None:
    digits = f"{county}{born:%Y%m%d}{number:03d}"
    card = digits + ric.calc_check_digit(f"{digits}0")
    found, _ = cleaned(row(f"{around}，{card}。{around}"))
    assert card not in found.question


def test_a_wrong_pattern_or_region_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="is no regular expression"):
        CleaningCard(unwanted=["("])
    with pytest.raises(ValidationError, match="expected ISO 3166 codes such as CN, found Chine"):
        CleaningCard(phone_regions=["Chine"])
