"""Numbers as people write them, and when one matches another."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.evaluate.metrics.numerals import chinese_number
from locum.evaluate.metrics.quantities import read_quantities

Score = Callable[..., float | None]


def numbers(text: str, **options: str) -> list[float]:
    return [float(quantity.number) for quantity in read_quantities(text, **options)]  # type: ignore[arg-type]


def units(text: str) -> list[str]:
    """Each quantity's kind of unit and how many of it, as in `%·0.01` for basis points."""
    return [
        f"{'|'.join(sorted(quantity.unit.kinds))}·{quantity.unit.factor.normalize():f}" if quantity.unit else ""
        for quantity in read_quantities(text)
    ]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234.5", 1234.5),
        ("1,234,567", 1234567),
        ("12,34,567.50", 1234567.5),
        ("1.234.567,89", 1234567.89),
        ("1.234,56", 1234.56),
        ("1 234 567,8", 1234567.8),
        ("1\u202f234", 1234),
        ("1'234.50", 1234.5),
        ("0,125", 0.125),
        ("1,5", 1.5),
        (".5", 0.5),
        ("１２．５", 12.5),
        ("-3.2", -3.2),
        ("−3.2", -3.2),
        ("+7", 7),
        ("minus 5", -5),
        ("负5", -5),
        ("(1,234)", -1234),
        ("($1.2 million)", -1200000),
        ("$-3", -3),
        ("-$3", -3),
        ("1.5e-3", 0.0015),
        ("1.5×10⁶", 1500000),
        ("2 x 10^-2", 0.02),
        ("10⁶", 1000000),
        ("5k", 5000),
        ("5 thousand", 5000),
        ("$5.2m", 5200000),
        ("3.1bn", 3.1e9),
        ("3.1 B", 3.1e9),
        ("2 trillion", 2e12),
        ("3 lakh", 300000),
        ("3.5万", 35000),
        ("2亿", 2e8),
        ("3.5万亿元", 3.5e12),
        ("5千万", 5e7),
        ("3亿2000万元", 3.2e8),
        ("1.2億圓", 1.2e8),
        ("三百二十五", 325),
        ("一万二千元", 12000),
        ("贰拾万元", 200000),
        ("三点五倍", 3.5),
        ("二〇二四年", 2024),
        ("百分之五", 5),
        ("负百分之三", -3),
    ],
)
def test_one_number_is_read_however_it_is_written(text: str, number: float) -> None:
    assert numbers(text) == [number]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("5%", "%·1"),
        ("5 per cent", "%·1"),
        (r"5\%", "%·1"),
        ("1.5 percentage points", "%·1"),
        ("25 bps", "%·0.01"),
        ("3‰", "%·0.1"),
        ("百分之五", "%·1"),
        ("25个基点", "%·0.01"),
        ("$5", "USD·1"),
        ("US$ 5", "USD·1"),
        ("A$5", "AUD·1"),
        ("USD 5bn", "USD·1"),
        ("5 billion US dollars", "USD·1"),
        ("5 €", "EUR·1"),
        ("￥500", "CNY|JPY·1"),
        ("人民币5万元", "CNY·1"),
        ("50 cents", "EUR|USD·0.01"),
        ("10-year", "month·12"),
        ("3个月", "month·1"),
        ("12.5 mg", "g·0.001"),
        ("3千克", "g·1000"),
        ("3x", "times·1"),
        ("(5) days", "day·1"),
        ("in 2023年", ""),
        ("5", ""),
    ],
)
def test_units_are_read_on_either_side(text: str, unit: str) -> None:
    assert units(text) == [unit]


def test_several_quantities_keep_their_own_units() -> None:
    text = "Revenue was $5.2 million in 2023, up 12% (100 USD = 90 EUR)."
    assert numbers(text) == [5200000, 2023, 12, 100, 90]
    assert units(text) == ["USD·1", "", "%·1", "USD·1", "EUR·1"]


def test_hyphens_between_numbers_are_no_signs_and_contracts_say_numbers_twice() -> None:
    assert numbers("5-10%, 2023-12-31, from 5 to -10") == [5, 10, 2023, 12, 31, 5, -10]
    assert numbers("within thirty (30) days") == [30]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        "ICD-10, Q3, FY2023, 3rd, m²",
        "31.12.2024",
        "1,2,3",
        "v2.1.3",
        "1/2",
        "第一, 一般, 十分, 第3条",
        "一" * 5000,
    ],
)
def test_what_is_no_number_is_not_read(text: str) -> None:
    assert numbers(text) == []


