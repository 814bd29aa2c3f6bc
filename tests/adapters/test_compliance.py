"""The part of a card that says what every answer must hold."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from locum.adapters.compliance import ComplianceCard


def problems(data: dict[str, Any]) -> list[tuple[tuple[int | str, ...], str]]:
    """Where a card is wrong, and why."""
    with pytest.raises(ValidationError) as caught:
        ComplianceCard.model_validate(data)
    return [(problem["loc"], problem["msg"]) for problem in caught.value.errors()]


def test_a_card_without_demands_has_no_options() -> None:
    assert ComplianceCard().metric_options() == {}
    assert ComplianceCard.model_validate({"referral": False}).metric_options() == {}


def test_short_forms_are_read() -> None:
    card = ComplianceCard.model_validate({"referral": True, "sources": r"ISO \d+"})
    assert card.metric_options() == {
        "referral": {"wordings": [], "defaults": True},
        "sources": {"pattern": r"ISO \d+"},
    }


def test_a_list_of_referrals_stands_in_place_of_the_known_ones_unless_it_says_so() -> None:
    alone = ComplianceCard.model_validate({"referral": ["ask your GP"]})
    assert alone.metric_options()["referral"] == {"wordings": ["ask your GP"], "defaults": False}
    besides = ComplianceCard.model_validate({"referral": {"wordings": ["ask your GP"]}})
    assert besides.metric_options()["referral"] == {"wordings": ["ask your GP"], "defaults": True}


def test_a_notice_is_refused_with_where_it_has_gone() -> None:
    [(_, message)] = problems({"notice": ["one"], "referral": True})
    assert "stands under `notices` of the card" in message


def test_a_wrong_pattern_is_named_with_what_is_wrong_and_where() -> None:
    assert problems({"forbidden": ["fine", "/(cure/"]}) == [
        (
            ("forbidden", 1),
            "Value error, not a regular expression: missing ), unterminated subpattern at character 1",
        )
    ]
    assert problems({"sources": "[a-"})[0][0] == ("sources", "pattern")
    assert problems({"referral": ["/*/"]})[0][0] == ("referral", "wordings", 0)


def test_a_wording_without_a_word_is_refused() -> None:
    [(where, why)] = problems({"forbidden": ["…"]})
    assert where == ("forbidden", 0)
    assert "expected a phrase with a letter or a digit" in why


def test_a_referral_with_nothing_to_look_for_is_refused() -> None:
    assert "give `wordings`, or leave `defaults` on" in problems({"referral": []})[0][1]
