"""What a spreadsheet shows of a number, by its number format (ECMA-376, 18.8.30 and 18.8.31).

What the file leaves to the program that shows it is decided here: a decimal point, commas between thousands, names of
months in English where no language is named, and a date as 2027-03-31 where its form is that of the reader's system.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import cache
from math import floor, log10

GENERAL = "General"
SYSTEM_DATE = "[$-F800]"
BUILT_IN = {
    0: GENERAL, 1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 5: '"$"#,##0_);("$"#,##0)', 6: '"$"#,##0_);("$"#,##0)',
    7: '"$"#,##0.00_);("$"#,##0.00)', 8: '"$"#,##0.00_);("$"#,##0.00)', 9: "0%", 10: "0.00%", 11: "0.00E+00",
    12: "# ?/?", 13: "# ??/??", 14: SYSTEM_DATE, 15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss", 22: SYSTEM_DATE, 37: "#,##0_);(#,##0)", 38: "#,##0_);(#,##0)",
    39: "#,##0.00_);(#,##0.00)", 40: "#,##0.00_);(#,##0.00)", 41: "#,##0", 42: '"$"#,##0', 43: "#,##0.00",
    44: '"$"#,##0.00', 45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0", 48: "##0.0E+0", 49: "@",
    **dict.fromkeys([*range(27, 37), *range(50, 59)], SYSTEM_DATE),
}  # fmt: skip
"""The formats that a file names by number alone. 27 to 36 and 50 to 58 are dates that East Asian Excel shows."""
WIDTH = 11
"""Characters that a number without a format has room for."""
_TOKEN = re.compile(
    r'"(?P<text>[^"]*)"?|\\(?P<escaped>.)|_(?P<space>.)|\*(?P<fill>.)|\[(?P<bracket>[^\]]*)\]'
    r"|(?P<half>AM/PM|A/P|上午/下午)|(?P<general>General)"
    r"|(?P<number>[0#?]|E[+-]|[.,%/@])|(?P<date>y+|m+|d+|h+|s+|e+|g+|b+|a{3,4})|(?P<literal>.)",
    re.IGNORECASE | re.DOTALL,
)
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=)\s*(-?[\d.]+)")
_LANGUAGES = {
    0x04: "zh", 0x07: "de", 0x09: "en", 0x0A: "es", 0x0C: "fr", 0x10: "it", 0x11: "ja", 0x12: "ko", 0x13: "nl",
    0x15: "pl", 0x16: "pt", 0x19: "ru",
}  # fmt: skip
_NAMES = {
    "en": (
        "January February March April May June July August September October November December",
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
        "Monday Tuesday Wednesday Thursday Friday Saturday Sunday", "Mon Tue Wed Thu Fri Sat Sun",
    ),
    "de": (
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        "Jan Feb Mrz Apr Mai Jun Jul Aug Sep Okt Nov Dez",
        "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag", "Mo Di Mi Do Fr Sa So",
    ),
    "fr": (
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
        "lundi mardi mercredi jeudi vendredi samedi dimanche", "lun. mar. mer. jeu. ven. sam. dim.",
    ),
    "es": (
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "ene feb mar abr may jun jul ago sep oct nov dic",
        "lunes martes miércoles jueves viernes sábado domingo", "lun mar mié jue vie sáb dom",
    ),
    "it": (
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "gen feb mar apr mag giu lug ago set ott nov dic",
        "lunedì martedì mercoledì giovedì venerdì sabato domenica", "lun mar mer gio ven sab dom",
    ),
    "nl": (
        "januari februari maart april mei juni juli augustus september oktober november december",
        "jan feb mrt apr mei jun jul aug sep okt nov dec",
        "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag", "ma di wo do vr za zo",
    ),
    "pl": (
        "styczeń luty marzec kwiecień maj czerwiec lipiec sierpień wrzesień październik listopad grudzień",
        "sty lut mar kwi maj cze lip sie wrz paź lis gru",
        "poniedziałek wtorek środa czwartek piątek sobota niedziela", "pon. wt. śr. czw. pt. sob. niedz.",
    ),
    "pt": (
        "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        "jan fev mar abr mai jun jul ago set out nov dez",
        "segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado domingo", "seg ter qua qui sex sáb dom",
    ),
    "ru": (
        "Январь Февраль Март Апрель Май Июнь Июль Август Сентябрь Октябрь Ноябрь Декабрь",
        "янв фев мар апр май июн июл авг сен окт ноя дек",
        "понедельник вторник среда четверг пятница суббота воскресенье", "Пн Вт Ср Чт Пт Сб Вс",
    ),
    "zh": (
        "一月 二月 三月 四月 五月 六月 七月 八月 九月 十月 十一月 十二月", " ".join(f"{n}月" for n in range(1, 13)),
        "星期一 星期二 星期三 星期四 星期五 星期六 星期日", "周一 周二 周三 周四 周五 周六 周日",
    ),
    "ja": (
        *[" ".join(f"{n}月" for n in range(1, 13))] * 2,
        "月曜日 火曜日 水曜日 木曜日 金曜日 土曜日 日曜日", "月 火 水 木 金 土 日",
    ),
    "ko": (
        *[" ".join(f"{n}월" for n in range(1, 13))] * 2,
        "월요일 화요일 수요일 목요일 금요일 토요일 일요일", "월 화 수 목 금 토 일",
    ),
}  # fmt: skip
SYSTEM_NOTE = "dates in the form of the reader's system are written 2027-03-31"
LANGUAGE_NOTE = (
    "names of months and days are written in English, where a cell's format names no language or an unusual one"
)


class FormatError(ValueError):
    """A number format that is not understood."""


@dataclass(frozen=True)
class Shown:
    """What is seen of a cell, its time where it is one, and what was decided for want of a better knowledge."""

    text: str
    moment: datetime | None = None
    note: str = ""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


@dataclass(frozen=True)
class _Section:
    tokens: tuple[_Token, ...]
    condition: tuple[str, float] | None
    language: str | None
    is_system: bool

    @property
    def is_date(self) -> bool:
        return self.is_system or any(token.kind in ("date", "elapsed", "half") for token in self.tokens)

    @property
    def has_text(self) -> bool:
        return any(token.text == "@" for token in self.tokens if token.kind == "number")


def show(value: float, code: str, *, is_1904: bool = False) -> Shown:
    """What is seen of a number in that format.

    Raises:
        FormatError: the format is not understood, or the number is no date that its format could show.
    """
    sections = _sections(code)
    section, is_negative = _chosen(sections, value)
    if section is None:
        return Shown(general(value))
    if section.is_date:
        return _show_date(value, section, is_1904=is_1904)
    text = _show_number(abs(value), section).strip()
    return Shown(f"-{text}" if is_negative and any(char in "123456789" for char in text) else text)


def show_text(text: str, code: str) -> str:
    """What is seen of a text in that format."""
    sections = _sections(code)
    section = sections[3] if len(sections) > 3 else next((each for each in sections if each.has_text), None)
    if section is None or not section.has_text:
        return text
    return "".join(
        text if token.kind == "number" and token.text == "@" else _literal(token) for token in section.tokens
    )


def general(value: float) -> str:
    """A number without a format: whole where it is whole, else in eleven characters."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    size = floor(log10(abs(value)))
    if -5 < size < WIDTH - 1:
        return _plain(_rounded(value, WIDTH - 2 - max(0, size)))
    mantissa, exponent = f"{value:.5E}".split("E")
    return f"{_plain(Decimal(mantissa))}E{exponent[0]}{exponent[1:].zfill(2)}"


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _rounded(value: float | Decimal, places: int) -> Decimal:
    exact = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
    return exact.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


