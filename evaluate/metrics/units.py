"""Units as people write them beside numbers: currencies, rates, time, amounts, in English and Chinese."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Unit:
    """What a number counts. `kinds` are what the spelling may mean (`¥` yen or yuan), `factor` how many of the first.

    Two units can be compared when they share a kind: 1 % is 100 basis points, one year is 12 months.
    """

    kinds: frozenset[str]
    factor: Decimal = Decimal(1)

    def comparable(self, other: Unit) -> bool:
        """Whether both may count the same thing."""
        return bool(self.kinds & other.kinds)


def _unit(kinds: str, factor: str = "1") -> Unit:
    return Unit(frozenset(kinds.split("|")), Decimal(factor))


# Letter for letter: short forms that would be other words in small letters.
_CODES = (
    "USD EUR GBP JPY CNY CHF CAD AUD NZD HKD TWD SGD KRW INR BRL MXN ZAR SEK NOK DKK PLN CZK HUF RUB TRY ILS AED SAR "
    "THB IDR MYR PHP VND"
)
CODES = {code: _unit(code) for code in _CODES.split()} | {"RMB": _unit("CNY"), "CNH": _unit("CNY")}

SIGNS = {
    "US$": _unit("USD"), "HK$": _unit("HKD"), "NT$": _unit("TWD"), "NZ$": _unit("NZD"), "R$": _unit("BRL"),
    "C$": _unit("CAD"), "A$": _unit("AUD"), "S$": _unit("SGD"), "$": _unit("USD"), "€": _unit("EUR"),
    "£": _unit("GBP"), "¥": _unit("CNY|JPY"), "₩": _unit("KRW"), "₹": _unit("INR"), "₽": _unit("RUB"),
    "₺": _unit("TRY"), "₪": _unit("ILS"), "₫": _unit("VND"), "฿": _unit("THB"),
}  # fmt: skip

# In any case of letters, as whole words.
WORDS = {
    spelling: unit
    for spellings, unit in {
        "us dollars|us dollar|u.s. dollars|dollars|dollar|usd": _unit("USD"),
        "hong kong dollars|hong kong dollar": _unit("HKD"),
        "canadian dollars|canadian dollar": _unit("CAD"),
        "australian dollars|australian dollar": _unit("AUD"),
        "euros|euro": _unit("EUR"),
        "pounds sterling|pound sterling|pounds|pound|sterling": _unit("GBP"),
        "yen": _unit("JPY"),
        "yuan|renminbi": _unit("CNY"),
        "swiss francs|swiss franc|francs|franc": _unit("CHF"),
        "rupees|rupee": _unit("INR"),
        "won": _unit("KRW"),
        "cents|cent": _unit("USD|EUR", "0.01"),
        "percentage points|percentage point|percent|per cent|pct|pp|ppt": _unit("%"),
        "basis points|basis point|bps|bp": _unit("%", "0.01"),
        "per mille|permille": _unit("%", "0.1"),
        "times|x": _unit("times"),
        "shares|share": _unit("share"),
        "hours|hour|hrs|hr": _unit("day", "0.0416666666666666666666666667"),
        "days|day": _unit("day"),
        "weeks|week": _unit("day", "7"),
        "months|month": _unit("month"),
        "quarters|quarter": _unit("month", "3"),
        "years|year|yrs|yr": _unit("month", "12"),
        "minutes|minute|mins|min": _unit("minute"),
        "seconds|second|secs|sec": _unit("minute", "0.0166666666666666666666666667"),
        "micrograms|microgram|mcg|µg|μg": _unit("g", "0.000001"),
        "milligrams|milligram|mg": _unit("g", "0.001"),
        "grams|gram|g": _unit("g"),
        "kilograms|kilogram|kg": _unit("g", "1000"),
        "tonnes|tonne|tons|ton": _unit("g", "1000000"),
        "millilitres|millilitre|milliliters|milliliter|ml": _unit("l", "0.001"),
        "litres|litre|liters|liter|l": _unit("l"),
        "mmhg": _unit("mmHg"),
        "barrels|barrel|bbl": _unit("barrel"),
    }.items()
    for spelling in spellings.split("|")
}

# Written straight after the number, in scripts without spaces or as a sign.
MARKS = {
    "%": _unit("%"), "‰": _unit("%", "0.1"), "‱": _unit("%", "0.01"),
    "个百分点": _unit("%"), "百分点": _unit("%"), "个基点": _unit("%", "0.01"), "基点": _unit("%", "0.01"),
    "元人民币": _unit("CNY"), "人民币": _unit("CNY"), "元": _unit("CNY"), "美元": _unit("USD"), "美金": _unit("USD"),
    "欧元": _unit("EUR"), "英镑": _unit("GBP"), "日元": _unit("JPY"), "円": _unit("JPY"), "港元": _unit("HKD"),
    "港币": _unit("HKD"), "新台币": _unit("TWD"), "瑞士法郎": _unit("CHF"), "韩元": _unit("KRW"),
    "倍": _unit("times"), "×": _unit("times"), "股": _unit("share"),
    "小时": _unit("day", "0.0416666666666666666666666667"), "个小时": _unit("day", "0.0416666666666666666666666667"),
    "天": _unit("day"), "周": _unit("day", "7"), "个星期": _unit("day", "7"), "个月": _unit("month"),
    "个季度": _unit("month", "3"), "季度": _unit("month", "3"), "年": _unit("month", "12"),
    "分钟": _unit("minute"), "秒": _unit("minute", "0.0166666666666666666666666667"),
    "微克": _unit("g", "0.000001"), "毫克": _unit("g", "0.001"), "克": _unit("g"), "千克": _unit("g", "1000"),
    "公斤": _unit("g", "1000"), "吨": _unit("g", "1000000"), "毫升": _unit("l", "0.001"), "升": _unit("l"),
    "桶": _unit("barrel"), "毫米汞柱": _unit("mmHg"),
}  # fmt: skip

PARTS = {"百分之": _unit("%"), "千分之": _unit("%", "0.1"), "万分之": _unit("%", "0.01")}

MULTIPLIERS = {
    "hundred": 10**2, "k": 10**3, "thousand": 10**3, "lakh": 10**5, "m": 10**6, "mm": 10**6, "mn": 10**6,
    "mio": 10**6, "million": 10**6, "millions": 10**6, "crore": 10**7, "b": 10**9, "bn": 10**9, "bio": 10**9,
    "billion": 10**9, "billions": 10**9, "tn": 10**12, "trn": 10**12, "trillion": 10**12, "trillions": 10**12,
}  # fmt: skip
