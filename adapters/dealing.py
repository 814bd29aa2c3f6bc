"""The part of a domain card that says how rows are freed of near duplicates, and balanced by topic."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DuplicatesCard(_Strict):
    """Near duplicates: rows whose runs of three words are nearly the same."""

    near: Literal["drop", "together", "off"] = Field(
        "drop", description="drop all but one; keep them together in one split; or do not look for them"
    )
    threshold: float = Field(0.8, ge=0.5, le=1, description="Jaccard similarity from which on rows are near duplicates")


class BalanceCard(_Strict):
    """How many rows of each topic are learnt from. Validation and test stay as they are; so do rows without a topic."""

    cap: int | None = Field(None, ge=1, description="at most so many rows of a topic")
    temperature: float = Field(
        1, ge=1, description="1 leaves the topics as they are; the higher, the more alike they become in size"
    )
    minimum: int = Field(1, ge=1, description="rows that a topic keeps if it has them; topics with fewer are told")
