"""Judge cards: the part of a suite's card that names the model which rates its answers."""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from locum.errors import BadInputError

Dimension = Literal["accuracy", "relevance", "completeness", "helpfulness", "safety"]
DIMENSIONS: tuple[Dimension, ...] = ("accuracy", "relevance", "completeness", "helpfulness", "safety")

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")  # no small letters: few keys look like that


class JudgeCard(BaseModel):
    """Who judges, where, and about what. The rubric itself is Locum's; docs/judge.md shows it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1, description="the judge's name at its endpoint; a fixed one, not one that moves on")
    endpoint: str = Field(
        pattern=r"^https?://", description="OpenAI-compatible URL, such as http://127.0.0.1:8000/v1; a Locum server too"
    )
    api_key_env: str = Field("", description="name of the environment variable that holds the key; empty for no key")
    dimensions: list[Dimension] = Field(
        list(DIMENSIONS), description="what each answer is rated on, from 1 to 5; an empty list rates nothing"
    )
    pairwise: bool = Field(
        False, description="true also asks which of two answers is better, the version's or another's, in both orders"
    )
    language: Literal["sample", "en", "zh"] = Field(
        "sample", description="language of the judge's instructions; `sample` takes that of each sample"
    )
    max_concurrency: int = Field(4, ge=1, le=256, description="requests at a time")
    max_tokens: int = Field(1024, ge=64, description="room for the judge's reasons and its grades")
    timeout_s: float = Field(120.0, gt=0, description="how long one request may take")
    max_failures: Annotated[float, Field(ge=0, le=1)] = Field(
        0.02, description="a larger share of answers without a usable verdict fails the evaluation"
    )

    @field_validator("endpoint")
    @classmethod
    def _no_slash_at_the_end(cls, endpoint: str) -> str:
        return endpoint.rstrip("/")

    @field_validator("dimensions")
    @classmethod
    def _dimensions_differ(cls, dimensions: list[Dimension]) -> list[Dimension]:
        if len(set(dimensions)) != len(dimensions):
            raise ValueError("each dimension once")
        return dimensions

    @model_validator(mode="after")
    def _asks_something(self) -> JudgeCard:
        if not self.dimensions and not self.pairwise:
            raise ValueError("give `dimensions`, `pairwise: true` or both: what the judge is asked")
        return self

    @model_validator(mode="after")
    def _key_is_named_and_not_given(self) -> JudgeCard:
        # Of the whole card, not of the field: what a field's check refuses is shown, and this may be a key.
        if self.api_key_env and not _VARIABLE.fullmatch(self.api_key_env):
            raise ValueError("`api_key_env` is the name of an environment variable, such as JUDGE_KEY, never the key")
        return self

    def api_key(self) -> str:
        """The key, from the environment; empty where the judge asks for none.

        Raises:
            BadInputError: the variable that the card names is not set.
        """
        if not self.api_key_env:
            return ""
        key = os.environ.get(self.api_key_env, "")
        if not key:
            raise BadInputError(
                f"the judge's key is expected in the variable {self.api_key_env}, which is not set",
                hint=f"export {self.api_key_env}=…, or take `api_key_env` out of the suite's card if no key is needed",
            )
        return key
