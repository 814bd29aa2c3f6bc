"""Numeric match with tolerance and units."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from locum.evaluate.metrics.base import Options, PairMetric
from locum.evaluate.metrics.quantities import DecimalMark, Quantity, read_quantities

if TYPE_CHECKING:
    from locum.evaluate.answers import Answer
    from locum.evaluate.samples import Sample

_Which = Literal["last", "first"]


class NumericOptions(Options):
    """Settings of the numeric match."""

    relative: float = Field(0.0, ge=0, lt=1, description="share of the reference that an answer may be off by")
    absolute: float = Field(0.0, ge=0, description="amount, in the reference's unit, that an answer may be off by")
    which: _Which = Field("last", description="the number that counts where an answer holds several")
    units: Literal["named", "ignore"] = Field("named", description="`named`: a unit in the reference must be there")
    decimal: DecimalMark = Field("auto", description="`comma` where 1,234 is one and a bit; `point` where never")


class Numeric(PairMetric):
    """1 for an answer whose number is the reference's within the tolerance, and in its unit, else 0.

    |answer − reference| ≤ max(absolute, relative · |reference|); both tolerances are 0 unless set. Numbers and units
    are read as `read_quantities` says. A unit that the reference names must be the answer's too, up to conversion:
    5 % is 500 bp and $1.2bn is USD 1,200 million, while 5 is not 5 %. `absolute` is in the reference's unit, without
    its multiplier: percent for `5 %`, dollars for `$5 million`. A reference without a unit is met by any.

    Which number counts: the last one of the answer, because reasoning comes before its result; where the reference
    names a unit, the last one in such a unit, so that `$5 million in 2023` is read right. `which: first` turns this
    round. Of the reference the same one counts. An answer without a number scores 0; about a reference without one
    nothing is said.

    Binary; no unit; higher is better. Source: the last number counts as in the `flexible-extract` filter of
    lm-evaluation-harness' GSM8K; tolerance and units are this project's.
    """

    metric = "numeric"
    source = "Cobbe et al.: Training Verifiers to Solve Math Word Problems. 2021 (GSM8K); lm-evaluation-harness"
    options_type = NumericOptions
    options = NumericOptions()
    binary = True

    def columns(self, sample: Sample, answer: Answer) -> dict[str, Any] | None:
        """As for every metric over texts, but none where the reference holds no number."""
        found = super().columns(sample, answer)
        return found if found and self._read(sample.reference) else None

    def score_pair(self, predictions: str, references: str) -> float:
        expected = self._chosen(self._read(references))
        if expected is None:
            return 0.0
        unit = expected.unit if self.options.units == "named" else None
        candidates = self._read(predictions)
        if unit is not None:
            candidates = [each for each in candidates if each.unit is not None and each.unit.comparable(unit)]
        found = self._chosen(candidates)
        if found is None:
            return 0.0
        number = found.number
        if unit is not None and found.unit is not None:
            number *= found.unit.factor / unit.factor
        allowed = max(
            Decimal(str(self.options.absolute)), Decimal(str(self.options.relative)) * abs(expected.number), _ROUNDING
        )
        return float(abs(number - expected.number) <= allowed)

    def _read(self, text: str) -> list[Quantity]:
        return read_quantities(text, decimal=self.options.decimal)

    def _chosen(self, quantities: Sequence[Quantity]) -> Quantity | None:
        return (quantities[-1] if self.options.which == "last" else quantities[0]) if quantities else None


_ROUNDING = Decimal("1e-18")  # converting hours and days leaves the 28th digit uncertain
