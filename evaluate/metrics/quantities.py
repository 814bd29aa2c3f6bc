"""Reading numbers with their units from text, as people write them in English and in Chinese."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from locum.evaluate.metrics.numerals import DIGITS, MYRIADS, SIMPLIFIED, TENS, chinese_number, multiplier
from locum.evaluate.metrics.units import CODES, MARKS, MULTIPLIERS, PARTS, SIGNS, WORDS, Unit

DecimalMark = Literal["auto", "point", "comma"]


@dataclass(frozen=True)
class Quantity:
    """A number as it counts (`5 million` is 5000000, `5%` is 5), and its unit if one is named."""

    number: Decimal
    unit: Unit | None


def _any(spellings: Mapping[str, object]) -> str:
    return "|".join(re.escape(spelling) for spelling in sorted(spellings, key=len, reverse=True))


_GAP = "[ \u00a0\u2009\u202f]"
# A number ends where neither a digit nor a mark with a digit follows, so that dates and versions are none.
_DIGITS = re.compile(
    rf"""(?<![\d.,'’])(?:
      \d{{1,3}}(?:{_GAP}\d{{3}})+(?:[.,]\d+)?    # 1 234 567,89
    | \d{{1,3}}(?:['’]\d{{3}})+(?:[.,]\d+)?      # 1'234'567.89
    | \.?\d+(?:[.,]\d+)*                        # all others, read further in `_decimal`
    )(?!\d|[.,'’]\d)(?:[eE](?P<exponent>[-+−]?\d{{1,3}})(?![\w.])|{_GAP}?[x×*·]{_GAP}?10\^(?P<power>[-+−]?\d{{1,3}}))?""",
    re.VERBOSE,
)
_MARKED_DIGITS = re.compile(r"[\d.,'’]+")
_NUMERAL = f"[{''.join([*DIGITS, *TENS, *MYRIADS])}]+(?:点[{''.join(DIGITS)}]+)?"
_NUMBER = re.compile(rf"(?<![\d.,^])10\^(?P<power>[-+−]?\d{{1,3}})(?!\d)|(?P<digits>(?=\.?\d))|(?P<numeral>{_NUMERAL})")
_BEFORE = re.compile(
    rf"(?P<paren>\({_GAP}?)?(?P<minus>(?:(?<![A-Za-z0-9)%])[-−–]|(?i:\b(?:minus|negative)\b)|负){_GAP}?)?(?P<plus>\+)?"
    rf"(?:(?P<currency>{_any(SIGNS)}|(?<![A-Za-z])(?:{_any(CODES)})|人民币){_GAP}?(?P<minus2>[-−])?)?"
    rf"(?P<part>{_any(PARTS)})?$"
)
_WITHIN = re.compile(r"[A-Za-z_^/第][-.]?$")  # Q3, ICD-10, v.2, m^2, 第3条: part of a name and no number
_MULTIPLIER = re.compile(
    rf"(?P<word>{_GAP}?(?i:{_any(MULTIPLIERS)})(?![A-Za-z]))|{_GAP}?(?P<han>[十百千]?[万亿]{{1,2}}|[百千](?!克))"
)
_UNIT = re.compile(
    rf"(?P<mark>{_GAP}?(?:{_any(MARKS)}))|(?P<sign>{_GAP}?(?:{_any(SIGNS)}))|(?P<code>{_GAP}?(?:{_any(CODES)})(?![A-Za-z]))"
    rf"|(?P<word>(?:{_GAP}|-)?(?i:{_any(WORDS)})(?![A-Za-z]))"
)
_SUPERSCRIPT = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")


def read_quantities(text: str, *, decimal: DecimalMark = "auto") -> list[Quantity]:
    """All quantities of a text, in order.

    Read are thousands separators (`1,234`, `1 234`, `1'234`, `12,34,567`), the decimal comma, scientific notation,
    signs, negatives in parentheses (`(1,234)`, but not `thirty (30) days`), currency signs and ISO codes on either
    side, percent, basis points and ‰, multipliers from `k` to `trillion` (`m` and `mm` are millions) and from 百 to
    万亿, and Chinese numerals.
    Not read are English numerals (`five`), fractions, dates such as 31.12.2024, and numbers inside names (`Q3`,
    `ICD-10`, `3rd`).

    Args:
        decimal: what a single comma or point before three digits means. `auto`: `1,234` is a thousand, `1.234` is one
            and a bit, as in English; other commas (`1,5`, `0,125`) are decimal. `comma`: `1,234` is one and a bit,
            `1.234` a thousand. `point`: a comma is never decimal.
    """
    return list(_scan(_readable(text), decimal))


def _scan(text: str, decimal: DecimalMark) -> Iterator[Quantity]:
    position = consumed = 0
    while found := _NUMBER.search(text, position):
        start = found.start()
        value, end = _value(text, found, decimal)
        before = _BEFORE.search(text, max(consumed, start - 24), start)
        position = max(end, start + 1)
        if value is None or before is None:
            continue
        named = bool(before["currency"] or before["part"])
        if not named and _WITHIN.search(text[max(0, start - 2) : start]):
            continue
        value, end = _multiplied(text, value, end, decimal)
        unit, after = _unit_after(text, end)
        if unit is MARKS["年"] and 1000 <= value < 3000:
            unit = None  # a date, and no span of time
        if unit is None and text[end : end + 1].isascii() and text[end : end + 1].isalpha():
            continue  # 3rd, 10Q
        if re.match(r"/\d", text[end : end + 2]):
            continue  # 1/2, 12/31
        if found["numeral"] and not named and unit is None and not _is_clear(found["numeral"]):
            continue
        unit = unit or _unit_before(before)
        closed = bool(before["paren"]) and text[after : after + 1] == ")"
        if closed and unit is None:
            unit, after = _unit_after(text, after + 1)  # thirty (30) days, as contracts have it
            closed = unit is None
        if before["minus"] or before["minus2"] or closed:
            value = -value
        consumed = position = after
        yield Quantity(value, unit)


def _value(text: str, found: re.Match[str], decimal: DecimalMark) -> tuple[Decimal | None, int]:
    """The number that begins at a match, and where it ends."""
    if found["numeral"]:
        return chinese_number(found["numeral"]), found.end()
    if found["power"]:
        return _power(found["power"]), found.end()
    digits = _DIGITS.match(text, found.start())
    if digits is None:
        rest = _MARKED_DIGITS.match(text, found.start())  # passed over as a whole
        return None, rest.end() if rest else found.end()
    exponent = digits["exponent"] or digits["power"]
    mantissa = re.split(r"[eE]|" + _GAP + r"?[x×*·]", digits[0])[0] if exponent else digits[0]
    value = _decimal(re.sub(rf"{_GAP}|['’]", "", mantissa), decimal)
    if value is not None and exponent:
        value *= _power(exponent)
    return value, digits.end()


def _decimal(digits: str, decimal: DecimalMark) -> Decimal | None:
    """Digits with points and commas as a number; none where the marks fit no way of writing one."""
    marks = [c for c in digits if c in ".,"]
    if not marks:
        return Decimal(digits)
    last = marks[-1]
    if len(set(marks)) == 2:
        grouped, _, fraction = digits.rpartition(last)
        return _ungrouped(grouped, marks[0], fraction)
    if len(marks) > 1:
        return _ungrouped(digits, last, "")
    thousands = re.fullmatch(r"[1-9]\d{0,2}[.,]\d{3}", digits) and last == ("." if decimal == "comma" else ",")
    if thousands:
        return Decimal(digits.replace(last, ""))
    return None if last == "," and decimal == "point" else Decimal("0" + digits.replace(",", "."))


def _ungrouped(grouped: str, mark: str, fraction: str) -> Decimal | None:
    """Groups of three, or of two before the last as in India, freed of their mark."""
    mark = re.escape(mark)
    if not re.fullmatch(rf"\d{{1,3}}(?:{mark}\d{{3}})+|\d{{1,2}}(?:{mark}\d{{2}})+{mark}\d{{3}}", grouped):
        return None
    return Decimal(re.sub(mark, "", grouped) + (f".{fraction}" if fraction else ""))


def _power(exponent: str) -> Decimal:
    return Decimal(10) ** int(exponent.replace("−", "-"))


def _multiplied(text: str, value: Decimal, end: int, decimal: DecimalMark) -> tuple[Decimal, int]:
    """The number times what follows it, such as `million` or 万; 3亿2000万 and 3万5千 are added up."""
    found = _MULTIPLIER.match(text, end)
    if not found:
        return value, end
    if found["word"]:
        return value * MULTIPLIERS[found["word"].strip("\u00a0\u2009\u202f ").lower()], found.end()
    factor, end = multiplier(found["han"]), found.end()
    value *= factor
    while (more := _DIGITS.match(text, end)) and (next_one := _MULTIPLIER.match(text, more.end())) and next_one["han"]:
        part = _decimal(more[0], decimal)
        smaller = multiplier(next_one["han"])
        if part is None or smaller >= factor:
            break
        value, factor, end = value + part * smaller, smaller, next_one.end()
    return value, end


def _unit_after(text: str, end: int) -> tuple[Unit | None, int]:
    found = _UNIT.match(text, end)
    if not found:
        return None, end
    kind = str(found.lastgroup)
    spelling = found[kind].lstrip("\u00a0\u2009\u202f -")
    table = {"mark": MARKS, "sign": SIGNS, "code": CODES, "word": WORDS}[kind]
    return table[spelling.lower() if kind == "word" else spelling], found.end()


def _unit_before(before: re.Match[str]) -> Unit | None:
    if before["part"]:
        return PARTS[before["part"]]
    if not before["currency"]:
        return None
    return {**SIGNS, **CODES, "人民币": CODES["CNY"]}[before["currency"]]


def _is_clear(numeral: str) -> bool:
    """Whether a numeral without a unit counts something: 一般 and 七八个 hold numerals too."""
    return len(numeral) > 2 or (len(numeral) == 2 and any(c in TENS or c in MYRIADS for c in numeral))


def _readable(text: str) -> str:
    """Full-width to plain, raised digits after `^`, traditional numerals to simplified, LaTeX's `\\%` to `%`."""
    text = _SUPERSCRIPT.sub(lambda raised: "^" + unicodedata.normalize("NFKC", raised[0]), text)
    return unicodedata.normalize("NFKC", text).translate(SIMPLIFIED).replace("\\%", "%")
