"""`locum suite`, as typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from locum.adapters.manifest import Manifest
from tests.commands.conftest import Ran

Locum = Callable[..., Ran]


def test_a_suite_is_written_checked_and_shown(locum: Locum, domain_folder: Path) -> None:
    made = locum("suite", "new", "legal", "triage", "--kind", "choice")
    assert made.code == 0
    assert "suites/triage/suite.yaml and " in made.out
    assert "Next: locum suite check legal triage" in made.out
    assert "suites/triage is there already" in locum("suite", "new", "legal", "triage").err

    checked = locum("suite", "check", "legal", "triage")
    assert checked.code == 1
    card = domain_folder / "suites" / "triage" / "suite.yaml"
    assert "✗ legal/triage: 1 sample, not held against any training." in checked.out
    assert f"{card}:23: min_samples asks 100 samples, and the suite has 1\n  → add samples, or lower it" in checked.out
    assert "1 thing is wrong in legal/triage" in checked.err

    shown = locum("suite", "show", "legal", "triage")
    assert shown.code == 0
    assert "1 sample (1 choice) in 1 group." in shown.out
    assert "largest-organ (choice): Which is the largest organ of the human body?  →  The skin" in shown.out


def test_the_suites_of_elsewhere_that_a_card_names_are_shown_by_either_name_and_checked_where_they_are_at_home(
    locum: Locum, domain_folder: Path
) -> None:
    card = domain_folder / "card.yaml"
    card.write_text(card.read_text() + "elsewhere: {suites: [general], limit: 50}\n")
    assert [suite["name"] for suite in locum("suite", "show", "legal", "--json").json] == [
        "held-out",
        "elsewhere-general",
    ]
    for name in ("general", "elsewhere-general"):
        [shown] = locum("suite", "show", "legal", name, "--json").json
        assert (shown["name"], shown["samples"]) == ("elsewhere-general", 50)
        [found] = locum("suite", "power", "legal", name, "--json").json
        assert (found["suite"], found["reaches"][0]["asked_margin"]) == ("elsewhere-general", 0.15)
        checked = locum("suite", "check", "legal", name)
        assert checked.code == 2
        assert "is not a suite of legal, whose card names it under `elsewhere`" in checked.err
        assert "`locum suite show legal general` shows it" in checked.err
    assert [report["suite"] for report in locum("suite", "check", "legal", "--json").json] == ["held-out"]


def test_the_check_tells_how_many_samples_a_limit_leaves(locum: Locum, domain_folder: Path) -> None:
    card = domain_folder / "suites" / "held-out" / "suite.yaml"
    card.write_text(card.read_text() + "limit: 5\n")
    [report] = locum("suite", "check", "legal", "--json").json
    assert (report["samples"], report["asked"]) == (8, 5)
    assert "legal/held-out: 8 samples, 5 of them asked, " in locum("suite", "check", "legal").out


def test_a_good_suite_passes_the_check(locum: Locum, domain_folder: Path) -> None:
    checked = locum("suite", "check", "legal")
    assert checked.code == 0
    assert "✓ legal/held-out: 8 samples" in checked.out
    [report] = locum("suite", "check", "--json").json
    assert (report["domain"], report["suite"], report["samples"]) == ("legal", "held-out", 8)
    assert {finding["severity"] for finding in report["findings"]} == {"note"}


def test_of_many_findings_of_one_check_the_first_are_told(locum: Locum, domain_folder: Path) -> None:
    path = domain_folder / "suites" / "held-out" / "samples.jsonl"
    path.write_text(path.read_text() + "{}\n" * 30)
    checked = locum("suite", "check", "legal")
    assert checked.out.count("messages: Field required") == 10
    assert "… and 20 more of these (--json lists all)" in checked.out
    assert checked.out.count("→ docs/suites.md shows a row of each kind") == 1
    assert "30 things are wrong in legal/held-out" in checked.err
    [report] = locum("suite", "check", "legal", "--json").json
    assert sum(finding["severity"] == "wrong" for finding in report["findings"]) == 30


def test_the_suites_of_a_domain_stand_in_a_table(locum: Locum, domain_folder: Path) -> None:
    [shown] = locum("suite", "show", "legal", "--json").json
    assert (shown["name"], shown["samples"], shown["groups"], shown["kinds"]) == ("held-out", 8, 8, {"question": 8})
    out = locum("suite", "show", "legal").out
    assert shown["digest"][:12] in out
    assert "4 samples, score 0, gain > 0, margin 0.1" in out


def test_one_sample_is_shown_in_full(locum: Locum, domain_folder: Path) -> None:
    name = locum("suite", "show", "legal", "held-out").out.rpartition("--sample ")[2].strip()
    shown = yaml.safe_load(locum("suite", "show", "legal", "--sample", name).out)
    assert shown == locum("suite", "show", "legal", "--sample", name, "--json").json
    assert shown["messages"][0]["content"] == "You answer questions of legal."
    assert (shown["suite"], shown["id"], shown["length"]) == ("held-out", name, "short")
    missing = locum("suite", "show", "legal", "--sample", "nope")
    assert missing.code == 2
    assert "there is no sample 'nope' in legal/held-out" in missing.err


def test_a_suite_is_divided_in_two(locum: Locum, domain_folder: Path) -> None:
    ran = locum("suite", "split", "legal", "held-out", "--into", "dev,holdout", "--share", "0.25")
    assert ran.code == 0
    assert "dev has 2 samples, and its min_samples asks 4: lower it in " in ran.out
    assert "held-out is as it was" in ran.out
    names = {row["suite"]: row["samples"] for row in locum("suite", "check", "legal", "--json").json}
    assert names == {"dev": 2, "held-out": 8, "holdout": 6}
    parts = locum("suite", "split", "legal", "held-out", "--into", "a,b", "--json").json
    assert [(part["suite"], part["samples"], part["groups"]) for part in parts] == [("a", 4, 4), ("b", 4, 4)]


def test_parts_of_few_topics_are_told_by_topic_and_of_many_by_their_size_alone(
    locum: Locum, domain_folder: Path
) -> None:
    path = domain_folder / "suites" / "held-out" / "samples.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for name, topics in (("few", 2), ("many", 8)):
        told = [row | {"topic": f"topic-{number % topics}"} for number, row in enumerate(rows)]
        path.write_text("".join(json.dumps(row) + "\n" for row in told))
        ran = locum("suite", "split", "legal", "held-out", "--into", f"{name}-a,{name}-b")
        assert ran.code == 0, ran.err
        assert ("topic-1" in ran.out) == (name == "few")
        assert f"{name}-a" in ran.out


def test_what_cannot_be_divided_exits_2(locum: Locum, domain_folder: Path) -> None:
    for arguments, problem in (
        (("held-out", "--into", "dev"), "--into dev: expected two names, such as dev,holdout"),
        (("nope", "--into", "a,b"), "there is no suite 'nope' of legal (there are: held-out)"),
        (("held-out", "--into", "a,b", "--share", "2"), "--share 2: expected a number between 0 and 1"),
    ):
        ran = locum("suite", "split", "legal", *arguments)
        assert ran.code == 2
        assert problem in ran.err


def test_what_a_suite_can_show_is_told_with_a_picture(locum: Locum, domain_folder: Path) -> None:
    ran = locum("suite", "power", "legal", "--difference", "0.1")
    assert ran.code == 0
    assert "legal/held-out, by exact_match, at 95 % confidence" in ran.out
    assert "at most 0.482 worse." in ran.out
    assert "a margin of 0.1: shown 13% of the time; 186 samples are enough to show it 80% of the time." in ran.out
    assert "Margin: assumed: two versions differ on 30 % of the samples." in ran.out
    assert "← this suite" in ran.out
    assert "A gain of 0.1 over the base model takes 234 samples; a margin of 0.1 to production takes 186" in ran.out
    [found] = locum("suite", "power", "legal", "held-out", "--power", "0.9", "--json").json
    assert (found["power"], found["reaches"][0]["needed"]) == (0.9, 257)


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("samples.jsonl", "{}\n", "triage/samples.jsonl:1: messages: Field required"),
        ("suite.yaml", "name: triage\ncolour: red\n", "triage/suite.yaml:2: colour: there is no such field"),
    ],
)
def test_a_suite_that_is_wrong_hides_no_other_and_is_named(
    locum: Locum, domain_folder: Path, file: str, text: str, problem: str
) -> None:
    locum("suite", "new", "legal", "triage")
    (domain_folder / "suites" / "triage" / file).write_text(text)
    for command in ("show", "power"):
        assert locum("suite", command, "legal", "held-out").code == 0
        wrong = locum("suite", command, "legal", "triage")
        assert (wrong.code, problem in wrong.err) == (2, True)
        every = locum("suite", command, "legal", "--json")
        assert every.code == 2
        assert [each.get("name", each.get("suite")) for each in every.json] == ["held-out"]
        assert problem in every.err
    assert "held-out" in locum("suite", "show", "legal").out
    assert locum("suite", "split", "legal", "held-out", "--into", "dev,holdout").code == 0


def test_a_domain_of_which_a_suite_is_wrong_is_shown_and_the_suite_named(locum: Locum, domain_folder: Path) -> None:
    locum("suite", "new", "legal", "triage")
    (domain_folder / "suites" / "triage" / "suite.yaml").write_text("name: triage\ncolour: red\n")
    problem = "triage/suite.yaml:2: colour: there is no such field"
    listed = locum("domain", "list", "--json")
    assert (listed.code, problem in listed.err) == (2, True)
    [row] = listed.json
    assert (row["description"], row["suites"]) == ("A domain of the tests.", ["held-out", "triage"])
    shown = locum("domain", "show", "legal")
    assert (shown.code, problem in shown.err) == (2, True)
    assert "# - triage: its card is wrong" in shown.out
    assert locum("data", "build", "legal").code == 0  # which needs no suite


def test_a_release_needs_all_suites_and_names_the_one_that_is_wrong(
    locum: Locum, domain_folder: Path, register: Callable[[], Manifest]
) -> None:
    register()
    locum("suite", "new", "legal", "triage")
    (domain_folder / "suites" / "triage" / "suite.yaml").write_text("name: triage\ncolour: red\n")
    ran = locum("release", "legal@1")
    assert ran.code == 2
    assert "triage/suite.yaml:2: colour: there is no such field" in ran.err


def test_rows_of_a_file_become_a_suite(locum: Locum, domain_folder: Path) -> None:
    source = domain_folder / "conversations.jsonl"
    assert locum("suite", "new", "legal", "copied", "--from", str(source)).code == 0
    rows = (domain_folder / "suites" / "copied" / "samples.jsonl").read_text().splitlines()
    assert len(rows) == 40
    assert all(json.loads(row)["id"] for row in rows)
    asked = locum("suite", "new", "legal", "asked", "--from", "test")
    assert asked.out.strip().endswith("asked/suite.yaml. Next: locum suite check legal asked")
