"""Whether two models differ: exact tests on paired scores, and Holm's correction over several of them.

Tests and intervals answer different questions. A test says how surprising the found difference is if the two models
are equally good; an interval says how large the true difference may be. The gate decides by bounds
(`noninferiority.py`); tests say which slice has lost, and stand in the report beside each metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from locum.errors import BadInputError
from locum.evaluate.groups import labels_of
from locum.evaluate.statistics import SEED

if TYPE_CHECKING:
    from numpy import bool_, float64, int64
    from numpy.typing import NDArray

DRAWS = 10_000
ENUMERATED = 15  # so many groups have 32,768 assignments of signs: about as quick to list as to draw
_EQUAL = 1e-9  # sums of the same scores in another order differ by rounding

Side = Literal["two-sided", "worse"]


class Test(BaseModel):
    """The test that fits the scores, and its p-value."""

    __test__ = False  # pytest would collect it for its name
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["mcnemar", "permutation"]
    p: float = Field(ge=0, le=1, description="chance of a difference at least as large between equally good models")
    p_adjusted: float | None = Field(None, ge=0, le=1, description="the same after Holm's correction over its family")


def test_difference(
    ours: Sequence[float], theirs: Sequence[float], *, groups: Sequence[str] | None = None, side: Side = "two-sided"
) -> Test:
    """The test for these scores: McNemar's where all are 0 or 1 and no two samples share a group, else permutation.

    Args:
        groups: for each sample what it belongs to; none means that each stands alone.
        side: "two-sided", or "worse" when only a loss is of interest.

    Raises:
        BadInputError: there is no pair, or the two have different lengths.
    """
    alone = groups is None or len(set(groups)) == len(groups)
    if alone and set(ours) | set(theirs) <= {0.0, 1.0}:
        return Test(name="mcnemar", p=mcnemar(ours, theirs, side=side))
    return Test(name="permutation", p=permutation_test(ours, theirs, groups=groups, side=side))


test_difference.__test__ = False  # type: ignore[attr-defined]  # as above


def mcnemar(ours: Sequence[float], theirs: Sequence[float], *, side: Side = "two-sided") -> float:
    """p-value of McNemar's exact test, for scores of 0 and 1 of independent samples.

    Only samples that exactly one of the two gets right tell them apart. If the models are equally good, each of those
    is won by either with chance 1/2, so wins are binomial: McNemar, "Note on the sampling error of the difference
    between correlated proportions" (1947), with the binomial instead of his chi-square, which needs 25 such samples.
    Exact means that it never raises false alarms more often than it says; it raises them more seldom
    (Fagerland, Lydersen & Laake 2013), which suits a gate.

    Raises:
        BadInputError: there is no pair, or the two have different lengths.
    """
    from scipy.stats import binomtest

    _require_pairs(ours, theirs)
    won = sum(our > their for our, their in zip(ours, theirs, strict=True))
    lost = sum(our < their for our, their in zip(ours, theirs, strict=True))
    if not won + lost:
        return 1.0
    return float(binomtest(won, won + lost, alternative="less" if side == "worse" else "two-sided").pvalue)


def permutation_test(
    ours: Sequence[float], theirs: Sequence[float], *, groups: Sequence[str] | None = None, side: Side = "two-sided"
) -> float:
    """p-value of the paired permutation test: if the models are equally good, their names may be swapped.

    They are swapped for whole groups at once, since samples of one group are not independent: Fisher, "The Design of
    Experiments" (1935), section 21; Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses" (2005). Over few
    groups all ways to swap are listed and p is exact. Else 10,000 are drawn, and p is (b + 1) / (m + 1), never 0:
    Phipson & Smyth, "Permutation P-values Should Never Be Zero" (2010).

    Raises:
        BadInputError: there is no pair, or the two have different lengths.
    """
    import numpy as np

    _require_pairs(ours, theirs)
    differences = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    sums = np.bincount(labels_of(groups, len(differences)), weights=differences)
    sums = sums[np.abs(sums) > _EQUAL]  # swapping changes nothing in the others
    found = float(sums.sum())
    if len(sums) <= ENUMERATED:
        swapped = _signs(np.arange(1 << len(sums)), len(sums)) @ sums
        return float(np.mean(_as_far(swapped, found, side)))
    random = np.random.default_rng(SEED)
    beyond = 0
    for start in range(0, DRAWS, 1_000):  # bounds the memory, whatever the number of groups
        drawn = random.integers(0, 2, size=(min(1_000, DRAWS - start), len(sums)), dtype=np.int8)
        beyond += int(_as_far((2.0 * drawn - 1.0) @ sums, found, side).sum())
    return (beyond + 1) / (DRAWS + 1)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values, in the order given: reject those below alpha, and false alarms in all stay below alpha.

    The smallest of m is multiplied by m, the next by m - 1, and so on, none falling below the one before it: Holm, "A
    Simple Sequentially Rejective Multiple Test Procedure" (1979). It asks nothing of how the tests depend on each
    other, and is never weaker than Bonferroni's.
    """
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def corrected(tests: Mapping[str, Test]) -> dict[str, Test]:
    """The same tests, as one family, with `p_adjusted` by Holm: for instance those of all metrics."""
    adjusted = holm({name: test.p for name, test in tests.items()})
    return {name: test.model_copy(update={"p_adjusted": adjusted[name]}) for name, test in tests.items()}


def _require_pairs(ours: Sequence[float], theirs: Sequence[float]) -> None:
    if len(ours) != len(theirs) or not len(ours):
        raise BadInputError(f"a paired test needs as many scores of each, found {len(ours)} and {len(theirs)}")


def _signs(numbers: NDArray[int64], count: int) -> NDArray[float64]:
    """Each number's bits as +1 and -1, one row a number."""
    import numpy as np

    signs: NDArray[float64] = np.where(numbers[:, None] >> np.arange(count) & 1, 1.0, -1.0)
    return signs


def _as_far(sums: NDArray[float64], found: float, side: Side) -> NDArray[bool_]:
    """Which sums are at least as far out as the one found."""
    import numpy as np

    return sums <= found + _EQUAL if side == "worse" else np.abs(sums) >= abs(found) - _EQUAL
