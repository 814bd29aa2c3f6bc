"""`locum train` as a user runs it, over the tiny base."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from locum.adapters.base import Base
from locum.adapters.registry import Registry
from locum.cli import app
from locum.errors import BadInputError
from locum.settings import Settings

QUICK = ["--set", "max_steps=2", "--set", "evaluations=1", "--set", "rank=4"]


@pytest.fixture
def runner(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name in ("home", "domains", "base", "user"):
        monkeypatch.setenv(f"LOCUM_{name.upper()}", str(getattr(settings, name)))
    return CliRunner()


def test_train_registers_once(runner: CliRunner, domain_folder: Path, base_record: Base, settings: Settings) -> None:
    first = json.loads(runner.invoke(app, ["train", "legal", "--json", *QUICK], catch_exceptions=False).stdout)
    assert (first["version"], first["new"], first["reused"]) == ("legal@1", True, False)
    again = json.loads(runner.invoke(app, ["train", "legal", "--json", *QUICK], catch_exceptions=False).stdout)
    assert (again["version"], again["new"], again["reused"]) == ("legal@1", False, True)
    manifest = Registry.open(settings).resolve("legal@candidate")
    assert manifest.recipe["max_steps"] == 2
    assert manifest.data is not None and set(manifest.data.splits) == {"train", "validation", "test"}
    assert manifest.training["validation_loss"] > 0
    assert len(manifest.probes) > 1


def test_an_unknown_recipe_key_is_refused(runner: CliRunner, domain_folder: Path, base_record: Base) -> None:
    result = runner.invoke(app, ["train", "legal", "--set", "steps=2"])
    assert isinstance(result.exception, BadInputError)
    assert "max_steps" in str(result.exception)
