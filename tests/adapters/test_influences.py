"""What a checkpoint's folder holds that changes an answer is the same everywhere, refused or said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from locum.adapters.end_of_turn import stops_of
from locum.adapters.influences import notes, penalties, positions, table
from tests.bases import change, chatml_base, gemma_like, no_system
from tests.train.families import FAMILIES, tokenizer_of


def test_a_plain_base_model_has_nothing_to_say(tiny_base: Path) -> None:
    assert notes(tiny_base) == []


def test_an_end_of_turn_that_the_files_do_not_name_is_said(tiny_base: Path, tmp_path: Path) -> None:
    [note] = notes(chatml_base(tiny_base, tmp_path / "base"))
    assert note.startswith("Its chat template ends a turn with <|im_end|>, which its files do not name as an end")
    assert notes(gemma_like(tiny_base, tmp_path / "gemma")) == []


@pytest.mark.parametrize("make", [chatml_base, gemma_like])
def test_answers_end_at_the_templates_end_and_at_the_checkpoints(make: object, tiny_base: Path, tmp_path: Path) -> None:
    assert callable(make)
    assert stops_of(make(tiny_base, tmp_path / "base")) == [0, 2]


def test_a_template_without_a_system_role_is_said_with_the_way_out(tiny_base: Path, tmp_path: Path) -> None:
    [note] = notes(no_system(tiny_base, tmp_path / "base"))
    assert "refuses a system message (System role not supported)" in note and "system_role: user" in note


def test_penalties_dates_and_mistrals_own_files_are_said(tiny_base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_base, tmp_path / "base")
    change(folder / "generation_config.json", repetition_penalty=1.1, temperature=0.6)
    template = folder / "chat_template.jinja"
    template.write_text("{{ strftime_now('%d %b %Y') }}" + template.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "consolidated.safetensors").touch()
    said = " ".join(notes(folder))
    assert "today's date" in said and "repetition_penalty: it is off" in said and "Mistral's own files" in said
    assert penalties(folder) == {"repetition_penalty": 1.0}
    assert penalties(tiny_base) == {}


def test_several_templates_without_a_default_are_refused_by_name(tiny_base: Path, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tiny_base, FAMILIES["phi4"])
    tokenizer.chat_template = {"rag": "{{ messages }}", "tool_use": "{{ messages }}"}
    tokenizer.save_pretrained(tmp_path)
    assert notes(tmp_path)[0].startswith("It cannot be trained on as it is: the base model at")
    assert "chat templates called rag, tool_use, expected one called default" in notes(tmp_path)[0]


def test_positions_are_read_from_the_text_part_too(tiny_base: Path, tmp_path: Path) -> None:
    assert positions(tiny_base) == 1024
    change(tmp_path / "config.json", text_config={"max_position_embeddings": 77})
    assert positions(tmp_path) == 77


def test_the_documentation_has_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "serving.md"
    assert "\n".join(table()) in page.read_text(encoding="utf-8")
