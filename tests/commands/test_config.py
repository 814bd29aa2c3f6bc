"""`locum config`: which value is in force, and where it came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from locum.settings import Settings
from tests.commands.conftest import Ran


def test_a_variable_wins_over_the_file_and_the_file_over_the_default(
    locum: Callable[..., Ran], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workplace / "locum.toml").write_text('port = 9001\nhost = "0.0.0.0"\n')
    monkeypatch.setenv("LOCUM_PORT", "9002")
    found = locum("config", "--json").json
    assert found["port"] == {"value": "9002", "from": "LOCUM_PORT"}
    assert found["host"] == {"value": "0.0.0.0", "from": "locum.toml"}
    assert found["registry"] == {"value": "", "from": "default"}
    assert set(found) == set(Settings.model_fields)


def test_people_see_every_setting_with_what_it_is(locum: Callable[..., Ran]) -> None:
    ran = locum("config")
    assert ran.code == 0
    assert "LOCUM_HOME" in ran.out
    assert "port that `locum serve` listens on" in ran.out


def test_secrets_are_not_shown(locum: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCUM_ADMIN_TOKEN", "open-sesame")
    monkeypatch.setenv("LOCUM_API_KEY", "open-sesame")
    monkeypatch.setenv("LOCUM_REGISTRY", "postgresql://me:open-sesame@db/locum")
    for ran in (locum("config"), locum("config", "--json")):
        assert ran.code == 0
        assert "open-sesame" not in ran.out + ran.err


@pytest.mark.parametrize("port", ["many", "0", "70000", ""])
def test_a_wrong_variable_exits_2_and_is_named_with_what_was_found(
    locum: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    monkeypatch.setenv("LOCUM_PORT", port)
    ran = locum("config")
    assert ran.code == 2
    assert ran.err.startswith("Error: settings: LOCUM_PORT: ")
    assert f"(found {port!r})" in ran.err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("port = 'many'", "settings: locum.toml: port: Input should be a valid integer"),
        ("prot = 9000", "settings: locum.toml: prot: there is no such setting"),
        ("port = ", "locum.toml: not valid TOML"),
    ],
)
def test_a_wrong_file_exits_2_and_says_what_is_wrong(
    locum: Callable[..., Ran], workplace: Path, text: str, complaint: str
) -> None:
    (workplace / "locum.toml").write_text(text)
    ran = locum("config")
    assert ran.code == 2
    assert complaint in ran.err


def test_an_empty_variable_of_a_text_is_the_empty_text(
    locum: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCUM_ARTIFACTS", "")
    assert locum("config", "--json").json["artifacts"] == {"value": "", "from": "LOCUM_ARTIFACTS"}
