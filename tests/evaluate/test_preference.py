"""Win rates and Bradley-Terry strengths: published numbers, symmetry, and what votes cannot say."""

from __future__ import annotations

import math
import random
from itertools import combinations

import pytest

from locum.errors import BadInputError
from locum.evaluate.preference import Outcome, Vote, bradley_terry, groups_of, pairs_of, win_rate

# Wins of the American League's East in 1987, row over column, and the fitted strengths over Baltimore's:
# Agresti, "Categorical Data Analysis" (2nd ed., 2002), section 10.6.
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
WINS = (
    (0, 7, 9, 7, 7, 9, 11),
    (6, 0, 7, 5, 11, 9, 9),
    (4, 6, 0, 7, 7, 8, 12),
    (6, 8, 6, 0, 6, 7, 10),
    (6, 2, 6, 7, 0, 7, 12),
    (4, 4, 5, 6, 6, 0, 6),
    (2, 4, 1, 3, 1, 7, 0),
)
PUBLISHED = (1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.00)


def vote(left: str, right: str, outcome: Outcome, *, question: str = "q", reviewer: str = "ann") -> Vote:
    return Vote(question, reviewer, left, right, outcome)


@pytest.mark.parametrize(
    ("wins", "losses", "low", "high"),
    [
        (81, 182, 0.2553, 0.3662),  # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I
        (15, 133, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 28, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_the_one_that_newcombe_published(wins: int, losses: int, low: float, high: float) -> None:
    found = win_rate(wins, 0, losses, 0.95)
    assert [found.mean, found.low, found.high] == pytest.approx([wins / (wins + losses), low, high], abs=0.00005)


def test_a_tie_counts_half_to_each() -> None:
    ours, theirs = win_rate(6, 4, 2, 0.95), win_rate(2, 4, 6, 0.95)
    assert ours.mean == pytest.approx(8 / 12)
    assert [1 - theirs.mean, 1 - theirs.high, 1 - theirs.low] == pytest.approx([ours.mean, ours.low, ours.high])


def test_a_version_that_won_every_vote_is_not_taken_for_invincible() -> None:
    found = win_rate(5, 0, 0, 0.95)
    assert found.mean == found.high == 1
    assert found.low == pytest.approx(0.566, abs=0.001)


@pytest.mark.parametrize("counts", [(0, 0, 0), (-1, 0, 2)])
def test_a_win_rate_needs_votes(counts: tuple[int, int, int]) -> None:
    with pytest.raises(BadInputError, match="needs votes"):
        win_rate(*counts, 0.95)


def test_strengths_are_those_that_agresti_published_for_baseball() -> None:
    games = [
        (TEAMS[row], TEAMS[column], 1.0)
        for row, column in ((i, j) for i in range(7) for j in range(7))
        for _ in range(WINS[row][column])
    ]
    found = bradley_terry(games, prior=1e-6)
    assert list(found) == list(TEAMS)
    over_last = [found[team].mean - found["Baltimore"].mean for team in TEAMS]
    assert over_last == pytest.approx(PUBLISHED, abs=0.005)
    assert sum(strength.mean for strength in found.values()) == pytest.approx(0, abs=1e-6)
    assert all(strength.low < strength.mean < strength.high for strength in found.values())


def test_with_two_versions_the_difference_is_the_log_odds_of_the_votes() -> None:
    votes = [vote("m@2", "m@1", "left")] * 20 + [vote("m@2", "m@1", "right")] * 9 + [vote("m@2", "m@1", "tie")] * 2
    found = bradley_terry(pairs_of(votes), groups=groups_of(votes, "vote"))
    # 20 wins and two halves and the prior's half, against 9 and two halves and the prior's half
    assert found["m@2"].mean - found["m@1"].mean == pytest.approx(math.log(21.5 / 10.5))


def test_a_version_that_never_lost_has_a_finite_strength() -> None:
    found = bradley_terry([("m@2", "m@1", 1.0)] * 10)
    assert found["m@2"].high < 5


def test_versions_are_compared_through_others_and_refused_where_nothing_links_them() -> None:
    linked = [("a", "b", 1.0), ("b", "c", 1.0)] * 5
    assert list(bradley_terry(linked)) == ["a", "b", "c"]
    with pytest.raises(BadInputError, match="c, d never met a, b"):
        bradley_terry([("a", "b", 1.0), ("c", "d", 1.0)])


@pytest.mark.parametrize(
    ("pairs", "prior", "found"),
    [
        ([("a", "b", 1.0)], 0.5, "found 1"),
        ([], 0.5, "found 0"),
        ([("a", "b", 1.0), ("a", "a", 1.0)], 0.5, "a over a"),
        ([("a", "b", 1.0), ("a", "b", 0.0)], 0.5, "weight 0.0"),
        ([("a", "b", 1.0)] * 2, 0.0, "a prior of 0.0"),
    ],
)
def test_votes_that_say_nothing_are_refused(pairs: list[tuple[str, str, float]], prior: float, found: str) -> None:
    with pytest.raises(BadInputError, match=found):
        bradley_terry(pairs, prior=prior)


def test_the_halves_of_a_tie_are_drawn_together() -> None:
    votes = [vote("a", "b", "tie")] * 12
    found = bradley_terry(pairs_of(votes), groups=groups_of(votes, "vote"))
    assert [found["a"].low, found["a"].high] == pytest.approx([0, 0])


def test_reviewers_who_vote_as_one_do_not_narrow_the_interval() -> None:
    chance = random.Random(5)
    votes = []
    for question in range(30):
        for pair in combinations(("a", "b", "c"), 2):
            outcome: Outcome = "left" if chance.random() < 0.6 else "right"
            votes += [vote(*pair, outcome, question=str(question), reviewer=str(n)) for n in range(6)]
    pairs = pairs_of(votes)
    naive, grouped = (bradley_terry(pairs, groups=groups_of(votes, by))["a"] for by in ("vote", "question"))
    assert grouped.high - grouped.low > 2 * (naive.high - naive.low)
