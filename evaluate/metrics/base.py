"""What every metric says of itself: its scale, what it needs, and which samples it speaks about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from locum.evaluate.answers import Answer
    from locum.evaluate.samples import Sample


class Scale:
    """Class attributes and the default inputs of a metric; derive from it beside `evaluate.Metric`."""

    unit: str = ""
    low: float = 0.0
    high: float = 1.0
    higher_is_better: bool = True
    binary: bool = False
    needs: frozenset[str] = frozenset({"text"})

    def columns(self, sample: Sample, answer: Answer) -> dict[str, Any] | None:
        """The inputs of `_compute` for one pair; None where the metric says nothing about this sample."""
        return {"predictions": answer.answer or "", "references": sample.reference}
