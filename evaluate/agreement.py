"""How far several reviewers, or a judge and its reviewers, agree beyond chance: Krippendorff's alpha.

Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), and "Content Analysis" (4th ed., 2018), chapter 12:
alpha = 1 - observed disagreement / disagreement expected by chance. It takes any number of raters, and ratings that
are missing. 1 is perfect agreement, 0 is what chance gives, below 0 is systematic disagreement. Krippendorff asks for
0.800 before conclusions are drawn and calls what lies between 0.667 and 0.800 tentative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from locum.errors import BadInputError

Level = Literal["nominal", "ordinal", "interval", "ratio"]


def alpha(ratings: Sequence[Sequence[float | None]], level: Level) -> float | None:
    """Krippendorff's alpha, at most 1.

    Args:
        ratings: one row a rater, one column a thing rated; None where the rater said nothing. Things that fewer than
            two raters rated do not count.
        level: what differences mean: "nominal" for votes (any two differ alike), "ordinal" for grades of a rubric
            (the more ratings lie between two grades, the more they differ), "interval" or "ratio" for measurements.

    Returns:
        None where agreement cannot be told from chance: nothing was rated twice, or all ratings are the same.

    Raises:
        BadInputError: the rows have different lengths.
    """
    import krippendorff
    import numpy as np

    lengths = {len(row) for row in ratings}
    if len(lengths) > 1:
        raise BadInputError(f"every rater must have one place for each thing rated, found {sorted(lengths)} places")
    table = np.array([[np.nan if rating is None else float(rating) for rating in row] for row in ratings])
    if not table.size:
        return None
    paired = table[:, np.sum(~np.isnan(table), axis=0) >= 2]
    if len(np.unique(paired[~np.isnan(paired)])) < 2:
        return None
    return float(krippendorff.alpha(paired, level_of_measurement=level))
