"""Personal data in text: found by form, and believed only with a valid checksum or number plan.

Numbers are checked by python-stdnum (Chinese resident identity cards by GB 11643, cards by Luhn, IBAN by ISO 13616, US
social security numbers) and phonenumbers (the number plans of all countries). Names and addresses are not found: that
takes a model, and none is shipped.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence

from locum.adapters.cleaning import PersonalKind

Finder = Callable[[str, Sequence[str]], Iterator[tuple[int, int]]]

_ANY = re.compile(r"[@\d]")  # one of them is in personal data of each kind
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_IDENTITY = re.compile(r"(?<![0-9A-Za-z])\d{17}[\dXx](?![0-9A-Za-z])")
_CARD = re.compile(r"(?<![\d.,-])[3-6](?:[ -]?\d){12,18}(?![\d-])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_SSN = re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")
_IP = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
_MAYBE_PHONE = re.compile(r"\+?(?:\d[ ().\-/]{0,3}){7,}")
_CHINESE_MOBILE = re.compile(r"1[3-9]\d{9}")
# Dates, and the US Postal Service's codes, are grouped as some country's phone numbers are.
_NO_PHONE = re.compile(r"\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{4}|\d{5}-\d{4}")


def find(text: str, kinds: Sequence[PersonalKind], regions: Sequence[str]) -> list[tuple[int, int, PersonalKind]]:
    """Where personal data stand: start, end and kind, in order; of those that overlap, the surer kind."""
    if not _ANY.search(text):
        return []
    found: list[tuple[int, int, PersonalKind]] = []
    for kind, finder in _FINDERS.items():
        if kind in kinds:
            for start, end in finder(text, regions):
                if not any(start < there_end and there < end for there, there_end, _ in found):
                    found.append((start, end, kind))
    return sorted(found)


def mask(text: str, found: Sequence[tuple[int, int, PersonalKind]]) -> str:
    """The text with `<PHONE>` and the like where personal data stood."""
    parts, at = [], 0
    for start, end, kind in found:
        parts += [text[at:start], f"<{kind.upper()}>"]
        at = end
    return "".join([*parts, text[at:]])


def _matching(pattern: re.Pattern[str], is_valid: Callable[[str], bool]) -> Finder:
    return lambda text, regions: (match.span() for match in pattern.finditer(text) if is_valid(match.group()))


def _is_identity_card(text: str) -> bool:
    from stdnum.cn import ric
    from stdnum.exceptions import ValidationError

    number = text.upper()
    try:
        ric.get_birth_date(number)
    except ValidationError:
        return False
    # not the place: who moved has a county's number that is younger than they are
    return bool(ric.calc_check_digit(number) == number[-1])


def _is_card(text: str) -> bool:
    from stdnum import luhn

    return bool(luhn.is_valid(re.sub("[ -]", "", text)))


def _is_iban(text: str) -> bool:
    from stdnum import iban

    return bool(iban.is_valid(text))


def _is_ssn(text: str) -> bool:
    from stdnum.us import ssn

    return bool(ssn.is_valid(text))


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _phones(text: str, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Valid numbers with a country's prefix, or written in groups, or Chinese mobile ones; no bare run of digits."""
    if not _MAYBE_PHONE.search(text):
        return
    import phonenumbers

    for region in regions or ["ZZ"]:  # ZZ: with a country's prefix only
        for match in phonenumbers.PhoneNumberMatcher(text, region, leniency=phonenumbers.Leniency.VALID):
            raw = match.raw_string
            plain = raw.isdigit()
            if _NO_PHONE.fullmatch(raw) or (plain and not (region == "CN" and _CHINESE_MOBILE.fullmatch(raw))):
                continue
            yield match.start, match.end


_FINDERS: dict[PersonalKind, Finder] = {
    "identity_card": _matching(_IDENTITY, _is_identity_card),
    "iban": _matching(_IBAN, _is_iban),
    "credit_card": _matching(_CARD, _is_card),
    "us_ssn": _matching(_SSN, _is_ssn),
    "email": _matching(_EMAIL, lambda text: True),
    "ip": _matching(_IP, _is_ip),
    "phone": _phones,
}
