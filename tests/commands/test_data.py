"""`locum data` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from locum.cli import app
from locum.errors import CheckFailedError
from locum.settings import Settings


@pytest.fixture
def runner(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name in ("home", "domains", "base", "user"):
        monkeypatch.setenv(f"LOCUM_{name.upper()}", str(getattr(settings, name)))
    return CliRunner()


def test_build_says_that_nothing_leaks(runner: CliRunner, domain_folder: Path, settings: Settings) -> None:
    result = runner.invoke(app, ["data", "build", "legal"])
    assert result.exit_code == 0
    assert "nor a trivial variant of one" in " ".join(result.output.split())
    built = json.loads(runner.invoke(app, ["data", "build", "legal", "--json"]).stdout)
    assert set(built["record"]["splits"]) == {"train", "validation", "test"}
    assert (settings.data_path("legal") / "data.json").is_file()


def test_check_lists_wrong_rows_and_fails(runner: CliRunner, domain_folder: Path) -> None:
    good = domain_folder / "conversations.jsonl"
    assert runner.invoke(app, ["data", "check", str(good)]).exit_code == 0
    bad = domain_folder / "bad.jsonl"
    bad.write_text(good.read_text().splitlines()[0] + "\n" + "nonsense\n" * 30)
    result = runner.invoke(app, ["data", "check", str(bad)])
    assert isinstance(result.exception, CheckFailedError)
    assert "30 of 31 rows" in str(result.exception)
    assert result.output.count(": row: ") == 20
    assert "10 more" in result.output
    found = json.loads(runner.invoke(app, ["data", "check", str(bad), "--json"]).stdout)
    assert found["wrong"] == 30