@cache
def _sections(code: str) -> tuple[_Section, ...]:
    parts: list[list[_Token]] = [[]]
    for token in _tokens(code):
        if token == _Token("literal", ";"):
            parts.append([])
        else:
            parts[-1].append(token)
    return tuple(_section(part) for part in parts)


def _tokens(code: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(code):
        kind = str(found.lastgroup)
        text = found[kind]
        if kind == "bracket" and re.fullmatch(r"h+|m+|s+", text, re.IGNORECASE):
            yield _Token("elapsed", text.lower())
        elif kind == "date":
            yield _Token(kind, text.lower())
        else:
            yield _Token(kind, text)


def _section(tokens: Sequence[_Token]) -> _Section:
    condition, language, is_system, kept = None, None, False, []
    for token in tokens:
        if token.kind != "bracket":
            kept.append(token)
        elif found := _CONDITION.fullmatch(token.text):
            condition = (found[1], float(found[2]))
        elif token.text.startswith("$"):
            sign, _, locale = token.text[1:].partition("-")
            kept += [_Token("text", sign)] if sign else []
            language = _language(locale) or language
            is_system = is_system or locale.upper() in ("F800", "F400") or locale.startswith("x-sys")
        elif token.text.upper().startswith("DBNUM"):
            raise FormatError(f"[{token.text}] (numbers in characters)")
    return _Section(tuple(kept), condition, language, is_system)


def _language(locale: str) -> str | None:
    if not locale:
        return None
    try:
        number = int(locale.partition(",")[0], 16)
    except ValueError:
        return locale[:2].lower() if locale[:2].lower() in _NAMES else "other"
    if number >> 24 > 1 or (number >> 16) & 0xFF > 2:
        raise FormatError(f"[$-{locale}] (a calendar or digits of its own)")
    return _LANGUAGES.get(number & 0x3FF, "other")


def _chosen(sections: tuple[_Section, ...], value: float) -> tuple[_Section | None, bool]:
    """The section for a number, and whether its sign is to be written before it; none for a number in plain."""
    numeric = [each for each in sections[:3] if not (each.has_text and len(sections) > 1)] or list(sections[:1])
    if any(each.condition for each in numeric):
        for each in numeric:
            if each.condition is None or _holds(value, each.condition):
                return each, value < 0 and each.condition is None
        raise FormatError("no part of it is for this number")
    first = numeric[0]
    if first.has_text and len(sections) == 1 and not first.is_date:
        return None, False
    if value < 0:
        return (numeric[1], False) if len(numeric) > 1 else (first, True)
    return (numeric[2], False) if value == 0 and len(numeric) > 2 else (first, False)


def _holds(value: float, condition: tuple[str, float]) -> bool:
    sign, bound = condition
    return {
        "<": value < bound, ">": value > bound, "=": value == bound, "<=": value <= bound, ">=": value >= bound,
        "<>": value != bound,
    }[sign]  # fmt: skip


def _literal(token: _Token) -> str:
    if token.kind == "space":
        return " "
    if token.kind == "fill":
        return " " if token.text == " " else ""
    return token.text


def moment_of(value: float, *, is_1904: bool) -> datetime:
    """The time that a number means.

    Raises:
        FormatError: none.
    """
    excels = datetime(1899, 12, 30 if value >= 60 else 31)  # it takes 1900 for a leap year
    base = datetime(1904, 1, 1) if is_1904 else excels
    try:
        if value < 0:
            raise OverflowError
        return base + timedelta(milliseconds=round(value * 86_400_000))
    except OverflowError:
        raise FormatError(f"{general(value)} is no date") from None


def _show_date(value: float, section: _Section, *, is_1904: bool) -> Shown:
    moment = moment_of(value, is_1904=is_1904)
    if section.is_system:
        day, time = moment.strftime("%Y-%m-%d").zfill(10), moment.strftime("%H:%M:%S").removesuffix(":00")
        text = time if value < 1 else day if value == int(value) else f"{day} {time}"
        return Shown(text, moment, SYSTEM_NOTE)
    tokens = _with_minutes(section.tokens)
    has_day = any(each.kind == "date" and each.text[0] in "ymd" for each in tokens)
    if has_day and not is_1904 and (value < 1 or 60 <= value < 61):  # shown as 1900-01-00 and as 1900-02-29
        raise FormatError(f"{general(value)} is no date")
    fraction = max((len(each.text) - 1 for each in tokens if each.kind == "fraction"), default=0)
    step = 1_000_000 // 10 ** min(fraction, 3)  # microseconds of what is shown last
    moment += timedelta(microseconds=step // 2)
    moment -= timedelta(microseconds=moment.microsecond % step)
    is_half = any(token.kind == "half" for token in tokens)
    names = _NAMES.get(section.language or "en", _NAMES["en"])
    parts = [_date_part(token, moment, value, names, is_half=is_half) for token in tokens]
    named = section.language not in _NAMES and any(len(each.text) > 2 and each.text[0] in "md" for each in tokens)
    return Shown("".join(parts).strip(), moment, LANGUAGE_NOTE if named else "")


def _with_minutes(tokens: Sequence[_Token]) -> list[_Token]:
    """The tokens of a date, `m` told apart: minutes stand after hours or before seconds; and parts of a second."""
    found: list[_Token] = []
    for at, token in enumerate(tokens):
        if token.kind == "number" and token.text == "." and at and tokens[at - 1].text[:1] == "s":
            found.append(_Token("fraction", "."))
        elif token.kind == "number" and token.text == "0" and found and found[-1].kind == "fraction":
            found[-1] = _Token("fraction", found[-1].text + "0")
        elif token.kind == "date" and token.text in ("m", "mm"):
            before = next((each.text[0] for each in reversed(found) if each.kind in ("date", "elapsed")), "")
            after = next((each.text[0] for each in tokens[at + 1 :] if each.kind in ("date", "elapsed")), "")
            found.append(_Token("minute" if before == "h" or after == "s" else "date", token.text))
        elif token.kind == "number" and token.text in "0#?":
            raise FormatError("digits in a date")
        else:
            found.append(token)
    return found


def _date_part(token: _Token, moment: datetime, value: float, names: Sequence[str], *, is_half: bool) -> str:
    if token.kind == "elapsed":
        seconds = round(value * 86_400)
        return str({"h": seconds // 3600, "m": seconds // 60, "s": seconds}[token.text[0]]).zfill(len(token.text))
    if token.kind == "minute":
        return str(moment.minute).zfill(len(token.text))
    if token.kind == "fraction":
        return f"{moment.microsecond / 1e6:.6f}"[1 : 1 + len(token.text)]
    if token.kind == "half":
        first, _, second = token.text.partition("/")
        return first if moment.hour < 12 else second
    if token.kind != "date":
        return "" if token.text == "@" else _literal(token)
    months, short_months, days, short_days = (each.split() for each in names)
    length = len(token.text)
    hour = (moment.hour % 12 or 12) if is_half else moment.hour
    match token.text[0]:
        case "y" | "e":
            return f"{moment.year % 100:02}" if token.text in ("y", "yy") else f"{moment.year:04}"
        case "m":
            number = moment.month - 1
            by_length = {1: str(number + 1), 2: f"{number + 1:02}", 3: short_months[number], 5: months[number][0]}
            return by_length.get(length, months[number])
        case "d":
            by_length = {1: str(moment.day), 2: f"{moment.day:02}", 3: short_days[moment.weekday()]}
            return by_length.get(length, days[moment.weekday()])
        case "a":
            return (short_days if length == 3 else days)[moment.weekday()]
        case "h":
            return str(hour).zfill(min(2, length))
        case "s":
            return str(moment.second).zfill(min(2, length))
    raise FormatError(f"{token.text} (a calendar of its own)")


def _show_number(value: float, section: _Section) -> str:
    tokens = section.tokens
    marks = [token.text.upper() for token in tokens if token.kind == "number"]
    if any(token.kind == "general" for token in tokens):
        return "".join(general(value) if token.kind == "general" else _literal(token) for token in tokens)
    number = Decimal(repr(float(value))) * 100 ** marks.count("%")
    if "/" in marks:
        return _show_fraction(number, tokens)
    exponent = next((mark for mark in marks if mark[0] == "E"), None)
    if exponent:
        return _show_exponent(number, tokens)
    return _show_decimal(number, tokens)


def _is_digit(token: _Token) -> bool:
    return token.kind == "number" and token.text in ("0", "#", "?")


def _show_decimal(number: Decimal, tokens: Sequence[_Token]) -> str:
    """Digits in their places, from the point to both sides, with what stands between them."""
    point = next((at for at, each in enumerate(tokens) if each.kind == "number" and each.text == "."), len(tokens))
    left, right = list(tokens[:point]), list(tokens[point + 1 :])
    if not any(map(_is_digit, tokens)):
        return "".join(map(_literal_or_percent, tokens))
    digits_at = [at for at, each in enumerate(left) if _is_digit(each)]
    last = digits_at[-1] if digits_at else -1
    scale = sum(each == _Token("number", ",") for each in [*left[last + 1 :], *right])
    grouped = bool(digits_at) and any(each == _Token("number", ",") for each in left[digits_at[0] : last])
    left = [each for each in left if not (each.kind == "number" and each.text == ",")]
    places = sum(map(_is_digit, right))
    whole, _, part = f"{_rounded(number.scaleb(-3 * scale), places):f}".partition(".")
    text = _place_whole(whole, left, grouped=grouped)
    if point < len(tokens):
        text += "." + _place_part(part, right)
    return text


def _literal_or_percent(token: _Token) -> str:
    return "" if token.kind == "number" and token.text in ",@" else _literal(token)


def _place_whole(digits: str, tokens: Sequence[_Token], *, grouped: bool) -> str:
    digits = digits.lstrip("0")
    places = [at for at, each in enumerate(tokens) if _is_digit(each)]
    first = places[0] if places else -1
    found: list[str] = []
    count = 0

    def put(digit: str) -> None:
        nonlocal count
        if grouped and count and count % 3 == 0 and digit != " ":
            found.append(",")
        found.append(digit)
        count += 1

    for at in range(len(tokens) - 1, -1, -1):
        token = tokens[at]
        if not _is_digit(token):
            found.append(_literal_or_percent(token)[::-1])
            continue
        digit, digits = (digits[-1:], digits[:-1]) if digits else ({"0": "0", "?": " "}.get(token.text, ""), "")
        if digit:
            put(digit)
        if at == first:
            for each in reversed(digits):
                put(each)
            digits = ""
    return "".join(found)[::-1]


def _place_part(digits: str, tokens: Sequence[_Token]) -> str:
    places = [token.text for token in tokens if _is_digit(token)]
    needed = max((at + 1 for at, mark in enumerate(places) if mark == "0" or digits[at] != "0"), default=0)
    found, at = [], 0
    for token in tokens:
        if not _is_digit(token):
            found.append(_literal_or_percent(token))
            continue
        found.append(digits[at] if at < needed else " " if token.text == "?" else "")
        at += 1
    return "".join(found)


def _show_exponent(number: Decimal, tokens: Sequence[_Token]) -> str:
    at = next(at for at, each in enumerate(tokens) if each.kind == "number" and each.text[0] in "Ee")
    before, after = tokens[:at], tokens[at + 1 :]
    point = next((n for n, each in enumerate(before) if each.text == "."), len(before))
    width, places = sum(map(_is_digit, before[:point])) or 1, sum(map(_is_digit, before[point:]))
    exponent = (number.adjusted() // width) * width if number else 0
    mantissa = _rounded(number.scaleb(-exponent), places)
    if mantissa >= Decimal(10) ** width:
        exponent += width
        mantissa = _rounded(number.scaleb(-exponent), places)
    sign = "-" if exponent < 0 else "+" if tokens[at].text[1] == "+" else ""
    digits = _place_whole(str(abs(exponent)), after, grouped=False)
    return f"{_show_decimal(mantissa, before)}E{sign}{digits}"


def _show_fraction(number: Decimal, tokens: Sequence[_Token]) -> str:
    at = next(at for at, each in enumerate(tokens) if each.kind == "number" and each.text == "/")
    fixed = re.match(r"\d+", "".join(each.text for each in tokens[at + 1 :]))
    above = []
    for each in reversed(tokens[:at]):
        if not _is_digit(each):
            break
        above.append(each)
    before = tokens[: at - len(above)]
    has_whole = any(map(_is_digit, before))
    whole = int(number) if has_whole else 0
    rest = Fraction(number) - whole
    if fixed and int(fixed[0]):
        below = int(fixed[0])
        part = int(Fraction(rest * below + Fraction(1, 2)).__floor__())
    else:
        most = 10 ** sum(map(_is_digit, tokens[at + 1 :])) - 1
        near = rest.limit_denominator(max(1, most))
        part, below = near.numerator, near.denominator
    if has_whole and part == below:
        whole, part = whole + 1, 0
    shown = str(whole) if whole or not part else ""
    prefix = "".join(_literal(each) for each in before if not _is_digit(each)).strip() if has_whole else ""
    if has_whole and not part:
        return prefix + shown
    return f"{prefix}{shown} {part}/{below}".strip() if has_whole else f"{part}/{below}"
