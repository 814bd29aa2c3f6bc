"""Chinese numerals: 三百二十五, 一万二千, 二〇二四, 三点五."""

from __future__ import annotations

from decimal import Decimal

_SPELLINGS = ("零〇", "一壹", "二两贰", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖")
DIGITS = {character: value for value, characters in enumerate(_SPELLINGS) for character in characters}
TENS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
MYRIADS = {"万": 10**4, "亿": 10**8}
SIMPLIFIED = str.maketrans("萬億貳參陸兩點負個圓幣鎊歐韓", "万亿贰叁陆两点负个元币镑欧韩")
"""What the tables here write in simplified characters only."""

_LONGEST = 40


def multiplier(text: str) -> int:
    """What 万, 百万, 万亿 and the like multiply a number by."""
    product = 1
    for character in text:
        product *= (TENS | MYRIADS)[character]
    return product


def chinese_number(text: str) -> Decimal | None:
    """The value of a numeral in Chinese characters; none where they do not make one, or are more than 40."""
    if len(text) > _LONGEST:
        return None
    whole, point, fraction = text.partition("点")
    if point and (not fraction or any(c not in DIGITS for c in fraction)):
        return None
    if len(whole) > 1 and all(c in DIGITS for c in whole):  # read digit by digit, as years are
        value: int | None = int("".join(str(DIGITS[c]) for c in whole))
    else:
        value = _whole(whole)
    if value is None:
        return None
    return Decimal(f"{value}.{''.join(str(DIGITS[c]) for c in fraction)}" if point else value)


def _whole(text: str) -> int | None:
    """By myriads: `total` is above the last 亿, `section` above the last 万, `rest` below it."""
    total = section = rest = 0
    digit: int | None = None
    for character in text:
        if character in DIGITS:
            if digit:
                return None
            digit = DIGITS[character]
        elif character in TENS:
            rest += (1 if digit is None else digit) * TENS[character]
            digit = None
        elif character == "万":
            section, rest, digit = (section + rest + (digit or 0)) * 10**4, 0, None
        elif character == "亿":
            total, section, rest, digit = (total + section + rest + (digit or 0)) * 10**8, 0, 0, None
        else:
            return None
    return total + section + rest + (digit or 0) if text else None
