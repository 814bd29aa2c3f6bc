"""The rubric: what a judge grades, and in words what each grade from 1 to 5 means, in English and in Chinese."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from locum.adapters.judge import Dimension

LOWEST, HIGHEST = 1, 5

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


class Scale(BaseModel):
    """One dimension: its name, the question that it answers, and its anchors from the lowest grade to the highest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    question: str
    anchors: Annotated[list[str], Field(min_length=HIGHEST, max_length=HIGHEST)]


class Rubric(BaseModel):
    """The same scales in each language that a judge can be spoken to in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    en: dict[Dimension, Scale]
    zh: dict[Dimension, Scale]

    def scales(self, language: Language) -> dict[Dimension, Scale]:
        """The scales in one language, by dimension."""
        return self.zh if language == "zh" else self.en


@cache
def load_rubric() -> Rubric:
    """The rubric that comes with Locum."""
    path = Path(__file__).parent / "rubric.yaml"
    return Rubric.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
