"""Feedback counted by version, and rows that can be learnt from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from locum.adapters.feedback import Feedback
from locum.evaluate.feedback import by_version, liked_conversations, preference_pairs
from locum.evaluate.preference import win_rate

ASKED = [{"role": "user", "content": "Is it contagious?"}]


def said(answer_id: str, **changes: Any) -> Feedback:
    fields = {"domain": "medical", "model": "medical@2", "answer_id": answer_id, "verified": True}
    return Feedback.model_validate({**fields, "at": datetime(2026, 3, 1, tzinfo=UTC), **changes})


def test_versions_are_told_apart_and_in_the_order_of_their_numbers() -> None:
    given = [said(f"u{number}", rating="up") for number in range(6)]
    given += [said("d1", rating="down", comment="wrong"), said("d2", rating="down", verified=False)]
    given += [said("o", model="medical@10", score=4), said("p", model="medical@10", score=2, user="u")]
    second, tenth = by_version(given)
    assert (second.model, second.up, second.down, second.ratings, second.verified) == ("medical@2", 6, 2, 8, 7)
    assert second.share_up == win_rate(6, 0, 2, 0.95)
    assert (second.score, second.comments) == (None, 1)
    assert (tenth.model, tenth.share_up, tenth.scored) == ("medical@10", None, 2)
    assert tenth.score is not None
    assert tenth.score.mean == 3
    assert by_version([]) == []


def test_liked_answers_and_better_ones_become_conversations() -> None:
    given = [
        said("1", rating="up", messages=ASKED, answer="Yes."),
        said("2", rating="up", messages=ASKED, answer="Yes."),  # the same again
        said("3", score=5, messages=ASKED, answer="Very."),
        said("4", rating="down", messages=ASKED, answer="No.", better="Yes, for a week."),
        said("5", rating="down", messages=ASKED, answer="Maybe."),
        said("6", rating="up"),  # nothing was sent along
        said("7", rating="up", messages=[*ASKED, *ASKED], answer="Two questions in a row are no conversation."),
    ]
    assert [row.answer for row in liked_conversations(given)] == ["Yes.", "Very.", "Yes, for a week."]


def test_pairs_are_better_answers_and_liked_ones_before_disliked_ones_to_the_same_question() -> None:
    other = [{"role": "user", "content": "Does it itch?"}]
    given = [
        said("1", rating="down", messages=ASKED, answer="No.", better="Yes, for a week."),
        said("2", rating="up", messages=ASKED, answer="Yes."),
        said("3", rating="up", messages=other, answer="Often."),
        said("4", score=1, messages=other, answer="Never."),
        said("5", rating="up", messages=other, answer="Never mind."),
        said("6", rating="down", messages=other, answer="Never mind."),  # some like it, some do not
        said("7", rating="down", messages=other, answer="Same.", better="Same."),
        said("8", rating="down"),
    ]
    assert [(row.chosen, row.rejected) for row in preference_pairs(given)] == [
        ("Yes, for a week.", "No."),
        ("Yes.", "No."),
        ("Often.", "Never."),
        ("Often.", "Same."),
    ]


@pytest.mark.parametrize(("score", "liked"), [(5, True), (4, True), (3, False), (2, False)])
def test_a_thumb_counts_more_than_a_score(score: int, liked: bool) -> None:
    given = [said("1", score=score, messages=ASKED, answer="Yes.")]
    assert bool(liked_conversations(given)) is liked
    thumb = "down" if liked else "up"
    assert bool(liked_conversations([each.model_copy(update={"rating": thumb}) for each in given])) is not liked
