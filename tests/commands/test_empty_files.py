"""An empty file is called empty, whatever its kind, and what was expected in it is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from locum.errors import BadInputError
from locum.evaluate.report import read_result
from locum.serve.body import Body
from locum.settings import Settings
from locum.train.spread import _read_config
from tests.commands.conftest import Ran

BLANKS = ["", "\n \n", "\ufeff"]


@pytest.fixture(params=BLANKS, ids=["nothing", "blanks", "a byte order mark"])
def blank(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_card(locum: Callable[..., Ran], domain_folder: Path, blank: str) -> None:
    (domain_folder / "card.yaml").write_text(blank, encoding="utf-8")
    ran = locum("domain", "show", "legal")
    assert ran.code == 2
    assert "card.yaml is empty: expected a domain card" in ran.err


def test_a_suite(locum: Callable[..., Ran], domain_folder: Path, blank: str) -> None:
    (domain_folder / "suites" / "held-out" / "suite.yaml").write_text(blank + "# a comment\n", encoding="utf-8")
    assert "suite.yaml is empty: expected a suite card" in locum("suite", "show", "legal").err
    assert "suite.yaml: is empty: expected a suite card" in locum("suite", "check", "legal").out


def test_the_samples_of_a_suite(locum: Callable[..., Ran], domain_folder: Path, blank: str) -> None:
    samples = domain_folder / "suites" / "held-out" / "samples.jsonl"
    samples.write_text(blank, encoding="utf-8")
    assert f"holds no sample: {samples} is empty" in locum("suite", "show", "legal").err
    checked = locum("suite", "check", "legal")
    assert checked.code == 1
    assert f"{samples}: is empty" in checked.out


def test_one_of_several_files_of_a_suite(locum: Callable[..., Ran], domain_folder: Path) -> None:
    folder = domain_folder / "suites" / "held-out"
    card = (folder / "suite.yaml").read_text()
    (folder / "suite.yaml").write_text(card.replace("samples: samples.jsonl", "samples: [samples.jsonl, more.jsonl]"))
    (folder / "more.jsonl").write_text("")
    assert f"{folder / 'more.jsonl'}: is empty" in locum("suite", "check", "legal").out


def test_rows_for_a_new_suite(locum: Callable[..., Ran], domain_folder: Path, workplace: Path, blank: str) -> None:
    (workplace / "rows.jsonl").write_text(blank, encoding="utf-8")
    ran = locum("suite", "new", "legal", "more", "--from", "rows.jsonl")
    assert ran.code == 2
    assert "rows.jsonl is empty: expected conversations or sample rows" in ran.err


def test_a_result(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(" \n")
    with pytest.raises(BadInputError, match=r"result\.json is empty: expected the result of an evaluation"):
        read_result(tmp_path / "result.json")


@pytest.mark.parametrize("header", ["", "id,decision,question,answer\n"], ids=["nothing", "a header alone"])
def test_a_review_sheet(locum: Callable[..., Ran], domain_folder: Path, workplace: Path, header: str) -> None:
    (workplace / "sheet.csv").write_text(header)
    ran = locum("data", "review", "legal", "--import", "sheet.csv")
    assert ran.code == 2
    assert "sheet.csv is empty" in ran.err


def test_a_configuration_of_accelerate(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("\n")
    with pytest.raises(BadInputError, match=r"empty\.yaml: it is empty"):
        _read_config(tmp_path / "empty.yaml")


def test_the_body_of_a_request() -> None:
    with pytest.raises(BadInputError, match="the body is empty: expected a JSON object"):
        Body(b"")


def test_settings_may_be_empty_and_begin_with_a_mark_and_must_be_utf_8(
    locum: Callable[..., Ran], workplace: Path, settings: Settings, blank: str
) -> None:
    (workplace / "locum.toml").write_text(blank, encoding="utf-8")
    assert locum("config", "--json").json["port"]["from"] == "default"
    (workplace / "locum.toml").write_text(blank + "port = 9001\n", encoding="utf-8")
    assert locum("config", "--json").json["port"] == {"value": "9001", "from": "locum.toml"}
    (workplace / "locum.toml").write_bytes("user = 'Jörg'\n".encode("latin-1"))
    ran = locum("config")
    assert ran.code == 2
    assert "locum.toml: not UTF-8" in ran.err
