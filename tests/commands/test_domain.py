"""`locum domain`, as typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from locum.adapters.card import DomainCard
from locum.adapters.manifest import Manifest
from locum.adapters.registry import Registry
from locum.adapters.suites import SuiteCard
from locum.settings import Settings
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


@pytest.mark.parametrize(
    ("typed", "labels"),
    [
        ("billing,delivery,complaint", ["billing", "delivery", "complaint"]),
        (" bill , billing ", ["bill", "billing"]),
        ("账单，配送、投诉", ["账单", "配送", "投诉"]),
        ("yes,no,1,a: #b,'c", ["yes", "no", "1", "a: #b", "'c"]),
        ("@labels.txt", ["Straße, innerorts", "C++", "C"]),
    ],
    ids=["labels", "prefixes", "Chinese", "what YAML would read", "a file"],
)
def test_a_domain_of_labels_runs_from_its_rows_to_its_suite(
    locum: Callable[..., Ran], settings: Settings, workplace: Path, typed: str, labels: list[str]
) -> None:
    (workplace / "labels.txt").write_text("\ufeffStraße, innerorts\r\n\r\nC++\r\n C \r\n", encoding="utf-8")
    made = locum("domain", "new", "tickets", "--labels", typed)
    assert made.code == 0, made.err
    folder = settings.domains / "tickets"
    card = locum("domain", "show", "tickets", "--json").json
    prompt = card["card"]["system_prompt"].splitlines()
    assert prompt[1:] == [f"- {label}" for label in labels]
    [suite] = [SuiteCard.model_validate(suite) for suite in card["suites"]]
    assert (suite.generation.choices, suite.metrics) == (labels, ["exact_match"])
    assert suite.generation.max_tokens > max(len(label.encode()) for label in labels)
    assert locum("data", "check", str(folder / "conversations.jsonl")).code == 0

    rows = (_row(f"Text {n * 7919} about {n * 104729}", labels[n % len(labels)]) for n in range(1200))
    (folder / "conversations.jsonl").write_text("".join(rows), encoding="utf-8")
    text = (folder / "card.yaml").read_text(encoding="utf-8")
    (folder / "card.yaml").write_text(text + "duplicates: {near: 'off'}\n", encoding="utf-8")
    built = locum("data", "build", "tickets")
    assert built.code == 0, built.err
    checked = locum("suite", "check", "tickets", "--json")
    assert [each for each in checked.json[0]["findings"] if each["check"] in {"choices", "metric", "answer"}] == []
    suite_file = folder / "suites" / "held-out" / "suite.yaml"
    suite_file.write_text(suite_file.read_text(encoding="utf-8").replace("min_samples: 100", "min_samples: 50"))
    assert locum("suite", "check", "tickets").code == 0


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("billing", "expected two or more, found billing"),
        ("", "label 1 is blank"),
        ("a,,b", "label 2 is blank"),
        ("a,b,a", "'a' is given twice"),
        ("spam,Spam!", "'Spam!' counts as the same answer as 'spam'"),
        ("…,b", "expected a letter or a digit"),
        ("a\x07,b", "characters that can be seen"),
        ("@nowhere.txt", "there is no file nowhere.txt"),
        ("@empty.txt", "empty.txt is empty: expected one label a line"),
    ],
)
def test_labels_that_no_suite_could_tell_apart_are_refused_and_nothing_is_written(
    locum: Callable[..., Ran], settings: Settings, workplace: Path, typed: str, complaint: str
) -> None:
    (workplace / "empty.txt").write_text("\n")
    ran = locum("domain", "new", "tickets", "--labels", typed)
    assert ran.code == 2
    assert complaint in ran.err
    assert not (settings.domains / "tickets").exists()


def _row(question: str, answer: str) -> str:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"conversations": turns}, ensure_ascii=False) + "\n"


def test_a_table_of_texts_and_labels_is_read_as_the_card_of_a_domain_of_labels_says(
    locum: Callable[..., Ran], settings: Settings
) -> None:
    assert locum("domain", "new", "tickets", "--labels", "bill,delivery").code == 0
    folder = settings.domains / "tickets"
    rows = "".join(f"Text {n * 7919} on {n * 104729},{('bill', 'delivery')[n % 2]}\n" for n in range(400))
    (folder / "tickets.csv").write_text(f"text,label\n{rows}")
    card = (folder / "card.yaml").read_text(encoding="utf-8")
    card = card.replace("files: [conversations.jsonl]\n", "files: [tickets.csv]\n", 1)
    told = "  # A table with the columns text and label: "
    assert told in card
    (folder / "card.yaml").write_text(card.replace(told, "  ") + "duplicates: {near: 'off'}\n", encoding="utf-8")
    built = locum("data", "build", "tickets", "--json")
    assert built.code == 0, built.err
    assert '"content": "delivery"' in (settings.data_path("tickets") / "train.jsonl").read_text().replace('":"', '": "')
