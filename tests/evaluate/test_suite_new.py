"""New suites: what is written can be read, checked and asked, whatever it begins with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from locum.errors import BadInputError, ConflictError, NotFoundError
from locum.evaluate.metrics.registry import load_metric
from locum.evaluate.samples import SampleRow, read_samples
from locum.evaluate.suite import load_suite
from locum.evaluate.suite_check import check_suites
from locum.evaluate.suite_examples import EXAMPLES, OUTLINES
from locum.evaluate.suite_new import KINDS, new_suite
from locum.settings import Settings
from tests.evaluate.suites import Workshop, ask, talk, workshop_in, write_lines


@pytest.fixture
def workshop(settings: Settings) -> Workshop:
    return workshop_in(settings)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_suite_of_each_kind_can_be_read_and_lacks_nothing_but_samples(workshop: Workshop, kind: str) -> None:
    path = new_suite(workshop.domain, "begun", kind=kind)
    domain = workshop.domain
    suite = load_suite(domain, next(card for card in domain.suites if card.name == "begun"), workshop.data)
    assert {sample.kind for sample in suite.samples} == {kind}
    assert [json.loads(line) for line in (path.parent / "samples.jsonl").read_text().splitlines()] == EXAMPLES[
        suite.samples[0].kind
    ]
    [report] = check_suites(workshop.settings, "legal", "begun")
    [finding] = report.wrong
    assert finding.advice == "add samples, or lower it: as it stands no version can pass"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_an_example_and_a_primary_metric_of_which_more_is_better(kind: str) -> None:
    [wanted] = [each for each in KINDS if each == kind]
    assert {SampleRow.model_validate(row).kind for row in EXAMPLES[wanted]} == {kind}
    assert load_metric(OUTLINES[wanted].primary, {}).higher_is_better


def test_without_a_kind_a_suite_begins_with_questions(workshop: Workshop) -> None:
    path = new_suite(workshop.domain, "begun")
    assert [sample.kind for sample in read_samples(path.parent / "samples.jsonl")] == ["question", "question"]


def test_a_suite_of_the_test_split_has_no_file_of_its_own(workshop: Workshop) -> None:
    path = new_suite(workshop.domain, "begun", source="test")
    assert [file.name for file in path.parent.iterdir()] == ["suite.yaml"]
    assert next(card for card in workshop.domain.suites if card.name == "begun").samples == "test"


def test_rows_of_a_file_are_copied_with_ids_and_scored_by_what_fits_their_kinds(
    workshop: Workshop, tmp_path: Path
) -> None:
    choice = ask("which?", None, kind="choice", choices=["a", "b"], correct=0, id="which", topic="letters")
    rows = [talk("one", "1", group="g", topic="numbers"), ask("two", "2", topic="numbers"), choice]
    source = write_lines(tmp_path / "old.jsonl", rows)
    path = new_suite(workshop.domain, "begun", source=str(source))
    written = [json.loads(line) for line in (path.parent / "samples.jsonl").read_text().splitlines()]
    assert all(row["id"] for row in written)
    assert list(read_samples(path.parent / "samples.jsonl")) == list(read_samples(source))
    card = next(card for card in workshop.domain.suites if card.name == "begun")
    assert card.metrics == ["numeric", "exact_match", "choice", "brier"]
    assert (card.primary, card.slices, card.description) == ("numeric", ["topic"], "Rows of old.jsonl.")
    assert card.samples == ["samples.jsonl"]


def test_a_copied_row_leaves_the_domains_own_prompt_to_its_card(workshop: Workshop, tmp_path: Path) -> None:
    prompts = (workshop.domain.card.system_prompt, "Another one.")
    rows = [
        {"conversations": [{"role": "system", "content": prompt}, *talk(f"after {prompt}")["conversations"]]}
        for prompt in prompts
    ]
    path = new_suite(workshop.domain, "begun", source=str(write_lines(tmp_path / "old.jsonl", rows)))
    kept = [sample.messages[0].role for sample in read_samples(path.parent / "samples.jsonl")]
    assert kept == ["user", "system"]
    suite = load_suite(workshop.domain, next(c for c in workshop.domain.suites if c.name == "begun"), workshop.data)
    assert {sample.messages[0].content for sample in suite.samples} == set(prompts)


def test_what_cannot_be_written_says_why_and_leaves_nothing(workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="held-out is there already"):
        new_suite(workshop.domain, "held-out")
    with pytest.raises(BadInputError, match=r"'A b' is not a suite's name"):
        new_suite(workshop.domain, "A b")
    with pytest.raises(BadInputError, match="--kind riddle: expected one of question, conversation, choice"):
        new_suite(workshop.domain, "begun", kind="riddle")
    with pytest.raises(BadInputError, match="give one"):
        new_suite(workshop.domain, "begun", kind="choice", source="test")
    with pytest.raises(NotFoundError, match="there is no file"):
        new_suite(workshop.domain, "begun", source=str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(BadInputError, match="is empty: expected conversations or sample rows"):
        new_suite(workshop.domain, "begun", source=str(write_lines(tmp_path / "empty.jsonl", [])))
    with pytest.raises(BadInputError, match=r"wrong.jsonl:1: messages: Field required"):
        new_suite(workshop.domain, "begun", source=str(write_lines(tmp_path / "wrong.jsonl", [{}])))
    assert [path.name for path in workshop.folder.parent.iterdir()] == ["held-out"]
    assert not list(workshop.domain.folder.glob(".suite-*"))
