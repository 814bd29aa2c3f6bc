"""What is recorded of a judge's work: its failures, its disagreement with itself, its cost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from locum.evaluate.statistics import Estimate


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JudgeFailure(_Record):
    """A verdict that is missing, and why."""

    sample: str
    models: list[str] = Field(description="whose answer was to be graded, or whose two were to be compared")
    problem: str


class PairSummary(_Record):
    """What the judge said of the version's answers beside one other model's, over pairs judged in both orders."""

    version: str
    other: str
    pairs: int
    won: int = Field(description="by the version, in both orders")
    tied: int = Field(description="in both orders, or because the orders disagreed, or because the answers are equal")
    lost: int
    equal: int = Field(description="of those tied, the ones whose answers are the same and were not asked about")
    changed: int = Field(description="pairs on which the order changed the verdict; each counts as a tie")
    first_place: int = Field(description="of those, the ones where the first place won more than the second")

    @property
    def win_rate(self) -> float | None:
        """Share of pairs that the version won, ties half, from 0 to 1; none without pairs."""
        return (self.won + self.tied / 2) / self.pairs if self.pairs else None

    @property
    def disagreement(self) -> float | None:
        """Share of the pairs asked about on which the order changed the verdict, from 0 to 1; none without any."""
        asked = self.pairs - self.equal
        return self.changed / asked if asked else None


class PeopleSummary(_Record):
    """How far the judge agrees with people who have compared the same pairs."""

    agreement: Estimate = Field(description="share of pairs on which it says what most people say")
    kappa: float | None = Field(description="the same beyond chance: 1 is perfect, 0 is chance")
    pairs: int
    votes: int
    among_people: float | None = Field(description="share of two people's votes on one pair that agree")


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
    people: PeopleSummary | None = Field(None, description="none where nobody has voted on the same pairs")

    @property
    def told(self) -> list[str]:
        """What a reader of the scores should know about who gave them, in sentences."""
        new = self.verdicts - self.reused
        lines = [f"{self.model} judged: {self.verdicts:,} verdicts, {new:,} of them new; {len(self.failures)} missing."]
        if len(self.answered_by) > 1:
            lines.append(f"The judge moved: {', '.join(self.answered_by)} have answered.")
        lines += [
            f"Beside {pair.other}, {pair.version} won {pair.won} of {pair.pairs} pairs, tied on {pair.tied} and lost "
            f"{pair.lost}; in {pair.changed} the order of the two changed the verdict, which counts as a tie."
            for pair in self.pairs
        ]
        if self.people is not None:
            kappa = "" if self.people.kappa is None else f", kappa {self.people.kappa:.2f}"
            lines.append(
                f"The judge says what most people say on {self.people.agreement} of {self.people.pairs} pairs that "
                f"people have compared too ({self.people.votes} votes){kappa}."
            )
        elif self.pairs:
            lines.append("How far it agrees with people is not known: `locum eval arena` asks them.")
        return lines
