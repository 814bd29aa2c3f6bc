"""What a domain's card says that every answer must hold, and must not."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator


def check_pattern(pattern: str) -> str:
    """Refuse what is no regular expression.

    Raises:
        ValueError: the message tells the pattern, what is wrong and where.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error.msg} at character {(error.pos or 0) + 1}") from None
    return pattern


def pattern_of(wording: str) -> str | None:
    """The regular expression of a wording that is written between slashes; none for a phrase."""
    return wording[1:-1] if len(wording) > 2 and wording[0] == wording[-1] == "/" else None


def check_wording(wording: str) -> str:
    """Refuse a phrase without a word, and a pattern that is no regular expression.

    Raises:
        ValueError: the message says which of the two it is.
    """
    pattern = pattern_of(wording)
    if pattern is not None:
        check_pattern(pattern)
    elif not any(c.isalnum() for c in wording):
        raise ValueError("expected a phrase with a letter or a digit, or a regular expression between slashes")
    return wording


Pattern = Annotated[str, Field(min_length=1), AfterValidator(check_pattern)]
"""A regular expression, as Python's `re` reads it."""

Wording = Annotated[str, AfterValidator(check_wording)]
"""A phrase, found word by word whatever its case and punctuation, or `/a regular expression/` between slashes."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourcesCard(_Strict):
    """How sources are named in answers."""

    pattern: Pattern = Field(description="the form that every source has, from its first character to its last")
    find: Pattern | None = Field(
        None, description="what a source looks like in a text, or its first group; else what follows `Source:` and 来源："
    )


class ComplianceCard(_Strict):
    """What an answer of this domain must hold. Each field that is given is a metric of the same name.

    A suite that measures one of these names it under `metrics`, and under `thresholds.hard` with 1.0 where not a single
    answer may lack it.
    """

    notice: list[Wording | list[Wording]] = Field(
        [], description="texts that must all be there; a list among them holds wordings of which one must be there"
    )
    referral: bool | list[Wording] = Field(
        False, description="answers advise to see a professional: true for wordings that Locum knows, or your own"
    )
    sources: SourcesCard | None = Field(None, description="answers name their sources; a pattern, or pattern and find")
    forbidden: list[Wording] = Field([], description="what no answer may say")

    @field_validator("sources", mode="before")
    @classmethod
    def _pattern_alone(cls, value: object) -> object:
        return {"pattern": value} if isinstance(value, str) else value

    def metric_options(self) -> dict[str, dict[str, Any]]:
        """The options of each compliance metric that the card is about; a suite's own options go over them."""
        options: dict[str, dict[str, Any]] = {}
        if self.notice:
            options["notice"] = {"notices": self.notice}
        if self.referral is True:
            options["referral"] = {}
        elif self.referral:
            options["referral"] = {"wordings": self.referral, "defaults": False}
        if self.sources:
            options["sources"] = self.sources.model_dump(exclude_none=True)
        if self.forbidden:
            options["forbidden"] = {"wordings": self.forbidden}
        return options
