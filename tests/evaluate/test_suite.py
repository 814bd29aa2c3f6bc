"""Suites: which samples, in which order, and what the digest depends on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from locum.adapters.compliance import ComplianceCard, NoticesCard
from locum.adapters.domains import Domain
from locum.adapters.suites import SuiteCard
from locum.errors import BadInputError, NotFoundError
from locum.evaluate import suite_digest
from locum.evaluate.judge import prompts
from locum.evaluate.judge.rubric import load_rubric
from locum.evaluate.suite import Suite, choose_suites, load_suites


def load(domain: Domain, folder: Path, **suite: Any) -> Suite:
    [loaded] = load_suites(replace(domain, suites=(SuiteCard(name="diagnoses", **suite),)), folder)
    return loaded


def write(path: Path, *questions: str, **row: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"conversations": [{"role": "user", "content": text}, {"role": "assistant", "content": "Yes"}], **row}
        for text in questions
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")


def test_a_sample_without_a_system_message_gets_the_cards(suite: Suite, domain: Domain) -> None:
    assert [message.role for message in suite.samples[0].messages] == ["system", "user"]
    assert suite.samples[0].messages[0].content == domain.card.system_prompt


def test_a_sample_keeps_its_own_system_message(domain: Domain, tmp_path: Path) -> None:
    row = {
        "conversations": [
            {"role": "system", "content": "Mine"},
            {"role": "user", "content": "Q"},
            {"role": "assistant", "content": "A"},
        ]
    }
    (tmp_path / "test.jsonl").write_text(json.dumps(row))
    [sample] = load(domain, tmp_path).samples
    assert [message.content for message in sample.messages] == ["Mine", "Q"]
    assert sample.reference == "A"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"choices": ["a", "b"], "correct": 0}, {"choices": ["a", "c"], "correct": 0}),
        ({"chosen": "a", "rejected": "b"}, {"chosen": "a", "rejected": "c"}),
        ({"reference": 1, "schema": {"type": "integer"}}, {"reference": 1, "schema": {"type": "number"}}),
    ],
)
def test_two_samples_of_one_id_that_expect_different_things_are_refused(
    domain: Domain, tmp_path: Path, one: dict[str, Any], other: dict[str, Any]
) -> None:
    kind = "choice" if "choices" in one else "preference" if "chosen" in one else "extraction"
    same = {"kind": kind, "id": "q1", "messages": [{"role": "user", "content": "?"}]}
    (tmp_path / "test.jsonl").write_text("".join(json.dumps({**same, **row}) + "\n" for row in (one, other)))
    with pytest.raises(BadInputError, match="two samples have the id 'q1'"):
        load(domain, tmp_path)
    (tmp_path / "test.jsonl").write_text("".join(json.dumps({**same, **row}) + "\n" for row in (one, one)))
    assert len(load(domain, tmp_path).samples) == 1


def test_the_order_of_rows_changes_nothing(domain: Domain, tmp_path: Path) -> None:
    write(tmp_path / "a" / "test.jsonl", "one", "two", "three")
    write(tmp_path / "b" / "test.jsonl", "three", "one", "two")
    assert load(domain, tmp_path / "a") == load(domain, tmp_path / "b")


def test_identical_rows_count_once(domain: Domain, tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", "one", "one", "two")
    assert len(load(domain, tmp_path).samples) == 2


def test_a_limit_moves_few_samples_when_the_file_grows(domain: Domain, tmp_path: Path) -> None:
    questions = [f"question {index}" for index in range(300)]
    write(tmp_path / "a" / "test.jsonl", *questions[:270])
    write(tmp_path / "b" / "test.jsonl", *questions)
    before = {sample.id for sample in load(domain, tmp_path / "a", limit=100).samples}
    after = {sample.id for sample in load(domain, tmp_path / "b", limit=100).samples}
    assert len(before) == len(after) == 100
    assert len(before & after) > 75


def test_a_row_without_a_group_stands_alone(domain: Domain, tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", "one", "two")
    assert len({sample.group for sample in load(domain, tmp_path).samples}) == 2
    write(tmp_path / "test.jsonl", "one", "two", group="code 1")
    assert {sample.group for sample in load(domain, tmp_path).samples} == {"code 1"}


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": ["exact_match"]},
        {"primary": "rouge_l"},
        {"generation": {"max_tokens": 33}},
        {"generation": {"temperature": 0.5}},
        {"generation": {"choices": ["a", "b"]}},
        {"thresholds": {"margin": 0.5}},
        {"slices": ["length"]},
        {"limit": 2},
    ],
)
def test_the_digest_depends_on_the_suites_settings(domain: Domain, tmp_path: Path, change: dict[str, Any]) -> None:
    write(tmp_path / "test.jsonl", "one", "two", "three")
    assert load(domain, tmp_path).digest != load(domain, tmp_path, **change).digest


def test_the_digest_depends_on_the_prompt_and_not_on_words_about_the_suite(domain: Domain, tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", "one", "two", "three")
    before = load(domain, tmp_path).digest
    changed = replace(domain, card=domain.card.model_copy(update={"system_prompt": "Be brief."}))
    assert load(changed, tmp_path).digest != before
    assert load(domain, tmp_path, description="In other words.").digest == before


@pytest.mark.parametrize("metric", ["exact_match", "judge_accuracy"])
def test_the_rubric_belongs_to_a_suite_whose_metrics_ask_the_judge_and_to_no_other(
    domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    def loaded(**judge: Any) -> Suite:
        card = {"model": "tiny", "endpoint": "http://127.0.0.1:1/v1", "dimensions": ["accuracy"], **judge}
        return load(domain, tmp_path, metrics=["exact_match", metric], judge=card)

    write(tmp_path / "test.jsonl", "one", "two", "three")
    asks_the_judge = metric != "exact_match"
    before = loaded()
    assert loaded(endpoint="https://judge.example/v1", timeout_s=5).digest == before.digest
    assert (loaded(model="large").digest != before.digest) == asks_the_judge

    rubric = load_rubric()
    for dimension, counts in (("safety", False), ("accuracy", asks_the_judge)):
        scale = rubric.en[dimension].model_copy(update={"anchors": ["Worse.", *rubric.en[dimension].anchors[1:]]})
        edited = rubric.model_copy(update={"en": {**rubric.en, dimension: scale}})
        monkeypatch.setattr(prompts, "load_rubric", lambda edited=edited: edited)
        after = loaded()
        assert (after.digest != before.digest) == counts, dimension
        assert {part for part in after.parts if after.parts[part] != before.parts[part]} <= {"judge"}


def test_the_digest_depends_on_those_compliance_rules_that_the_suite_measures(domain: Domain, tmp_path: Path) -> None:
    def loaded(notice: str, **compliance: Any) -> Suite:
        demands = {
            "compliance": ComplianceCard.model_validate(compliance),
            "notices": NoticesCard.model_validate({"texts": [notice]}),
        }
        card = domain.card.model_copy(update=demands)
        return load(replace(domain, card=card), tmp_path, metrics=["exact_match", "notice", "referral"])

    write(tmp_path / "test.jsonl", "one", "two", "three")
    before = loaded("Not medical advice.", referral=True)
    for changes in ({"notice": "No advice."}, {"referral": ["ask your pharmacist"]}, {"referral": False}):
        after = loaded(**{"notice": "Not medical advice.", "referral": True, **changes})
        assert [part for part in after.parts if after.parts[part] != before.parts[part]] == ["compliance"]
        assert after.digest != before.digest
    unasked = loaded("Not medical advice.", referral=True, forbidden=["guaranteed"])
    assert unasked.digest == before.digest


def test_what_counts_as_a_referral_by_locums_own_wordings_is_part_of_the_digest(
    domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "test.jsonl", "one", "two", "three")
    before = {metric: load(domain, tmp_path, metrics=["exact_match", metric]).digest for metric in ("referral", "bleu")}
    monkeypatch.setattr(suite_digest, "REFERRALS", (r"\bask around\b",))
    assert load(domain, tmp_path, metrics=["exact_match", "referral"]).digest != before["referral"]
    assert load(domain, tmp_path, metrics=["exact_match", "bleu"]).digest == before["bleu"]


def test_what_is_told_to_readers_of_answers_is_no_part_of_the_digest(domain: Domain, tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", "one", "two", "three")
    changed = replace(domain, card=domain.card.model_copy(update={"notices": NoticesCard(texts=[["Another notice."]])}))
    assert load(changed, tmp_path).digest == load(domain, tmp_path).digest


def test_a_quick_look_is_another_suite(suite: Suite) -> None:
    quick = suite.limited(5)
    assert quick.samples == suite.samples[:5]
    assert quick.digest != suite.digest
    assert suite.limited(10_000).digest != suite.digest


def test_a_missing_test_split_says_how_to_build_it(domain: Domain, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="diagnoses") as caught:
        load(domain, tmp_path / "nowhere")
    assert caught.value.hint == "locum data build medical"


def test_samples_in_the_suites_folder_are_found(domain: Domain, tmp_path: Path) -> None:
    write(domain.folder / "suites" / "diagnoses" / "extra.jsonl", "one")
    assert load(domain, tmp_path, samples="extra.jsonl").samples[0].question == "one"


def test_a_suite_without_samples_is_refused(domain: Domain, tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text("\n")
    with pytest.raises(BadInputError, match="holds no sample"):
        load(domain, tmp_path)


def test_an_unknown_suite_lists_those_there_are(suite: Suite) -> None:
    assert choose_suites([suite], None) == choose_suites([suite], "diagnoses") == [suite]
    with pytest.raises(NotFoundError, match=r"'nope'.*diagnoses"):
        choose_suites([suite], "nope")
