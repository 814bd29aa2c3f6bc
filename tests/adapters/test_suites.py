"""Suite cards: refused with file, line and field when wrong; what Locum writes is right; comments outlive changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from locum.adapters.domains import load_domain, new_domain
from locum.adapters.suites import Outline, SuiteCard, files_of, load_suite_card, load_suite_cards, suite_yaml
from locum.adapters.yamlfile import changed, line_of
from locum.errors import BadInputError, NotFoundError


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.yaml").write_text(text, encoding="utf-8")
    return folder


def test_what_a_card_leaves_out_has_a_default(tmp_path: Path) -> None:
    card = load_suite_card(write(tmp_path / "triage", "name: triage\n"))
    assert (card.samples, card.primary, card.version) == ("test", "exact_match", 1)
    assert (card.thresholds.min_samples, card.thresholds.margin, card.generation.temperature) == (100, 0.1, 0.0)
    assert files_of(card.samples) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("colour: red", "colour: there is no such field"),
        ("samples: /etc/a.jsonl", "samples: data files lie in the suite's folder, found '/etc/a.jsonl'"),
        ("samples: [../a.jsonl]", "samples: data files lie in the suite's folder, found '../a.jsonl'"),
        ("slices: [colour]", "slices[0]: Input should be 'topic', 'difficulty', 'language' or 'length'"),
        ("metrics: []", "metrics: List should have at least 1 item"),
        ("generation: {repeats: 3}", "generation: `repeats` need a temperature above 0"),
        ("generation: {max_tokens: 0}", "generation.max_tokens: Input should be greater than or equal to 1"),
        ("thresholds: {confidence: 0.4}", "thresholds.confidence: Input should be greater than 0.5"),
        ("limit: 0", "limit: Input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_field_is_refused_with_file_line_and_field(tmp_path: Path, line: str, problem: str) -> None:
    folder = write(tmp_path / "triage", f"name: triage\n{line}\n")
    with pytest.raises(BadInputError) as caught:
        load_suite_card(folder)
    assert str(caught.value).startswith(f"{folder}/suite.yaml:2: {problem}")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("primary: rouge_2", "primary metric 'rouge_2' is not among metrics"),
        ("thresholds: {hard: {notice: 1.0}}", "hard threshold 'notice' is not among metrics"),
        ("options: {numeric: {tolerance: 1}}", "options for 'numeric' is not among metrics"),
    ],
)
def test_a_metric_that_is_not_measured_decides_nothing(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(BadInputError, match=problem):
        load_suite_card(write(tmp_path / "triage", f"name: triage\n{line}\n"))


def test_a_card_is_called_as_its_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"name: expected 'triage', as the folder is called \(found 'other'\)"):
        load_suite_card(write(tmp_path / "triage", "name: other\n"))


def test_the_suites_of_a_domain_come_by_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write(tmp_path / "suites" / name, f"name: {name}\n")
    (tmp_path / "suites" / "notes").mkdir()
    cards, wrong = load_suite_cards(tmp_path)
    assert ([card.name for card in cards], wrong) == (["a", "b"], {})
    assert load_suite_cards(tmp_path / "nowhere") == ([], {})


def test_a_suite_whose_card_is_wrong_hides_neither_its_domain_nor_the_other_suites(tmp_path: Path) -> None:
    folder = new_domain(tmp_path, "cardiology").parent
    write(folder / "suites" / "triage", "name: triage\ncolour: red\n")
    domain = load_domain(tmp_path, "cardiology")
    assert domain.suite_names == ["held-out", "triage"]
    assert domain.suite("held-out").name == "held-out"
    with pytest.raises(BadInputError, match=r"triage/suite\.yaml:2: colour: there is no such field"):
        domain.suite("triage")
    with pytest.raises(NotFoundError, match=r"no suite 'nope' of cardiology \(there are: held-out, triage\)"):
        domain.suite("nope")


def test_a_new_domain_has_a_suite_that_names_it_in_its_comments(tmp_path: Path) -> None:
    path = new_domain(tmp_path, "cardiology")
    [card] = load_domain(tmp_path, "cardiology").suites
    assert (card.name, card.samples) == ("held-out", "test")
    text = (path.parent / "suites" / "held-out" / "suite.yaml").read_text()
    assert text.startswith("# A suite of cardiology:")
    assert "$" not in text


def test_an_outline_is_written_as_it_is() -> None:
    outline = Outline("What is it?", "rows.jsonl", ("choice", "brier"), "choice", ("topic",), 128)
    card = SuiteCard.model_validate(yaml.safe_load(suite_yaml("legal", "triage", outline)))
    assert (card.name, card.description, card.samples) == ("triage", "What is it?", ["rows.jsonl"])
    assert (card.metrics, card.primary, card.slices) == (["choice", "brier"], "choice", ["topic"])
    assert card.generation.max_tokens == 128


TEXT = """\
# Why.
name: old # called so
samples:
  - a.jsonl
  - b.jsonl

# How many.
limit: 5
generation:
  max_tokens: 8
  # Said twice.
"""


def test_fields_change_and_comments_stay() -> None:
    text = changed(TEXT, {"name": "new", "samples": "[c.jsonl]", "limit": None, "version": "2"})
    assert text == (
        "# Why.\nname: new # called so\nsamples: [c.jsonl]\n\n# How many.\ngeneration:\n  max_tokens: 8\n"
        "  # Said twice.\nversion: 2\n"
    )


@given(
    before=st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["1", "[1, 2]", "\n  - 1\n  - 2", "\n  x: 1"])),
    values=st.dictionaries(st.sampled_from("abcde"), st.sampled_from(["3", "[4]", None]), min_size=1),
)
def test_only_the_named_fields_change(before: dict[str, str], values: dict[str, str | None]) -> None:
    text = "z: 0\n" + "".join(f"{name}: {value}\n# {name}\n" for name, value in before.items())
    expected = {**yaml.safe_load(text), **{name: value and yaml.safe_load(value) for name, value in values.items()}}
    after = changed(text, values)
    assert yaml.safe_load(after) == {name: value for name, value in expected.items() if value is not None}
    assert [line for line in after.splitlines() if line.startswith("#")] == [f"# {name}" for name in before]


def test_the_line_of_a_field_is_found_and_of_a_missing_one_its_parents(tmp_path: Path) -> None:
    path = write(tmp_path / "triage", TEXT) / "suite.yaml"
    assert [line_of(path, *field) for field in (("name",), ("samples", 1), ("generation", "max_tokens"))] == [2, 5, 10]
    assert line_of(path, "generation", "seed") == 9
    assert line_of(path, "primary") == 2
