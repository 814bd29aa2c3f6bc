"""Which of two answers people prefer: win rate, and strengths over several versions.

Two answers to one question are shown without their names, and a reviewer says which is better, or that neither is.
Votes on one question, and votes of one reviewer, are not independent: group by the one that there is less of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from locum.errors import BadInputError
from locum.evaluate.groups import labels_of
from locum.evaluate.statistics import SEED, Estimate

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

BRADLEY_TERRY_RESAMPLES = 1_000
PRIOR = 0.5  # wins each way: as if every two versions that met had tied once

Outcome = Literal["left", "right", "tie"]


@dataclass(frozen=True)
class Vote:
    """What one reviewer said about the answers of two versions to one question. `left` and `right` name versions."""

    question: str
    reviewer: str
    left: str
    right: str
    outcome: Outcome


def win_rate(wins: float, ties: float, losses: float, confidence: float) -> Estimate:
    """Share of comparisons won, ties counting half, with Wilson's interval; from 0 to 1, and 0.5 is a draw.

    (wins + ties / 2) / n estimates P(better) + P(equal) / 2, the probability of superiority (Vargha & Delaney 2000,
    "A Critique and Improvement of the CL Common Language Effect Size Statistics"); half a win for a tie is also how
    AlpacaEval and Chatbot Arena count. The interval is Wilson's (1927), which Brown, Cai & DasGupta, "Interval
    Estimation for a Binomial Proportion" (2001), recommend: it stays within [0, 1] and covers as it says with few
    votes too. It takes votes as independent and as won or lost; ties only narrow what really varies, so with many
    of them it is wider than need be.

    Raises:
        BadInputError: a count is negative, or there is no vote.
    """
    from statistics import NormalDist

    total = wins + ties + losses
    if min(wins, ties, losses) < 0 or total <= 0:
        raise BadInputError(f"a win rate needs votes, found {wins} wins, {ties} ties and {losses} losses")
    rate = (wins + ties / 2) / total
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (rate + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(rate * (1 - rate) / total + z**2 / (4 * total**2))
    return Estimate(rate, max(0.0, centre - half), min(1.0, centre + half))


def pairs_of(votes: Sequence[Vote]) -> list[tuple[str, str, float]]:
    """(winner, loser, weight) of each vote, for `bradley_terry`. A tie is half a win each way: two pairs."""
    return [pair for vote in votes for pair in _pairs(vote)]


def groups_of(votes: Sequence[Vote], by: Literal["vote", "question", "reviewer"]) -> list[str]:
    """For each pair of `pairs_of` what it belongs to, for `bradley_terry`: so both halves of a tie stay together."""
    labels = [str(index) if by == "vote" else str(getattr(vote, by)) for index, vote in enumerate(votes)]
    return [label for label, vote in zip(labels, votes, strict=True) for _ in _pairs(vote)]


def bradley_terry(
    pairs: Sequence[tuple[str, str, float]],
    *,
    groups: Sequence[str] | None = None,
    confidence: float = 0.95,
    prior: float = PRIOR,
) -> dict[str, Estimate]:
    """The strength of each version in log-odds, with bootstrap intervals, strongest first.

    Bradley & Terry, "Rank Analysis of Incomplete Block Designs" (1952): P(a beats b) = 1 / (1 + exp(b - a)) for
    strengths a and b. They are fixed to a mean of 0, so the difference of two is what means something: +0.69 is two
    wins for one loss, and 400 / ln 10 times it is a difference in Elo points. Fitted by choix (Maystre & Grossglauser
    2015, "Fast and Accurate Inference of Plackett-Luce Models").

    Args:
        pairs: (winner, loser, weight).
        groups: for each pair what it belongs to (a question, a reviewer); whole groups are drawn. None draws pairs.
        confidence: of the percentile intervals. Where a version won every vote they are far too narrow, as no resample
            knows a loss.
        prior: so many wins each way are added between versions that met, so that one that won all its votes has a
            finite strength (as Haldane 1956 and Anscombe 1956 do for log-odds). Towards 0 is maximum likelihood.

    Raises:
        BadInputError: there is less than two groups, a weight or the prior is not positive, a version met itself, or
            two versions cannot be compared, not even through others.
    """
    import numpy as np

    names = sorted({name for winner, loser, _ in pairs for name in (winner, loser)})
    labels = labels_of(groups, len(pairs)).tolist()
    _require_comparable(pairs, groups=len(set(labels)), prior=prior)
    place = {name: index for index, name in enumerate(names)}
    wins = np.zeros((max(labels) + 1, len(names), len(names)))
    for (winner, loser, weight), label in zip(pairs, labels, strict=True):
        wins[label, place[winner], place[loser]] += weight
    total = wins.sum(axis=0)
    imagined = prior * ((total + total.T) > 0)
    strengths = _fit(total + imagined)
    random = np.random.default_rng(SEED)
    counts = random.multinomial(len(wins), np.full(len(wins), 1 / len(wins)), size=BRADLEY_TERRY_RESAMPLES)
    tail = (1 - confidence) / 2
    resampled = [_fit(drawn + imagined, start=strengths) for drawn in np.tensordot(counts, wins, axes=1)]
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    found = {name: Estimate(*map(float, ends)) for name, *ends in zip(names, strengths, low, high, strict=True)}
    return dict(sorted(found.items(), key=lambda item: -item[1].mean))


def _pairs(vote: Vote) -> list[tuple[str, str, float]]:
    if vote.outcome == "tie":
        return [(vote.left, vote.right, 0.5), (vote.right, vote.left, 0.5)]
    won_left = vote.outcome == "left"
    return [(vote.left, vote.right, 1.0) if won_left else (vote.right, vote.left, 1.0)]


def _require_comparable(pairs: Sequence[tuple[str, str, float]], *, groups: int, prior: float) -> None:
    if groups < 2:
        raise BadInputError(
            f"strengths and their spread need at least two independent votes, found {groups}",
            hint="the votes of a single reviewer can be grouped by question",
        )
    wrong = next((pair for pair in pairs if pair[2] <= 0 or pair[0] == pair[1]), None)
    if wrong or prior <= 0:
        found = f"{wrong[0]} over {wrong[1]}, weight {wrong[2]}" if wrong else f"a prior of {prior}"
        raise BadInputError(f"a vote is between two versions, and its weight and the prior are above 0: found {found}")
    known, reached = {pairs[0][0]}, 0
    while len(known) > reached:
        reached = len(known)
        known |= {name for pair in pairs if known & set(pair[:2]) for name in pair[:2]}
    apart = sorted({name for pair in pairs for name in pair[:2]} - known)
    if apart:
        raise BadInputError(
            f"{', '.join(apart)} never met {', '.join(sorted(known))}, not even through others: "
            "there is no common scale for them",
            hint="collect votes between the two, or ask for each set alone",
        )


def _fit(wins: NDArray[float64], *, start: NDArray[float64] | None = None) -> NDArray[float64]:
    """Strengths from a matrix of wins, row over column."""
    import choix
    import numpy as np

    return np.asarray(choix.ilsr_pairwise_dense(wins, initial_params=start), dtype=np.float64)
