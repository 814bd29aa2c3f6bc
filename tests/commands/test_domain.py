"""`locum domain`, as typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from locum.adapters.card import DomainCard
from locum.adapters.manifest import Manifest
from locum.adapters.registry import Registry
from locum.adapters.suites import SuiteCard
from tests.commands.conftest import Ran


def test_a_new_domain_is_listed_and_its_card_shown(locum: Callable[..., Ran]) -> None:
    made = locum("domain", "new", "cardiology")
    assert made.code == 0
    assert "cardiology/card.yaml and two example rows beside it" in made.out
    assert "then: locum data build cardiology" in made.out
    assert "cardiology/suites/held-out/suite.yaml; locum suite check cardiology checks it." in made.out
    [row] = locum("domain", "list", "--json").json
    assert (row["name"], row["production"], row["candidate"]) == ("cardiology", None, None)
    assert row["suites"] == ["held-out"]
    shown = locum("domain", "show", "cardiology", "--json").json
    assert DomainCard.model_validate(shown["card"]).name == "cardiology"
    assert [SuiteCard.model_validate(suite).name for suite in shown["suites"]] == ["held-out"]


def test_a_card_is_shown_as_yaml_with_its_defaults_and_the_suites_in_a_comment(
    locum: Callable[..., Ran], domain_folder: Path
) -> None:
    ran = locum("domain", "show", "legal")
    assert ran.code == 0
    assert yaml.safe_load(ran.out)["recipe"]["rank"] == 16
    assert DomainCard.model_validate(yaml.safe_load(ran.out)).name == "legal"
    assert "# Suites (locum suite show legal):" in ran.out
    assert "# - held-out, version 1" in ran.out


def test_the_list_says_what_is_in_production(
    locum: Callable[..., Ran], domain_folder: Path, registry: Registry, register: Callable[[], Manifest]
) -> None:
    register()
    registry.release("legal@1", by="tester", reason="first", force=True)
    register()
    [row] = locum("domain", "list", "--json").json
    assert (row["production"], row["candidate"]) == ("legal@1", "legal@2")
    shown = locum("domain", "list").out
    assert "legal@1" in shown
    assert "A domain of the tests." in shown


def test_an_empty_list_says_how_to_begin(locum: Callable[..., Ran]) -> None:
    ran = locum("domain", "list")
    assert ran.code == 0
    assert "Start one: locum domain new NAME" in ran.out
    assert locum("domain", "list", "--json").json == []


def test_a_wrong_card_exits_2_with_file_line_and_field(locum: Callable[..., Ran], domain_folder: Path) -> None:
    card = domain_folder / "card.yaml"
    card.write_text(card.read_text() + "colour: red\n")
    for arguments in (("show", "legal"), ("list",)):
        ran = locum("domain", *arguments)
        assert ran.code == 2
        assert f"{card}:8: colour: there is no such field" in ran.err


def test_square_brackets_in_a_card_reach_the_reader(locum: Callable[..., Ran], domain_folder: Path) -> None:
    card = domain_folder / "card.yaml"
    card.write_text(card.read_text().replace("A domain of the tests.", '"Answers [a-z] and [/bold]."'))
    ran = locum("domain", "list")
    assert ran.code == 0
    assert "Answers [a-z] and [/bold]." in ran.out


def test_a_wrong_card_hides_no_other_domain(locum: Callable[..., Ran], domain_folder: Path) -> None:
    broken = domain_folder.parent / "broken"
    broken.mkdir()
    (broken / "card.yaml").write_text("name: broken\n")
    ran = locum("domain", "list", "--json")
    assert ran.code == 2
    assert [row["name"] for row in ran.json] == ["broken", domain_folder.name]
    assert "broken/card.yaml" in ran.err


def test_a_folder_that_is_there_already_exits_2(locum: Callable[..., Ran], domain_folder: Path) -> None:
    ran = locum("domain", "new", "legal")
    assert ran.code == 2
    assert "legal is there already" in ran.err
