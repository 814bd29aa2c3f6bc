"""Merchants and the ISO 18245 range of their category code, as card payments are sorted.

Source: ISO 18245 merchant category codes in the published wordings of ISO, USDA, Stripe, Visa, Mastercard, Alipay and
American Express, as packaged by `iso18245` 1.4.1 (MIT).
Task: the description of a merchant category, or a merchant's name, in; the name of its range out.
Rows: 1067. The range for private use (3000-3999) is named by its three parts: airlines, car rental, lodging.
All wordings of one code are one group. The range 9403-9999 is left out: its six codes are the networks' own.
"""

import hashlib
import re
import string
from collections.abc import Iterator

import iso18245

RANGES = {
    "0700": "Agricultural services",
    "1500": "Contracted services",
    "4000": "Transportation",
    "4800": "Utilities",
    "5000": "Retail outlets",
    "5600": "Clothing outlets",
    "5700": "Miscellaneous outlets",
    "6000": "Service providers",
    "7300": "Business services",
    "7530": "Repair services",
    "7800": "Entertainment",
    "8000": "Professional services",
    "9200": "Government services",
}
PRIVATE = [("3000", "3350", "Airlines"), ("3351", "3500", "Car rental"), ("3501", "3999", "Lodging")]
PER_PRIVATE_RANGE = 220  # hotels alone would be a third of all rows
WORDINGS = ("stripe", "visa", "usda", "amex", "mastercard", "iso", "alipay")
FILLER = {"a", "and", "for", "in", "not", "elsewhere", "classified", "of", "or", "other", "the", "to"}


def rows() -> Iterator[dict[str, object]]:
    """One row a wording that differs in more than filler words, and never one that holds its own answer."""
    taken: set[frozenset[str]] = set()
    for code, answer in _codes():
        for wording in WORDINGS:
            text = _plain(getattr(code, f"{wording}_description"))
            key = _key(text)
            if not key or key in taken or answer.lower() in text.lower():
                continue
            taken.add(key)
            yield {
                "conversations": [{"role": "user", "content": text}, {"role": "assistant", "content": answer}],
                "group": code.mcc,
                "topic": answer,
            }
            if code.range.reserved:  # a private code has one name, often misspelt
                break


def _codes() -> Iterator[tuple[iso18245.MCC, str]]:
    """Every code with the name of its range; of the private ranges, so many as keep the answers in balance."""
    codes = iso18245.get_all_mccs()
    for code in codes:
        if code.range.start in RANGES:
            yield code, RANGES[code.range.start]
    for first, last, answer in PRIVATE:
        private = [code for code in codes if first <= code.mcc <= last]
        for code in sorted(private, key=_order)[:PER_PRIVATE_RANGE]:
            yield code, answer


def _plain(text: str) -> str:
    """The text on one line, and not in capitals only."""
    return string.capwords(text) if text.isupper() else " ".join(text.split())


def _key(text: str) -> frozenset[str]:
    """The words that make a wording what it is: lower case, singular, without fillers and remarks in parentheses."""
    words = (word.removesuffix("s") for word in re.findall("[a-z]+", re.sub(r"\(.*?\)", " ", text.lower())))
    return frozenset(word for word in words if word not in FILLER)


def _order(code: iso18245.MCC) -> str:
    """A fixed order that has nothing to do with the codes."""
    return hashlib.sha256(f"order {code.mcc}".encode()).hexdigest()
