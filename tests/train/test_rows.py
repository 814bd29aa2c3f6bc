"""Rows that a chat template cannot show are named and left out, and are never learnt in part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from locum.adapters.recipe import TrainingRecipe
from locum.errors import BadInputError
from locum.train.rows import load_pairs, load_rows
from locum.train.template import Template

PLAIN = {"conversations": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Yes."}]}
CALL = {"conversations": [
    {"role": "user", "content": "?"},
    {"role": "assistant", "tool_calls": [{"name": "weather", "arguments": {"town": "Ulm"}}]},
]}  # fmt: skip


@pytest.fixture
def template(tiny_base: Path) -> Template:
    """ChatML, whose messages are their content alone."""
    return Template.load(tiny_base)


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    """A file of these rows."""
    file = folder / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_a_row_that_cannot_be_shown_costs_that_row(template: Template, tmp_path: Path) -> None:
    refused: list[str] = []
    file = written(tmp_path, PLAIN, CALL, *[PLAIN] * 18)
    assert len(load_rows(file, template, 64, refused)) == 19
    [sentence] = refused
    assert sentence.startswith(f"{file}: 1 of 20 rows cannot be learnt with this base model: row 2: the base model's")
    assert "leaves out the name of a call (`tool_calls`)" in sentence and sentence.endswith("They were left out.")


def test_many_such_rows_are_a_refusal_with_the_way_out(template: Template, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"4 of 8 rows .* rows 2, 4, 6, …: .* leaves out the name") as refusal:
        load_rows(written(tmp_path, *[PLAIN, CALL] * 4), template, 64, [])
    assert "leave such rows out, or take a base model whose chat template knows tools" in str(refusal.value.hint)


def test_what_is_wrong_with_all_rows_is_wrong_with_the_base_model(template: Template, tmp_path: Path) -> None:
    template.tokenizer.chat_template = "{{ raise_exception('No.') }}"
    with pytest.raises(BadInputError, match=r"^the base model's chat template refuses a conversation of .*: No\.$"):
        load_rows(written(tmp_path, PLAIN, PLAIN), template, 64, [])


def test_single_answers_are_for_kto_alone(template: Template, tmp_path: Path) -> None:
    prompt = [{"role": "user", "content": "?"}]
    file = written(tmp_path, {"prompt": prompt, "chosen": "Yes."}, {"prompt": prompt, "rejected": "No."})
    wanted, unwanted = load_pairs(file, template, TrainingRecipe(method="kto"), [])
    assert (wanted.rejected_ids, unwanted.chosen_ids) == ([], [])
    with pytest.raises(BadInputError, match="the row has one answer, and the method dpo compares two"):
        load_pairs(file, template, TrainingRecipe(method="dpo"), [])


def test_kto_learns_from_the_answers_that_are_there() -> None:
    from locum.train.alignment import pair_dataset
    from locum.train.template import PairTokens

    rows = pair_dataset([PairTokens([1], [2], []), PairTokens([3], [], [4]), PairTokens([5], [6], [7])], "kto")
    assert [(row["completion_ids"], row["label"]) for row in rows] == [
        ([2], True),
        ([6], True),
        ([4], False),
        ([7], False),
    ]
