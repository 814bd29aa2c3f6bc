"""What is recorded of a judge's work: its failures, its disagreement with itself, its cost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JudgeFailure(_Record):
    """A verdict that is missing, and why."""

    sample: str
    models: list[str] = Field(description="whose answer was to be graded, or whose two were to be compared")
    problem: str


class PairSummary(_Record):
    """What the judge said of the version's answers beside one other model's, over the pairs asked in both orders."""

    version: str
    other: str
    pairs: int
    won: int = Field(description="by the version, in both orders")
    tied: int = Field(description="in both orders, or because the orders disagreed, or because the answers are equal")
    lost: int
    changed: int = Field(description="pairs on which the order changed the verdict; each counts as a tie")
    first_place: int = Field(description="of those, the ones where the first place won more than the second")

    @property
    def win_rate(self) -> float | None:
        """Share of pairs that the version won, ties half, from 0 to 1; none without pairs."""
        return (self.won + self.tied / 2) / self.pairs if self.pairs else None

    @property
    def disagreement(self) -> float | None:
        """Share of pairs on which the order changed the verdict, from 0 to 1; none without pairs."""
        return self.changed / self.pairs if self.pairs else None


class JudgeSummary(_Record):
    """Who judged, by what, at what cost, and how far the judge agrees with itself."""

    model: str
    endpoint: str
    answered_by: list[str] = Field(description="the `model` fields of its replies; more than one is a judge that moved")
    rubric: str = Field(description="digest of all that the judge is told besides the material")
    dimensions: list[str]
    verdicts: int
    reused: int = Field(description="verdicts that were known before")
    requests: int = Field(description="that the other verdicts took")
    prompt_tokens: int = Field(description="of those requests")
    completion_tokens: int
    failures: list[JudgeFailure]
    pairs: list[PairSummary]
