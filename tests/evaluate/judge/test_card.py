"""The part of a suite's card that names a judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from locum.adapters.judge import DIMENSIONS, JudgeCard
from locum.adapters.yamlfile import read_yaml
from locum.errors import BadInputError

GIVEN = {"model": "judge-7b", "endpoint": "http://127.0.0.1:9000/v1/"}


def test_a_model_and_where_it_is_are_enough() -> None:
    card = JudgeCard.model_validate(GIVEN)
    assert card.endpoint == "http://127.0.0.1:9000/v1"
    assert card.dimensions == list(DIMENSIONS)
    assert (card.pairwise, card.api_key()) == (False, "")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"endpoint": "localhost:9000"}, "endpoint"),
        ({"dimensions": ["beauty"]}, "dimensions"),
        ({"dimensions": ["safety", "safety"]}, "each dimension once"),
        ({"dimensions": []}, "what the judge is asked"),
        ({"api_key": "x"}, "api_key"),
    ],
)
def test_a_card_that_cannot_be_right_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        JudgeCard.model_validate(GIVEN | fields)


def test_a_judge_may_only_compare() -> None:
    assert JudgeCard.model_validate(GIVEN | {"dimensions": [], "pairwise": True}).dimensions == []


def test_a_key_in_place_of_a_variables_name_is_refused_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "judge.yaml"
    path.write_text("model: judge-7b\nendpoint: http://x/v1\napi_key_env: sk-proj-1234\n")
    with pytest.raises(BadInputError, match="never the key") as caught:
        read_yaml(path, JudgeCard, what="a judge", hint="")
    assert "1234" not in str(caught.value)
