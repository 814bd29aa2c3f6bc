"""Krippendorff's alpha: his own example, and what cannot be told."""

from __future__ import annotations

import pytest

from locum.errors import BadInputError
from locum.evaluate.agreement import Level, alpha

_ = None
# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers, twelve units.
PUBLISHED: list[list[float | None]] = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_it_gives_what_krippendorff_published_for_his_example(level: Level, published: float) -> None:
    assert alpha(PUBLISHED, level) == pytest.approx(published, abs=0.0005)


def test_reviewers_who_always_agree_have_an_alpha_of_one() -> None:
    assert alpha([[1, 2, 3], [1, 2, 3]], "nominal") == pytest.approx(1)


def test_reviewers_who_contradict_each_other_are_below_chance() -> None:
    found = alpha([[0, 1, 0, 1], [1, 0, 1, 0]], "nominal")
    assert found is not None
    assert found < 0


def test_the_order_of_reviewers_does_not_matter() -> None:
    assert alpha(PUBLISHED[::-1], "ordinal") == pytest.approx(alpha(PUBLISHED, "ordinal"))


@pytest.mark.parametrize(
    "ratings",
    [[], [[]], [[1, 2, 3]], [[1, None], [None, 2]], [[1, 1], [1, 1]], [[1, 2], [1, None]]],
    ids=[
        "nobody",
        "nothing",
        "one reviewer",
        "nothing rated twice",
        "all ratings the same",
        "the same where rated twice",
    ],
)
def test_agreement_is_not_made_up_where_it_cannot_be_told_from_chance(ratings: list[list[float | None]]) -> None:
    assert alpha(ratings, "nominal") is None


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"found \[1, 2\] places"):
        alpha([[1], [1, 2]], "nominal")
