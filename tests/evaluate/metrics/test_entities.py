"""F1 of extracted entities, and JSON against a schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.errors import BadInputError

Score = Callable[..., float | None]

DRUGS = '{"drug": ["Aspirin", "Ibuprofen"], "dose": ["100 mg"]}'


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (DRUGS, 1.0),
        (f"```json\n{DRUGS}\n```", 1.0),
        ('[{"type": "drug", "text": "aspirin"}, {"label": "drug", "name": "Ibuprofen"}]', 2 * 2 / (3 + 2)),
        ("drug: aspirin, ibuprofen\ndose: 100 mg", 1.0),
        ("- **Drug**: aspirin; ibuprofen\n- **Dose**: 100 mg", 1.0),
        ('{"drug": ["Aspirin"], "dose": ["Ibuprofen"]}', 2 * 1 / (3 + 2)),
        ('{"drug": ["Aspirin", "aspirin."]}', 2 * 1 / (3 + 1)),
        ('["Aspirin", "Ibuprofen", "100 mg"]', 0.0),
        ("none", 0.0),
        ("", 0.0),
    ],
)
def test_typed_entities_count_with_their_type(score: Score, answer: str, expected: float) -> None:
    assert score("entity_f1", answer, DRUGS) == pytest.approx(expected)


def test_types_can_be_left_out_of_it(score: Score) -> None:
    assert score("entity_f1", '["Aspirin", "ibuprofen", "100 mg"]', DRUGS, options={"typed": False}) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("aspirin, ibuprofen", 1.0),
        ("1. Aspirin\n2. Ibuprofen", 1.0),
        ("Aspirin", 2 / 3),
        ("Aspirin、布洛芬", 0.5),
        ('{"drugs": ["ibuprofen", "aspirin"]}', 1.0),
    ],
)
def test_a_list_of_entities_has_no_types_and_no_order(score: Score, answer: str, expected: float) -> None:
    assert score("entity_f1", answer, '["Aspirin", "Ibuprofen"]') == pytest.approx(expected)


def test_chinese_entities_are_split_at_their_own_marks(score: Score) -> None:
    assert score("entity_f1", "高血压、糖尿病，冠心病", '["糖尿病", "高血压", "冠心病"]') == 1


def test_a_thousands_separator_separates_nothing(score: Score) -> None:
    assert score("entity_f1", "$1,200, Acme", '["$1,200", "Acme"]') == 1


@pytest.mark.parametrize("answer", ["[]", "{}", "None.", "无", '{"drug": []}'])
def test_no_entities_are_right_where_there_are_none(score: Score, answer: str) -> None:
    assert score("entity_f1", answer, "[]") == 1
    assert score("entity_f1", "aspirin", "[]") == 0


_ENTITIES = st.lists(st.text(alphabet="abc 高,\n", max_size=5), max_size=5).map(json.dumps)


@given(_ENTITIES, _ENTITIES)
def test_entity_f1_is_symmetric_in_its_range_and_one_for_the_same(score: Score, one: str, other: str) -> None:
    found = score("entity_f1", one, other)
    assert found is not None
    assert 0 <= found <= 1
    assert found == score("entity_f1", other, one)
    assert score("entity_f1", one, one) == 1


# --- JSON against a schema

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"code": {"type": "string", "pattern": "^[A-Z]\\d"}, "on": {"type": "string", "format": "date"}},
    "required": ["code"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"code": "J45"}', 1),
        ('\n```json\n{"code": "J45"}\n```\n', 1),
        ('Here it is:\n```json\n{"code": "J45"}\n```', 0),
        ('{"code": "45"}', 0),
        ('{"code": "J45", "more": 1}', 0),
        ('{"code": "J45"', 0),
        ("[" * 100000, 0),
        ("", 0),
    ],
)
def test_an_answer_is_valid_json_or_not(score: Score, answer: str, expected: int) -> None:
    assert score("json_schema", answer, schema=SCHEMA) == expected


def test_words_around_the_fence_can_be_let_through_but_not_two_fences(score: Score) -> None:
    fence = '```json\n{"code": "J45"}\n```'
    assert score("json_schema", f"Here it is:\n{fence}\nAnything else?", schema=SCHEMA, options={"prose": True}) == 1
    assert score("json_schema", f"{fence}\nor\n{fence}", schema=SCHEMA, options={"prose": True}) == 0


def test_formats_are_checked_where_the_suite_wants_it(score: Score) -> None:
    answer = '{"code": "J45", "on": "tomorrow"}'
    assert score("json_schema", answer, schema=SCHEMA) == 1
    assert score("json_schema", answer, schema=SCHEMA, options={"formats": True}) == 0


def test_nan_is_no_json(score: Score) -> None:
    assert score("json_schema", "NaN", schema={}) == 0
    assert score("json_schema", "1", schema={}) == 1


def test_an_answer_too_deep_or_too_large_to_be_checked_is_wrong_and_stops_nothing(score: Score) -> None:
    nested = {"$defs": {"list": {"type": "array", "items": {"$ref": "#/$defs/list"}}}, "$ref": "#/$defs/list"}
    assert score("json_schema", "[" * 900 + "]" * 900, schema=nested) == 0
    assert score("json_schema", "1e400", schema={"multipleOf": 0.1}) == 0


def test_draft_2020_12_counts_the_first_items_of_a_list(score: Score) -> None:
    """`prefixItems` is new in that draft: before it, a schema with it lets everything through."""
    schema = {"prefixItems": [{"type": "integer"}]}
    assert score("json_schema", "[1]", schema=schema) == 1
    assert score("json_schema", '["1"]', schema=schema) == 0


def test_without_a_schema_nothing_is_said(score: Score) -> None:
    assert score("json_schema", "{}", "{}") is None


def test_a_schema_that_is_none_or_reaches_outside_is_the_suites_mistake(score: Score) -> None:
    with pytest.raises(BadInputError, match=r"sample s1: `schema` is no JSON schema: 'objekt' is not valid"):
        score("json_schema", "{}", schema={"type": "objekt"})
    with pytest.raises(BadInputError, match=r"refers to https://example\.com/schema, which is not in it"):
        score("json_schema", "{}", schema={"$ref": "https://example.com/schema"})
