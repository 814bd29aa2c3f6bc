"""What the check of a suite says, sentence by sentence, and that it keeps quiet about a good one."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from locum.adapters.base import Base
from locum.adapters.manifest import DataRecord, Manifest, Split
from locum.adapters.registry import Registry
from locum.errors import BadInputError, NotFoundError
from locum.evaluate.overlap import look_for_overlap
from locum.evaluate.scoring import load_metrics
from locum.evaluate.suite_check import check_suites
from locum.evaluate.suite_fit import require_fit
from locum.evaluate.suite_split import split_suite
from locum.settings import Settings
from tests.evaluate.suites import Row, Workshop, ask, talk, workshop_in, write_lines

LONG = "The tenant gives notice three months before the term ends unless both parties have agreed on another date"
SCHEMA = {"type": "object", "properties": {"dose": {"type": "number"}}, "required": ["dose"]}
FINE: list[Row | str] = [ask("one", "1"), ask("two", "2")]


@pytest.fixture
def workshop(settings: Settings) -> Workshop:
    return workshop_in(settings)


def extraction(reference: Any, schema: Any) -> Row:
    return ask("which dose?", reference, kind="extraction", schema=schema)


def test_nothing_is_said_of_a_good_suite(workshop: Workshop) -> None:
    workshop.write(FINE).learn(talk("three", "3"))
    assert workshop.findings() == []


@pytest.mark.parametrize(
    ("rows", "sentences"),
    [
        ([*FINE, "{"], ["samples.jsonl:3: row: Invalid JSON: EOF while parsing an object at line 2 column 0"]),
        ([*FINE, ask("three", None)], ["samples.jsonl:3: row: kind question needs a reference"]),
        (
            [ask("one", "1", id="a"), ask("two", "2", id="a"), ask("three", "3")],
            ["samples.jsonl:2: the id 'a' is that of line 1 too"],
        ),
        ([*FINE, ask("one", "1")], ["samples.jsonl:3: repeats line 1"]),
        (
            [*FINE, ask("one", "3")],
            ["samples.jsonl:3: asks what line 1 asks, and expects '3' instead of '1'"],
        ),
        (
            [ask(LONG, "1"), ask(f"{LONG}.", "1")],
            ["samples.jsonl:2: asks nearly what line 1 asks (similarity 1.00), in another group"],
        ),
        (
            [ask(LONG, "1"), ask(f"{LONG} again", "1")],
            ["samples.jsonl:2: asks nearly what line 1 asks (similarity 0.94), in another group"],
        ),
        ([*FINE, ask("  ", "1")], ["samples.jsonl:3: asks nothing: what the user says is blank"]),
        (
            [*FINE, ask("three", "")],
            [
                "samples.jsonl:3: expects an empty answer",
                "samples.jsonl:3: no metric of the suite says anything about it (kind question)",
                "suite.yaml:1: note: exact_match says nothing about 1 of 3 samples: the gate decides without these",
            ],
        ),
        (
            [extraction({"dose": 1}, {"type": "thing"}), *FINE],
            [
                "samples.jsonl:1: schema: is no JSON schema: 'thing' is not valid under any of the given schemas",
            ],
        ),
        (
            [extraction("much", SCHEMA), *FINE],
            ["samples.jsonl:1: expects 'much', which is not JSON"],
        ),
        (
            [extraction({"dose": "much"}, SCHEMA), *FINE],
            [
                "samples.jsonl:1: expects an answer that its own schema refuses at $.dose: "
                "'much' is not of type 'number'"
            ],
        ),
        (
            [extraction({"dose": 1}, {"$ref": "https://example.com/dose.json"}), *FINE],
            ["samples.jsonl:1: schema: refers to https://example.com/dose.json, which is not in it"],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_row_is_told_with_file_and_line(
    workshop: Workshop, rows: list[Row | str], sentences: list[str]
) -> None:
    assert workshop.write(rows).told() == sentences


@pytest.mark.parametrize("shared", [{"group": "lease"}, {"paraphrase_of": "lease"}])
def test_near_duplicates_that_belong_together_are_no_fault(workshop: Workshop, shared: dict[str, str]) -> None:
    rows: list[Row | str] = [ask(LONG, "1", **shared), ask(f"{LONG} again", "1", **shared)]
    assert workshop.write(rows, thresholds={"confidence": 0.8}).told() == []


def test_two_pairs_of_answers_to_one_prompt_are_two_samples(workshop: Workshop) -> None:
    rows: list[Row | str] = [
        ask("well?", None, kind="preference", chosen=chosen, rejected="no", group="well") for chosen in ("yes", "maybe")
    ]
    card = {"metrics": ["preference"], "primary": "preference", "thresholds": {"confidence": 0.8}}
    assert workshop.write(rows, **card).told() == []


def test_an_answer_that_max_tokens_cuts_off_is_told_about_by_characters(workshop: Workshop) -> None:
    told = workshop.write([*FINE, ask("long?", "word " * 40)], generation={"max_tokens": 8}).told()
    assert told == ["samples.jsonl:3: note: expects an answer of about 50 tokens, and generation.max_tokens allows 8"]


def test_an_answer_that_max_tokens_cuts_off_is_wrong_by_the_base_models_tokenizer(
    workshop: Workshop, base_record: Base
) -> None:
    told = workshop.write([*FINE, ask("long?", "the court")], generation={"max_tokens": 1}).told()
    [sentence] = told
    assert sentence.startswith("samples.jsonl:3: expects an answer of ")
    assert "about" not in sentence


def test_expected_answers_are_among_the_choices(workshop: Workshop) -> None:
    decline = ask("forge it", "No.", kind="decline")
    rows = [ask("one", "A"), ask("two", "C"), decline]
    card = {"generation": {"choices": ["A", "B", "No."]}, "metrics": ["exact_match", "decline"]}
    assert workshop.write(rows, **card).told() == [
        "samples.jsonl:2: expects 'C', which is not among generation.choices",
        "samples.jsonl:3: is to be declined, and generation.choices lets no model do so",
    ]


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        (
            {"metrics": ["exact_match", "choice"]},
            "suite.yaml:3: choice says nothing about any of the samples (2 question)",
        ),
        (
            {"metrics": ["exact_match", "numeric"], "options": {"numeric": {"tolerence": 1}}},
            "suite.yaml:3: the metric 'numeric' has no option 'tolerence'",
        ),
        (
            {"metrics": ["perplexity"], "primary": "perplexity", "thresholds": {"min_score": 0.5}},
            "suite.yaml:4: min_score asks at most 0.5, as less perplexity is better, and it goes down to 1",
        ),
        (
            {"metrics": ["exact_match", "perplexity"], "thresholds": {"hard": {"perplexity": 3}}},
            "suite.yaml:4: hard asks for a perplexity of at least 3, and less of it is better",
        ),
        ({"slices": ["topic"]}, "suite.yaml:5: no sample has a topic"),
        (
            {"slices": ["length"]},
            "suite.yaml:5: note: no length has the 20 samples that the gate judges a slice by: short (2)",
        ),
        (
            {"thresholds": {"min_samples": 3}},
            "suite.yaml:4: min_samples asks 3 samples, and the suite has 2",
        ),
        (
            {"thresholds": {"min_score": 1.5}},
            "suite.yaml:4: min_score asks 1.5, and exact_match goes up to 1",
        ),
        (
            {"thresholds": {"min_gain": 1.0}},
            "suite.yaml:4: min_gain asks more than 1, and two scores by exact_match differ by 1 at most",
        ),
        (
            {"thresholds": {"margin": 3}},
            "suite.yaml:4: margin allows a loss of 3, and two scores by exact_match differ by 1 at most",
        ),
        (
            {"thresholds": {"min_gain": -5}},
            "suite.yaml:4: min_gain allows a loss of 5, and two scores by exact_match differ by 1 at most",
        ),
        (
            {"thresholds": {"hard": {"exact_match": 1.2}}},
            "suite.yaml:4: exact_match is asked to reach 1.2, and goes up to 1",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_card_is_told_with_its_line(
    workshop: Workshop, card: dict[str, Any], sentence: str
) -> None:
    [told] = workshop.write(FINE, **card).told()
    assert told.startswith(sentence)


def test_an_unknown_metric_is_told_with_those_there_are(workshop: Workshop) -> None:
    [told] = workshop.write(FINE, metrics=["exact_match", "exactness"]).told()
    assert told.startswith("suite.yaml:3: there is no metric 'exactness' (there are: exact_match, token_f1")


def test_a_sample_that_no_metric_speaks_about_is_told(workshop: Workshop) -> None:
    choice = ask("which?", None, kind="choice", choices=["a", "b"], correct=0)
    assert workshop.write([*FINE, choice]).told() == [
        "samples.jsonl:3: no metric of the suite says anything about it (kind choice)",
        "suite.yaml:1: note: exact_match says nothing about 1 of 3 samples: the gate decides without these",
    ]  # fmt: skip


def test_an_evaluation_that_could_decide_nothing_is_refused_before_it_asks(workshop: Workshop) -> None:
    card = {"metrics": ["exact_match", "choice"], "thresholds": {"hard": {"choice": 1.0}}}
    suite = workshop.write(FINE, **card).load()
    with pytest.raises(
        BadInputError, match="'held-out' of legal: choice says nothing about any of its samples"
    ) as caught:
        require_fit(suite, load_metrics(suite))
    assert caught.value.hint == "locum suite check legal held-out says what is wrong"
    percent = workshop.write(FINE, slices=["length"], thresholds={"slice_margin": 15}).load()
    with pytest.raises(BadInputError, match="'held-out' of legal: slice_margin allows a loss of 15, and two scores"):
        require_fit(percent, load_metrics(percent))
    fine = workshop.write(FINE, metrics=["exact_match", "choice"]).load()
    require_fit(fine, load_metrics(fine))


def test_only_samples_that_the_primary_metric_speaks_about_count(workshop: Workshop) -> None:
    choice = ask("which?", None, kind="choice", choices=["a", "b"], correct=0)
    card = {"metrics": ["exact_match", "choice"], "thresholds": {"min_samples": 3}}
    assert (
        "suite.yaml:4: min_samples asks 3 samples, and the suite has 2"
        in workshop.write([*FINE, choice], **card).told()
    )


def test_a_judge_speaks_about_what_is_generated(workshop: Workshop) -> None:
    judge = {"model": "j", "endpoint": "http://127.0.0.1:9/v1", "pairwise": True}
    card = {"metrics": ["judge_accuracy", "judge_preference"], "primary": "judge_accuracy", "judge": judge}
    choice = ask("which?", None, kind="choice", choices=["a", "b"], correct=0)
    assert workshop.write(FINE, **card).told() == []
    assert workshop.write([*FINE, choice], **card).told() == [
        "samples.jsonl:3: no metric of the suite says anything about it (kind choice)",
        "suite.yaml:5: note: judge_accuracy says nothing about 1 of 3 samples: the gate decides without these",
    ]


def test_a_lowest_score_that_the_references_miss_is_told(workshop: Workshop) -> None:
    rows = [ask("one", "1"), ask("two", "...")]
    [told] = workshop.write(rows, metrics=["rouge_l"], primary="rouge_l", thresholds={"min_score": 0.9}).told()
    assert told == "suite.yaml:4: min_score asks 0.9, and the expected answers themselves reach 0.500"


def test_samples_without_a_slices_field_are_a_note(workshop: Workshop) -> None:
    rows = [ask("one", "1", topic="a"), ask("two", "2", topic="a"), ask("three", "3")]
    told = workshop.write(rows, slices=["topic"], thresholds={"slice_min_samples": 2}).told()
    assert len(told) == 1
    assert re.fullmatch(r"suite\.yaml:5: note: 1 of 3 samples has no topic \(\w+\) and is in no slice of it", told[0])


def test_a_margin_that_the_suite_can_seldom_show_is_a_note(workshop: Workshop) -> None:
    rows = [ask(f"question {number}", "yes") for number in range(30)]
    [finding] = workshop.write(rows, thresholds={"margin": 0.05}).learn(talk("other")).findings()
    assert finding.severity == "note"
    assert finding.sentence == (
        "30 samples show that a version as good as production keeps the margin of 0.05, 13% of the time "
        "(assumed: two versions differ on 30 % of the samples); 742 samples show it 80% of the time"
    )
    assert finding.advice == "add samples, or ask for a wider margin: locum suite power legal held-out"


def test_a_suite_without_rows_files_or_card_is_told_and_hides_no_other(workshop: Workshop) -> None:
    workshop.write([])
    (workshop.folder / "forgotten.jsonl").write_text("")
    (workshop.folder.parent / "empty").mkdir()
    broken = workshop.folder.parent / "broken"
    broken.mkdir()
    (broken / "suite.yaml").write_text("name: broken\nsamples: a.jsonl\ncolour: red\nprimary: 3\n")
    gone = workshop.folder.parent / "gone"
    gone.mkdir()
    (gone / "suite.yaml").write_text("name: gone\nsamples: a.jsonl\n")
    told = {
        report.suite: [(Path(each.place).name, each.sentence.partition(" (there are")[0]) for each in report.findings]
        for report in check_suites(workshop.settings, "legal")
    }
    assert told == {
        "broken": [
            ("suite.yaml:4", "primary: Input should be a valid string (found 3)"),
            ("suite.yaml:3", "colour: there is no such field"),
        ],
        "empty": [("empty", "has no suite.yaml")],
        "gone": [("suite.yaml", f"there is no file {gone}/a.jsonl")],
        "held-out": [("samples.jsonl", "is empty"), ("forgotten.jsonl", "is not asked")],
    }


def test_rows_that_training_has_are_told_with_the_row_there(workshop: Workshop) -> None:
    workshop.write([ask("One?", "1"), ask(LONG, "2"), ask("three", "3", group="§ 7"), ask("four", "4")])
    workshop.learn(talk("zero"), talk("one"), talk(f"{LONG} again"), talk("other", group="§ 7"))
    assert workshop.told(check="overlap") == [
        "samples.jsonl:1: asks what row 2 of train.jsonl asks, and the next version will learn from that",
        "samples.jsonl:2: asks nearly what row 3 of train.jsonl asks (similarity 0.94), "
        "and the next version will learn from that",
        "samples.jsonl:3: is of the group '§ 7', as row 4 of train.jsonl is, and the next version will learn from that",
    ]


def test_the_closest_row_of_training_is_the_one_that_is_told(workshop: Workshop) -> None:
    workshop.write([ask(LONG, "1", group="lease"), ask("two", "2")])
    workshop.learn(talk("other", group="lease"), talk(f"{LONG} again"), talk(LONG), talk(f"{LONG} still"))
    [told] = workshop.told(check="overlap")
    assert told.startswith("samples.jsonl:1: asks what row 3 of train.jsonl asks")


def test_preference_pairs_are_training_too(workshop: Workshop) -> None:
    pair = {"prompt": [{"role": "user", "content": "One"}], "chosen": "1", "rejected": "2"}
    workshop.write(FINE).learn(talk("other"))
    write_lines(workshop.data / "preferences" / "train.jsonl", [pair])
    assert workshop.told(check="overlap") == [
        "samples.jsonl:1: asks what row 1 of preferences/train.jsonl asks, and the next version will learn from that"
    ]


def test_without_a_training_split_a_note_says_how_to_build_it(workshop: Workshop) -> None:
    [finding] = workshop.write(FINE).findings()
    assert (finding.severity, finding.advice) == ("note", "locum data build legal")
    assert finding.sentence == "is not there: overlap with what the next version learned from was not looked for"


@pytest.fixture
def registered(
    workshop: Workshop, base_record: Base, tiny_adapter: Callable[..., Path]
) -> Callable[[DataRecord | None], Manifest]:
    """Registers a version that learned from such data."""
    folder = tiny_adapter(rank=4)

    def call(data: DataRecord | None) -> Manifest:
        return Registry.open(workshop.settings).register(
            "legal", folder, base=base_record, recipe={}, data=data, training={}, probes=[], created_by="tester"
        )

    return call


def test_overlap_is_looked_for_in_what_the_candidate_learned_from(
    workshop: Workshop, registered: Callable[[DataRecord | None], Manifest]
) -> None:
    workshop.write([ask("one", "1"), ask("two", "2")]).learn(talk("one"), talk("three"))
    overlap = look_for_overlap([], workshop.data / "train.jsonl", threshold=0.8, watch=lambda *_: None)
    none = Split(rows=0, digest="")
    split = Split(rows=overlap.rows, digest=overlap.digest)
    registered(DataRecord(digest="", splits={"train": split, "validation": none, "test": none}))
    for ref in (None, "legal@1", "legal@candidate"):
        [told] = workshop.told(check="overlap", ref=ref)
        assert told == "samples.jsonl:1: asks what row 1 of train.jsonl asks, and legal@1 has learned from that"
        assert workshop.told(check="training", ref=ref) == []
    workshop.learn(talk("one"))
    assert workshop.told(check="training", ref="legal@1") == [
        "train.jsonl: is not what legal@1 learned from (another digest): "
        "overlap was looked for in the split that is there"
    ]
    assert workshop.told(check="training")[0].startswith("train.jsonl: note: is not what legal@1 learned from")
    (workshop.data / "train.jsonl").unlink()
    assert workshop.told(check="training", ref="legal@1") == [
        "train.jsonl: is not there: overlap with what legal@1 learned from was not looked for"
    ]


def test_what_an_adapter_from_elsewhere_learned_from_is_not_known(
    workshop: Workshop, registered: Callable[[DataRecord | None], Manifest]
) -> None:
    registered(None)
    workshop.write(FINE).learn(talk("one"))
    assert workshop.told(check="training", ref="legal@1") == [
        "train.jsonl: note: what legal@1 learned from is not recorded, and no overlap with it can be told"
    ]
    assert workshop.told(check="overlap", ref="legal@1") == []


def test_a_task_of_the_harness_is_checked_as_far_as_it_goes(workshop: Workshop) -> None:
    shutil.copytree(Path(__file__).parent / "harness", workshop.folder, dirs_exist_ok=True)
    card = workshop.folder / "suite.yaml"
    card.write_text("name: held-out\nlm_eval: {task: locum_chapters, include: .}\nthresholds: {min_samples: 13}\n")
    first = json.loads((workshop.folder / "chapters.jsonl").read_text().splitlines()[0])
    workshop.learn(talk(f"{first['diagnosis']} belongs to the chapter of"))
    told = workshop.told()
    assert told[0] == "suite.yaml:3: min_samples asks 13 samples, and the suite has 12"
    assert told[1].startswith("suite.yaml:2: sample ")
    assert told[1].endswith(" asks what row 1 of train.jsonl asks, and the next version will learn from that")
    assert len(told) == 2
    with pytest.raises(BadInputError, match="asks the task 'locum_chapters', which has its own samples"):
        split_suite(workshop.domain, workshop.domain.suites[0], workshop.data, into=("a", "b"), share=0.5)


def test_the_digest_of_a_split_is_that_which_building_it_gave(workshop: Workshop) -> None:
    from locum.train.data.build import build_data

    built = build_data(workshop.domain, workshop.data, reviews=workshop.settings.reviews_path("legal"))
    overlap = look_for_overlap([], workshop.data / "train.jsonl", threshold=0.8, watch=lambda *_: None)
    assert overlap.digest == built.record.splits["train"].digest
    assert overlap.rows == built.record.splits["train"].rows


def test_the_wrong_domain_suite_or_version_is_refused(workshop: Workshop) -> None:
    with pytest.raises(NotFoundError, match="there is no domain 'tax'"):
        check_suites(workshop.settings, "tax")
    with pytest.raises(NotFoundError, match=r"there is no suite 'nope' of legal \(there are: held-out\)"):
        check_suites(workshop.settings, "legal", "nope")
    with pytest.raises(BadInputError, match="--model: expected a version of legal, found 'tax@1'"):
        check_suites(workshop.settings, "legal", ref="tax@1")


def test_a_domain_without_a_suite_says_how_to_write_one(workshop: Workshop) -> None:
    for path in workshop.folder.iterdir():
        path.unlink()
    workshop.folder.rmdir()
    with pytest.raises(NotFoundError) as caught:
        check_suites(workshop.settings, "legal")
    assert caught.value.hint == "locum suite new legal NAME writes one"
