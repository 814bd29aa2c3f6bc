"""Mistakes are met halfway: whatever was mistyped, what was probably meant is named, and before all that there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from locum.adapters.manifest import Manifest
from locum.adapters.recipe import TrainingRecipe
from locum.errors import BadInputError
from locum.evaluate.metrics.registry import load_metric
from locum.settings import Settings
from locum.train.recipe import with_overrides
from tests.commands.conftest import Ran


@pytest.mark.parametrize("command", ["domain show", "suite show", "suite check", "eval", "data build", "train"])
def test_a_mistyped_domain(locum: Callable[..., Ran], domain_folder: Path, base_record: object, command: str) -> None:
    ran = locum(*command.split(), "lgeal")
    assert ran.code == 2
    assert ": did you mean legal? (there are: legal)" in ran.err


@pytest.mark.parametrize(
    "written", ["legal@11", "lgeal@1", "legal-1", "legal_1", "legal:1", "legal@v1", "legal@01", "Legal@1", "legal #1"]
)
def test_a_mistyped_version(locum: Callable[..., Ran], register: Callable[[], Manifest], written: str) -> None:
    register()
    ran = locum("adapters", "show", written)
    assert ran.code == 2
    assert "did you mean legal@1?" in ran.err


def test_a_mistyped_alias(locum: Callable[..., Ran], register: Callable[[], Manifest]) -> None:
    register()
    assert "did you mean legal@candidate?" in locum("adapters", "show", "legal@candidat").err
    assert "did you mean" not in locum("adapters", "show", "legal@latest").err


def test_a_mistyped_suite(locum: Callable[..., Ran], domain_folder: Path) -> None:
    for command in ("show", "check"):
        ran = locum("suite", command, "legal", "heldout")
        assert ran.code == 2
        assert "there is no suite 'heldout' of legal: did you mean held-out? (there are: held-out)" in ran.err


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("notices:", "notises:", "notises: there is no such field: did you mean notices? (there are: name, desc"),
        ("licence: ours", "license: ours", "source.license: there is no such field: did you mean licence?"),
        ("example:", "recipe: {rnak: 4}\nexample:", "recipe.rnak: there is no such field: did you mean rank?"),
        ("example:", "recipe: {schedule: cosin}\nexample:", "'constant': did you mean cosine? (found 'cosin')"),
        ("example:", "duplicates: {treshold: 1}\nexample:", "there is no such field: did you mean threshold?"),
        ("example:", "compliance: {referal: true}\nexample:", "there is no such field: did you mean referral?"),
    ],
)
def test_a_mistyped_field_of_a_card(
    locum: Callable[..., Ran], domain_folder: Path, old: str, new: str, complaint: str
) -> None:
    card = domain_folder / "card.yaml"
    card.write_text(card.read_text().replace(old, new))
    ran = locum("domain", "show", "legal")
    assert ran.code == 2
    assert complaint in ran.err


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("metrcs: [bleu]", "metrcs: there is no such field: did you mean metrics?"),
        ("judge: {endpont: x}", "judge.endpont: there is no such field: did you mean endpoint?"),
        ("slices: [topics]", "did you mean topic?"),
        ("metrics: [exact_mach]\nprimary: exact_mach", "there is no metric 'exact_mach': did you mean exact_match?"),
        (
            "metrics: [numeric]\nprimary: numeric\noptions: {numeric: {relativ: 0.1}}",
            "the metric 'numeric' has no option 'relativ': did you mean relative? (it has: ",
        ),
    ],
)
def test_a_mistyped_field_of_a_suite(locum: Callable[..., Ran], domain_folder: Path, line: str, complaint: str) -> None:
    suite = domain_folder / "suites" / "held-out" / "suite.yaml"
    suite.write_text(suite.read_text() + line + "\n")
    ran = locum("suite", "check", "legal")
    assert ran.code in {1, 2}
    assert complaint in ran.out + ran.err


def test_a_mistyped_field_of_a_sample(locum: Callable[..., Ran], domain_folder: Path) -> None:
    samples = domain_folder / "suites" / "held-out" / "samples.jsonl"
    row = {"messages": [{"role": "user", "content": "Which court?"}], "refrence": "The highest."}
    samples.write_text(json.dumps(row) + "\n")
    assert "refrence: there is no such field: did you mean reference?" in locum("suite", "check", "legal").out


def test_a_mistyped_key_of_a_recipe() -> None:
    with pytest.raises(BadInputError, match=r"no recipe key 'rnak': did you mean rank\? \(there are: method, start,"):
        with_overrides(TrainingRecipe(), ["rnak=4"])


def test_a_mistyped_setting_in_the_file(locum: Callable[..., Ran], workplace: Path) -> None:
    (workplace / "locum.toml").write_text("prot = 9000\n")
    ran = locum("config")
    assert ran.code == 2
    assert "locum.toml: prot: there is no such setting: did you mean port?" in ran.err


def test_a_mistyped_variable_is_told_and_somebody_elses_is_not(
    locum: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCUM_REGISTY", "postgresql://db/locum")
    monkeypatch.setenv("LOCUM_SERVICE_HOST", "10.0.0.1")
    ran = locum("config", "--json")
    assert ran.code == 0
    assert ran.err == "LOCUM_REGISTY is passed over: there is no such setting; did you mean LOCUM_REGISTRY?\n"


def test_none_of_locums_own_variables_is_taken_for_a_mistyped_one(
    locum: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DEBUG", "STANDBY", "LISTENER", "LIFELINE", "TEST_POSTGRESQL"):
        monkeypatch.setenv(f"LOCUM_{name}", "1")
    assert locum("config", "--json").err == ""


def test_a_mistyped_column(locum: Callable[..., Ran], workplace: Path) -> None:
    (workplace / "rows.csv").write_text("Frage,Antwort\na,b\n")
    ran = locum("data", "check", "rows.csv", "--column", "questoin=Frage")
    assert ran.code == 2
    assert "--column questoin: did you mean question? (expected one of question, answer," in ran.err


def test_a_mistyped_kind_and_form(locum: Callable[..., Ran], domain_folder: Path) -> None:
    assert "--kind chioce: did you mean choice?" in locum("suite", "new", "legal", "x", "--kind", "chioce").err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["adpters", "list"], "adapters"),
        (["adapters", "lst"], "list"),
        (["eval", "shwo", "legal@1"], "show"),
        (["eval", "medical", "--limt", "3"], "--limit"),
        (["config", "--jsn"], "--json"),
    ],
)
def test_a_mistyped_command_or_option(
    locum: Callable[..., Ran], domain_folder: Path, typed: list[str], meant: str
) -> None:
    ran = locum(*typed)
    assert ran.code == 2
    assert meant in ran.err


def test_a_domain_that_is_spelt_almost_like_a_command_is_still_a_domain(
    locum: Callable[..., Ran], settings: Settings, domain_folder: Path
) -> None:
    domain_folder.rename(settings.domains / "shows")
    card = settings.domains / "shows" / "card.yaml"
    card.write_text(card.read_text().replace("name: legal", "name: shows"))
    assert "neither a candidate nor a version in production" in locum("eval", "shows").err


def test_nothing_is_proposed_where_nothing_is_near() -> None:
    with pytest.raises(BadInputError) as caught:
        load_metric("sharpness")
    assert str(caught.value).startswith("there is no metric 'sharpness' (there are: exact_match, ")
