"""How a judge is held against people, with numbers worked out by others and by hand."""

from __future__ import annotations

import pytest

from locum.errors import BadInputError
from locum.evaluate.judge.agreement import Outcome, judge_agreement
from locum.evaluate.judge.rating import Preferred
from locum.evaluate.preference import Vote


def said(number: int, outcome: Outcome, *, left: str = "a", right: str = "b") -> Preferred:
    return Preferred(f"q{number}", left, right, outcome)


def test_kappa_is_that_of_the_textbook_example() -> None:
    """Two raters of 50 things: both yes 20, both no 15, one only 5, the other only 10: kappa 0.4."""
    table = [("left", "left")] * 20 + [("left", "right")] * 5 + [("right", "left")] * 10 + [("right", "right")] * 15
    votes = [said(number, theirs) for number, (theirs, _) in enumerate(table)]  # type: ignore[arg-type]
    verdicts = [said(number, its) for number, (_, its) in enumerate(table)]  # type: ignore[arg-type]
    found = judge_agreement(votes, verdicts)
    assert found.accuracy.mean == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    assert (found.pairs, found.votes, found.among_people) == (50, 50, None)
    assert 0.5 < found.accuracy.low < 0.7 < found.accuracy.high < 0.9


def test_sides_do_not_matter() -> None:
    votes = [said(0, "left"), said(1, "right", left="b", right="a"), said(2, "tie")]
    verdicts = [said(0, "right", left="b", right="a"), said(1, "left"), said(2, "tie", left="b", right="a")]
    assert judge_agreement(votes, verdicts).accuracy.mean == 1.0


def test_people_say_what_most_of_them_say_and_tie_where_they_are_split() -> None:
    votes = [said(0, "left"), said(0, "left"), said(0, "right"), said(1, "left"), said(1, "right")]
    found = judge_agreement(votes, [said(0, "left"), said(1, "tie")])
    assert found.accuracy.mean == 1.0
    assert (found.pairs, found.votes) == (2, 5)
    assert found.among_people == pytest.approx(1 / 4)


def test_votes_from_the_arena_are_taken_as_they_are() -> None:
    votes = [Vote("q0", reviewer, "a", "b", "left") for reviewer in ("ada", "bob")]
    found = judge_agreement(votes, [said(0, "left")])
    assert (found.votes, found.among_people, found.accuracy.mean) == (2, 1.0, 1.0)


def test_only_pairs_that_both_have_seen_count() -> None:
    votes = [said(0, "left"), said(1, "left"), said(2, "left", right="c")]
    found = judge_agreement(votes, [said(0, "right"), said(2, "left"), said(3, "left")])
    assert (found.pairs, found.votes, found.accuracy.mean) == (1, 1, 0.0)


def test_a_judge_and_people_who_always_say_the_same_have_no_kappa() -> None:
    assert judge_agreement([said(0, "left")], [said(0, "left")]).kappa is None


def test_without_a_common_pair_there_is_no_agreement_to_tell() -> None:
    with pytest.raises(BadInputError, match="1 votes, 1 verdicts"):
        judge_agreement([said(0, "left")], [said(1, "left")])
