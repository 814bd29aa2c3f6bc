"""Pairs of answers as the field's sets and trainers write them: read whole, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from locum.adapters.card import Source
from locum.adapters.conversations import Conversation, Preference
from locum.adapters.domains import load_domain
from locum.errors import BadInputError
from locum.settings import Settings
from locum.train.data.check import check_file
from locum.train.data.reading import Read, Reject, Unanswered, Unwanted, read_file, recognise
from locum.train.data.source import origins

ASKED = {"role": "user", "content": "May I swim?"}
YES, NO = {"role": "assistant", "content": "Yes."}, {"role": "assistant", "content": "No."}
SYSTEM = {"role": "system", "content": "Be kind."}
BEFORE = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]


def written(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def read(path: Path, *rows: dict[str, Any], kind: Any = Preference, **options: Any) -> list[Any]:
    location = written(path / "rows.jsonl", *rows)
    return list(read_file(location, format=recognise(location, columns={}).format, columns={}, kind=kind, **options))


@pytest.mark.parametrize(
    ("row", "before"),
    [
        ({"messages": [ASKED, YES], "rejected_messages": [ASKED, NO]}, []),
        ({"messages": [ASKED, YES], "rejected_response": ["No."]}, []),
        ({"messages": [ASKED], "chosen_message": YES, "rejected_message": NO}, []),
        ({"instruction": "May I swim?", "chosen_response": "Yes.", "rejected_response": "No."}, []),
        ({"prompt": "May I swim? \n", "chosen": [ASKED, YES], "rejected": [ASKED, NO]}, []),
        ({"system": "Be kind.", "prompt": "May I swim?", "chosen": [ASKED, YES], "rejected": [ASKED, NO]}, [SYSTEM]),
        ({"prompt": "May I swim?", "chosen": [SYSTEM, ASKED, YES], "rejected": [SYSTEM, ASKED, NO]}, [SYSTEM]),
        ({"prompt": json.dumps([ASKED]), "chosen": json.dumps([YES]), "rejected": json.dumps([NO])}, []),
        ({"prompt": "", "chosen": json.dumps([ASKED, YES]), "rejected": json.dumps([ASKED, NO])}, []),
        ({"prompt": "\n\nHuman: May I swim?\n\nAssistant:", "chosen": "Yes.", "rejected": "No."}, []),
        ({"chosen": "Human: May I swim?\n\nAssistant: Yes.", "rejected": "Human: May I swim?\n\nAssistant: No."}, []),
        (
            {"instruction": "May I swim?", "history": [["Hello", "Hi"]], "chosen": "Yes.", "rejected": "No."},
            BEFORE,
        ),
        (
            {"query": "May I swim?", "history": [["Hello", "Hi"]], "response": "Yes.", "rejected_response": "No."},
            BEFORE,
        ),
    ],
)
def test_all_that_was_said_before_two_answers_is_learnt(row: dict[str, Any], before: list[Any], tmp_path: Path) -> None:
    [item] = read(tmp_path, row)
    assert isinstance(item, Read)
    pair = item.row.model_dump(exclude_none=True)
    assert [{**turn, "content": turn["content"].strip()} for turn in pair["prompt"]] == [*before, ASKED]
    assert (pair["chosen"], pair["rejected"]) == ("Yes.", "No.")


def test_texts_in_turns_of_human_and_assistant_are_turns_under_source_too(tmp_path: Path) -> None:
    text = "\n\nHuman: Hello\n\nAssistant: Hi\n\nHuman: May I swim?\n\nAssistant:"
    [item] = read(tmp_path, {"prompt": text, "completion": " Yes."}, kind=Conversation)
    assert [(each.role, each.content) for each in item.row.conversations] == [
        ("user", "Hello"),
        ("assistant", "Hi"),
        ("user", "May I swim?"),
        ("assistant", "Yes."),
    ]
    [item] = read(tmp_path, {"prompt": "Human: is it short for something?", "completion": "No."}, kind=Conversation)
    assert item.row.prompt[0].content == "Human: is it short for something?"


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ({"chosen": "Yes.", "rejected": "Yes. "}, "row", "two different answers"),
        ({"chosen": "Yes.", "rejected": ["No.", "Never."]}, "rejected", "expected one answer, found 2"),
        ({"chosen": "Yes.", "rejected": "No.", "score_chosen": 2, "score_rejected": 4.5}, "score_chosen", "2 and 4.5"),
        ({"chosen": "Yes.", "rejected": "No.", "margin": -1.5}, "margin", "no less than 0"),
        ({"chosen": [SYSTEM, ASKED, YES], "rejected": [ASKED, ASKED, NO]}, "rejected", "the same turns"),
    ],
)
def test_a_pair_that_contradicts_itself_is_refused_by_name(
    row: dict[str, Any], field: str, reason: str, tmp_path: Path
) -> None:
    [item] = read(tmp_path, {"prompt": "May I swim?", **row})
    assert isinstance(item, Reject)
    assert item.field == field and reason in item.reason


def test_scores_of_both_answers_are_passed_over_and_mentioned(tmp_path: Path) -> None:
    row = {"prompt": "May I swim?", "chosen": "Yes.", "rejected": "No.", "score_chosen": 5, "score_rejected": 2}
    checked = check_file(written(tmp_path / "rows.jsonl", row))
    assert "passed over: `score_chosen`, `score_rejected`" in checked.summary
    assert not checked.fields_of("judgement")  # they tell nothing of the row as a whole


@pytest.mark.parametrize(
    "blank", [{"chosen": " "}, {"rejected": ""}, {"rejected": None}, {"chosen": [ASKED, {**YES, "content": ""}]}]
)
def test_a_pair_without_one_of_its_answers_is_refused_or_passed_over_as_asked_for(
    blank: dict[str, Any], tmp_path: Path
) -> None:
    pair = {"prompt": "May I swim?", "chosen": "Yes.", "rejected": "No."}
    [_, reject] = read(tmp_path, pair, {**pair, **blank})
    assert isinstance(reject, Reject) and "blank_answers: skip" in reject.reason
    [_, passed_over] = read(tmp_path, pair, {**pair, **blank}, blank_answers="skip")
    assert isinstance(passed_over, Unanswered)


@pytest.mark.parametrize("label", ["maybe", -1, 0.5])
def test_a_label_that_is_neither_yes_nor_no_refuses_its_row(label: Any, tmp_path: Path) -> None:
    sure = {"prompt": "May I swim?", "completion": "Yes.", "label": True}
    for kind in (Conversation, Preference):
        [_, reject] = read(tmp_path, sure, {**sure, "label": label}, kind=kind)
        assert isinstance(reject, Reject) and reject.field == "label"


def test_labels_that_name_classes_say_nothing_of_whether_an_answer_is_wanted(tmp_path: Path) -> None:
    rows = [{"prompt": f"Q{label}", "completion": "A", "label": label} for label in ("positive", "neutral")]
    assert all(isinstance(item, Read) for item in read(tmp_path, *rows, kind=Conversation))


def test_an_answer_marked_as_undesirable_is_not_learnt(tmp_path: Path) -> None:
    row = {"prompt": "May I swim?", "completion": "Yes."}
    items = read(tmp_path, row, {**row, "desirable": False}, {**row, "undesirable": 1}, kind=Conversation)
    assert [type(item) for item in items] == [Read, Unwanted, Unwanted]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("response_1", "response_2"),
        ("response_j", "response_k"),
        ("answer_0", "answer_1"),
        ("human_ref_A", "human_ref_B"),
    ],
)
def test_two_numbered_answers_are_refused_with_the_way_out(one: str, other: str, tmp_path: Path) -> None:
    location = written(tmp_path / "rows.jsonl", {"prompt": "May I swim?", one: "Yes.", other: "No.", "preference": -2})
    with pytest.raises(BadInputError, match=f"`{one}` and `{other}`") as refused:
        check_file(location)
    assert f"--column chosen={one}" in str(refused.value.hint)
    checked = check_file(location, columns={"chosen": one, "rejected": other})
    assert (checked.format, checked.wrong) == ("preference", 0)


def test_single_answers_without_a_label_under_preferences_say_what_belongs_there(
    settings: Settings, domain_folder: Path
) -> None:
    written(domain_folder / "rows.jsonl", {"prompt": "May I swim?", "completion": "Yes."})
    source = Source(files=["rows.jsonl"], licence="Invented.")
    with pytest.raises(BadInputError, match="expected preferences") as refused:
        origins(load_domain(settings.domains, "legal"), source, Preference)
    assert "`label`" in str(refused.value.hint)
