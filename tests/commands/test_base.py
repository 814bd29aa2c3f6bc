"""`locum base`, as typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from locum.adapters.base import Base, fingerprint
from tests.commands.conftest import Ran


def test_a_pulled_folder_is_shown_as_the_one_in_force(locum: Callable[..., Ran], tiny_base: Path) -> None:
    pulled = locum("base", "pull", str(tiny_base), "--json")
    assert pulled.code == 0
    assert Base.model_validate(pulled.json).fingerprint == fingerprint(tiny_base)
    [shown] = locum("base", "show", "--json").json
    assert shown == {**pulled.json, "in_force": True}
    ran = locum("base", "show")
    assert "→" in ran.out
    assert "tiny-llama" in ran.out


def test_what_is_not_in_force_says_how_to_use_it(
    locum: Callable[..., Ran], tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCUM_BASE", "another")
    ran = locum("base", "pull", str(tiny_base))
    assert ran.code == 0
    assert ran.out.startswith("tiny-llama is ready: ")
    assert 'put base = "tiny-llama" into locum.toml, or set LOCUM_BASE=tiny-llama' in ran.out


def test_a_base_model_that_is_not_there_exits_3_and_says_which_are(
    locum: Callable[..., Ran], base_record: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCUM_BASE", "another")
    ran = locum("base", "show")
    assert ran.code == 3
    assert ran.err.splitlines() == [
        "Error: the base model 'another' is not there (there are: tiny-llama)",
        "locum base pull MODEL",
    ]


def test_a_hub_id_without_the_hub_exits_3(locum: Callable[..., Ran]) -> None:
    ran = locum("base", "pull", "acme/model")
    assert ran.code == 3
    assert "acme/model cannot be downloaded" in ran.err
    assert "locum base pull FOLDER" in ran.err


def test_a_folder_without_a_checkpoint_exits_2(locum: Callable[..., Ran], workplace: Path) -> None:
    (workplace / "empty").mkdir()
    ran = locum("base", "pull", "empty")
    assert ran.code == 2
    assert "empty has no config.json" in ran.err
