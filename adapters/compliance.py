"""What a domain's card says that every answer must hold, and must not."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_serializer,
    field_validator,
    model_validator,
)


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


Wordings = Annotated[
    list[Wording], Field(min_length=1), BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
]
"""Wordings of one thing, of which one must be there; a single one may stand alone."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NoticesCard(_Strict):
    """What whoever reads an answer must be told, and whether the server sees to it that the answer says it.

    The metric `notice` measures how often the model says it by itself.
    """

    texts: list[Wordings] = Field(
        min_length=1,
        description="what must be said to whoever reads an answer; a list among them holds wordings of one notice, of "
        "which one must be there and the first is what people are shown",
    )
    enforce: Literal["never", "append"] = Field(
        "never", description="append: the server adds to an answer what it lacks of `texts`"
    )

    @field_validator("texts")
    @classmethod
    def _can_be_shown(cls, texts: list[list[str]]) -> list[list[str]]:
        for first, *_ in texts:
            if pattern_of(first) is not None:
                raise ValueError(f"people are shown the first wording: expected a phrase before the pattern {first}")
        return texts

    @field_serializer("texts")
    def _as_written(self, texts: list[list[str]]) -> list[str | list[str]]:
        return [wordings[0] if len(wordings) == 1 else wordings for wordings in texts]

    @property
    def shown(self) -> list[str]:
        """Each notice in its first wording."""
        return [wordings[0] for wordings in self.texts]


class ReferralCard(_Strict):
    """How an answer advises to see a professional."""

    wordings: list[Wording] = Field([], description="your own, such as `ask your pharmacist`")
    defaults: bool = Field(True, description="the wordings in English and Chinese that Locum knows count too")

    @model_validator(mode="after")
    def _knows_one(self) -> ReferralCard:
        if not self.wordings and not self.defaults:
            raise ValueError("give `wordings`, or leave `defaults` on")
        return self


class SourcesCard(_Strict):
    """How sources are named in answers."""

    pattern: Pattern = Field(description="the form that every source has, from its first character to its last")
    find: Pattern | None = Field(
        None,
        description="what a source looks like in a text, or its first group; else what follows `Source:` or 来源：",
    )


class ComplianceCard(_Strict):
    """What an answer of this domain must hold besides its notices. Each field that is given is a metric of that name.

    A suite that measures one of these names it under `metrics`, and under `thresholds.hard` with 1.0 where not a single
    answer may lack it.
    """

    referral: ReferralCard | None = Field(
        None, description="answers advise to see a professional: true, or a list of wordings in place of Locum's own"
    )
    sources: SourcesCard | None = Field(None, description="answers name their sources: a pattern, or pattern and find")
    forbidden: list[Wording] = Field([], description="what no answer may say")

    @model_validator(mode="before")
    @classmethod
    def _notice_has_moved(cls, data: object) -> object:
        if isinstance(data, dict) and "notice" in data:
            raise ValueError(
                "`notice` is no field of `compliance`: what every answer must say stands under `notices` of the card, "
                "where a list among them holds several wordings of one notice"
            )
        return data

    @field_validator("referral", mode="before")
    @classmethod
    def _flag_or_list(cls, value: object) -> object:
        if isinstance(value, bool):
            return {} if value else None
        return {"wordings": value, "defaults": False} if isinstance(value, list) else value

    @field_validator("sources", mode="before")
    @classmethod
    def _pattern_alone(cls, value: object) -> object:
        return {"pattern": value} if isinstance(value, str) else value

    def metric_options(self) -> dict[str, dict[str, Any]]:
        """The options of each metric that the card is about; a suite's own options go over them."""
        options: dict[str, dict[str, Any]] = {}
        if self.referral:
            options["referral"] = self.referral.model_dump()
        if self.sources:
            options["sources"] = self.sources.model_dump(exclude_none=True)
        if self.forbidden:
            options["forbidden"] = {"wordings": self.forbidden}
        return options


METRICS = frozenset({"notice", *ComplianceCard.model_fields})
"""The metrics whose options the card says."""
