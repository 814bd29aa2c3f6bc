"""Small files of the shapes that people report, read by value, each with its last line of `locum data check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from locum.adapters.conversations import Conversation
from locum.cli import app
from locum.train.data.reading import Read, read_file, recognise

CASES = Path(__file__).parent / "cases"
LAST = {
    "forms.json": "5 rows, all right: 5 answers, 170 characters, 0 groups, 0 topics.",
    "chats.json": "5 rows, all right: 5 answers, 155 characters, 0 groups, 0 topics.",
    "letters.jsonl": "6 rows, all right: 6 answers, 665 characters, 0 groups, 0 topics.",
    "ids.jsonl": "5 of 5 rows read: 5 answers, 160 characters, 0 groups, 0 topics; passed over: `id`, `source`.",
    "minimind.jsonl": "5 rows, all right: 5 answers, 245 characters, 0 groups, 0 topics.",
    "weight.jsonl": "6 of 6 rows read: 12 answers, 408 characters, 0 groups, 0 topics; context only, not learnt: "
    "6 answers (`messages[].weight`).",
    "kto.jsonl": "3 of 6 rows read: 3 answers, 171 characters, 0 groups, 0 topics; left out: 3 not to be learnt "
    "(`label` is false).",
    "deutsch.csv": "10 rows, all right: 10 answers, 810 characters, 0 groups, 0 topics.",
    "system.jsonl": "6 rows, all right: 6 answers, 360 characters, 0 groups, 0 topics.",
    "cells.xlsx": "4 rows, all right: 4 answers, 135 characters, 0 groups, 0 topics.",
    "empty_system.jsonl": "6 rows, all right: 6 answers, 192 characters, 0 groups, 0 topics.",
    "empty_system_sharegpt.jsonl": "6 rows, all right: 6 answers, 192 characters, 0 groups, 0 topics.",
    "parts.jsonl": "1 row, all right: 1 answer, 25 characters, 0 groups, 0 topics.",
    "sep.csv": "2 rows, all right: 2 answers, 45 characters, 0 groups, 0 topics.",
    "dolly.jsonl": "1 row, all right: 1 answer, 88 characters, 0 groups, 1 topic.",
    "trl_prompt_completion.jsonl": "1 row, all right: 1 answer, 22 characters, 0 groups, 0 topics.",
    "sharegpt_tools.jsonl": "1 row, all right: 2 answers, 38 characters, 0 groups, 0 topics.",
    "gbk.jsonl": "5 rows, all right: 5 answers, 65 characters, 0 groups, 0 topics.",
}


def rows(name: str) -> list[Conversation]:
    location = str(CASES / name)
    items = read_file(location, format=recognise(location, columns={}).format, columns={})
    return [item.row for item in items if isinstance(item, Read) and isinstance(item.row, Conversation)]


def said(row: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in row.conversations]


def test_each_file_is_tried() -> None:
    assert {path.name for path in CASES.iterdir()} == set(LAST)


@pytest.mark.parametrize("name", sorted(LAST))
def test_the_last_line_says_what_is_right(name: str) -> None:
    done = CliRunner().invoke(app, ["data", "check", str(CASES / name)])
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, LAST[name])


@pytest.mark.parametrize(
    ("name", "number", "wanted"),
    [
        ("forms.json", 0, [("user", "Which form is for case 1?"), ("assistant", "Form A-1.")]),
        ("chats.json", 4, [("user", "Which desk takes case 5?"), ("assistant", "Desk 5.")]),
        ("ids.jsonl", 0, [("user", "Which window is case 1?"), ("assistant", "Window 1.")]),
        ("deutsch.csv", 1, [
            ("user", "Wer prüft Antrag 1?"),
            ("assistant", "Die zuständige Behörde, für Schüler das Schulamt."),
        ]),
        ("gbk.jsonl", 0, [("user", "退款1要多久？"), ("assistant", "七个工作日。")]),
        ("minimind.jsonl", 0, [
            ("user", "纠正错字：第1天天汽很好。"),
            ("assistant", "<think>\n“汽”应为“气”。\n</think>\n\n第1天天气很好。"),
        ]),
        ("system.jsonl", 0, [
            ("system", "Answer in one word, in CAPITALS."),
            ("user", "Which colour has form 1?"),
            ("assistant", "RED"),
        ]),
        ("parts.jsonl", 0, [("user", "Read this:\nForm A-12"), ("assistant", "Done.")]),
        ("sep.csv", 1, [("user", "Who stamps?"), ("assistant", "The registrar.")]),
        ("dolly.jsonl", 0, [
            ("user", "Who signs the form?\n\nForm A-12 is signed by the clerk of window 3."),
            ("assistant", "The clerk of window 3."),
        ]),
        ("trl_prompt_completion.jsonl", 0, [("user", "Which window?"), ("assistant", "Window 2.")]),
        ("kto.jsonl", 0, [
            ("user", "May I stop medicine 2 today?"),
            ("assistant", "Please ask your doctor first."),
        ]),
    ],
)  # fmt: skip
def test_a_row_is_what_people_see_in_the_file(name: str, number: int, wanted: list[tuple[str, str]]) -> None:
    assert said(rows(name)[number]) == wanted


def test_cells_are_read_as_they_are_shown() -> None:
    assert [row.answer for row in rows("cells.xlsx")] == ["2027-03-31", "08:30", "15%", "01067"]


def test_what_has_the_weight_0_is_not_learnt() -> None:
    for row in rows("weight.jsonl"):
        assert [message.learnt for message in row.conversations] == [False, False, False, True]
        assert row.conversations[1].content == "WRONG-DO-NOT-LEARN"


@pytest.mark.parametrize("name", ["empty_system.jsonl", "empty_system_sharegpt.jsonl"])
def test_an_empty_system_message_is_none(name: str) -> None:
    assert {tuple(role for role, _ in said(row)) for row in rows(name)} == {("user", "assistant")}


def test_a_call_of_a_tool_is_a_call() -> None:
    [row] = rows("sharegpt_tools.jsonl")
    calls: Any = row.conversations[1].tool_calls
    assert [(call.name, call.arguments) for call in calls] == [("weather", {"city": "Ulm"})]
    assert said(row)[2:] == [("tool", '{"c": 12}'), ("assistant", "12 degrees.")]
    assert row.tools is None
