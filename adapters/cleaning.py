"""The part of a domain card that says how rows are cleaned; each step can be switched off."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

PersonalKind = Literal["email", "phone", "identity_card", "credit_card", "iban", "us_ssn", "ip"]


class CleaningCard(BaseModel):
    """Steps in the order in which they are taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoding: bool = Field(True, description="repair text that was decoded wrongly: â€™ becomes ’")
    normalise: bool = Field(True, description="Unicode's composed form, line ends, no control characters")
    cut_off: bool = Field(True, description="drop rows whose answer surely breaks off: after a comma, in a code block")
    shortest: int = Field(1, ge=1, description="characters that an answer has at least")
    longest: int | None = Field(None, ge=1, description="characters that a row has at most")
    languages: list[str] = Field([], description="keep rows in these languages only (ISO 639-1: zh, en, …)")
    personal: Literal["mask", "drop", "keep"] = Field("mask", description="what becomes of personal data")
    personal_kinds: list[PersonalKind] = ["email", "phone", "identity_card", "credit_card", "iban", "us_ssn"]
    phone_regions: list[str] = Field(
        ["CN", "US", "GB", "DE", "FR"], description="where numbers without a country's prefix may be from (ISO 3166)"
    )
    unwanted: list[str] = Field([], description="regular expressions; a row in which one is found is dropped")

    @field_validator("unwanted")
    @classmethod
    def _compile(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return patterns

    @field_validator("phone_regions")
    @classmethod
    def _are_regions(cls, regions: list[str]) -> list[str]:
        wrong = [region for region in regions if not re.fullmatch("[A-Z]{2}", region)]
        if wrong:
            raise ValueError(f"expected ISO 3166 codes such as CN, found {', '.join(wrong)}")
        return regions