def test_a_lone_mark_before_three_digits_is_read_as_told() -> None:
    assert numbers("1,234 and 1.234") == [1234, 1.234]
    assert numbers("1,234 and 1.234", decimal="comma") == [1.234, 1234]
    assert numbers("1,234 and 1,5", decimal="point") == [1234]


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    for decimal in ("auto", "comma", "point"):
        assert all(isinstance(number, float) for number in numbers(text, decimal=decimal))


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=3))
def test_a_number_written_with_thousands_separators_is_read_back(number: Decimal) -> None:
    assert numbers(f"{number:,}") == [float(number)]


@given(st.integers(0, 10**12 - 1))
def test_a_chinese_numeral_is_read_back(number: int) -> None:
    assert chinese_number(in_chinese(number)) == number


def in_chinese(number: int) -> str:
    """A whole number below 10¹² as it is written: 10203 is 一万零二百零三."""
    digits = "零一二三四五六七八九"
    if number < 10:
        return digits[number]
    for value, name in ((10**8, "亿"), (10**4, "万"), (1000, "千"), (100, "百"), (10, "十")):
        if number >= value:
            rest = number % value
            zero = "零" if rest and rest < value // 10 else ""
            return in_chinese(number // value) + name + zero + (in_chinese(rest) if rest else "")
    raise AssertionError


# --- the metric


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("The total is 42.", "42", 1),
        ("3 + 4 = 7, so the answer is 7", "7", 1),
        ("7, because 3 + 4", "7", 0),
        ("$1.2bn", "USD 1,200 million", 1),
        ("500 bp", "5%", 1),
        ("5", "5%", 0),
        ("0.05", "5%", 0),
        ("5%", "5", 1),
        ("€5 million", "$5 million", 0),
        ("It made $5 million in fiscal 2023.", "$5 million", 1),
        ("a year", "12 months", 0),
        ("1 year", "12 months", 1),
        ("36 hours", "1.5 days", 1),
        ("500日元", "¥500", 1),
        ("500元", "¥500", 1),
        ("(1,234)", "-1234", 1),
        ("净利润为3.5亿元", "350,000,000元", 1),
        ("增长了百分之十二", "12%", 1),
        ("", "42", 0),
        ("I do not know", "42", 0),
        ("42", "no number", None),
        ("42", "", None),
    ],
)
def test_an_answer_matches_by_number_and_unit(score: Score, answer: str, reference: str, expected: int | None) -> None:
    assert score("numeric", answer, reference) == expected


def test_tolerances_are_bounds_that_belong_to_the_right_side(score: Score) -> None:
    assert score("numeric", "101", "100", options={"relative": 0.01}) == 1
    assert score("numeric", "101.01", "100", options={"relative": 0.01}) == 0
    assert score("numeric", "99", "-100", options={"relative": 0.5}) == 0
    assert score("numeric", "5.1%", "5%", options={"absolute": 0.1}) == 1
    assert score("numeric", "511 bp", "5%", options={"absolute": 0.1}) == 0
    assert score("numeric", "510 bp", "5%", options={"absolute": 0.1}) == 1


def test_the_first_number_can_count_and_units_can_be_ignored(score: Score) -> None:
    assert score("numeric", "7, because 3 + 4", "7", options={"which": "first"}) == 1
    assert score("numeric", "€5", "$5", options={"units": "ignore"}) == 1
    assert score("numeric", "1.234", "1234", options={"decimal": "comma"}) == 1


@given(
    st.decimals(-(10**9), 10**9, places=2),
    st.sampled_from(["", "%", " bps", " USD", "元", "万元", " million", " years"]),
)
def test_a_quantity_matches_itself(score: Score, number: Decimal, unit: str) -> None:
    assert score("numeric", f"It is {number:,}{unit}.", f"{number:,}{unit}") == 1


@given(st.text(min_size=1))
def test_a_text_with_a_number_matches_itself(score: Score, text: str) -> None:
    assert score("numeric", text, text) in (1, None)
