"""Scores as people read them: with as many digits as their scale needs, and with their unit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from locum.evaluate.result import MetricScale
from locum.evaluate.significance import Test
from locum.evaluate.statistics import Estimate


@dataclass(frozen=True)
class Figures:
    """How the numbers of one metric are written. A score from 0 to 1 has three decimals, one from 0 to 100 one."""

    scale: MetricScale

    def value(self, number: float) -> str:
        """`0.725`, or `42.1`."""
        return f"{number:.{self._decimals(number)}f}"

    def signed(self, number: float) -> str:
        """`+0.725`."""
        return f"{number:+.{self._decimals(number)}f}"

    def estimate(self, found: Estimate) -> str:
        """`0.725 [0.640, 0.800]`, with the unit where there is one."""
        return self._with_unit(f"{self.value(found.mean)} [{self.value(found.low)}, {self.value(found.high)}]")

    def difference(self, found: Estimate) -> str:
        """`+0.725 [+0.640, +0.800]`, with the unit where there is one."""
        return self._with_unit(f"{self.signed(found.mean)} [{self.signed(found.low)}, {self.signed(found.high)}]")

    def range(self) -> str:
        """What the numbers mean, in a few words: `0 to 1`, `from 0, nats per token, lower is better`."""
        low, high = f"{self.scale.low:g}", self.scale.high
        ends = f"from {low}" if high is None else f"{low} to {high:g}"
        return ", ".join(part for part in (ends, self.scale.unit, self._direction()) if part)

    def better(self, difference: Estimate) -> str:
        """`good`, `bad` or `even`: whether the interval of a difference says that the version is better."""
        sign = 1 if self.scale.higher_is_better else -1
        low, high = sorted((sign * difference.low, sign * difference.high))
        return "good" if low > 0 else "bad" if high < 0 else "even"

    def _direction(self) -> str:
        return "" if self.scale.higher_is_better else "lower is better"

    def _with_unit(self, text: str) -> str:
        return f"{text} {self.scale.unit}" if self.scale.unit else text

    def _decimals(self, number: float) -> int:
        if self.scale.high is None:
            size = abs(number)
            if not math.isfinite(size):
                return 0
            return 3 if size < 1 else max(0, 2 - int(math.log10(size)))
        span = self.scale.high - self.scale.low
        return max(0, 3 - math.ceil(math.log10(span))) if span > 0 else 3


def p_value(test: Test) -> str:
    """`p = 0.032` after Holm's correction, and `p < 0.001` where it is less."""
    p = test.p if test.p_adjusted is None else test.p_adjusted
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
