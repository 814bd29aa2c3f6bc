"""Interviews with experts: an empty sheet is written, filled in, and read."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from locum.adapters.conversations import Conversation, read_conversations
from locum.adapters.domains import Domain, load_domain
from locum.errors import BadInputError, ConflictError, NotFoundError
from locum.settings import Settings
from locum.train.data.build import build_data, split_file
from locum.train.data.check import check_file
from locum.train.data.reading import Read, read_file, recognise
from locum.train.data.sheet import COLUMNS, write_sheet

Answers = list[dict[str, str]]


def fill(file: Path, rows: Answers) -> None:
    """As an expert does, with a spreadsheet."""
    if file.suffix == ".csv":
        with file.open("a", encoding="utf-8", newline="") as out:
            csv.DictWriter(out, list(COLUMNS)).writerows(rows)
        return
    book = openpyxl.load_workbook(file)
    for row in rows:
        book["interview"].append([row.get(name) for name in COLUMNS])
    book.save(file)


def rows_of(file: Path) -> list[Conversation]:
    location = str(file)
    found = read_file(location, format=recognise(location, columns={}).format, columns={})
    return [item.row for item in found if isinstance(item, Read) and isinstance(item.row, Conversation)]


@pytest.mark.parametrize("name", ["interview.xlsx", "interview.csv"])
def test_a_filled_sheet_is_recognised_and_questions_without_an_answer_are_no_mistakes(
    tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    write_sheet(file, "legal", ["Haftung"])
    fill(
        file,
        [
            {"question": "Noch offen?", "topic": "Haftung"},
            {
                "question": "Wer haftet?\nUnd wann?",
                "answer": "Der Halter:\n- immer",
                "topic": "Haftung",
                "case": "A1",
                "remarks": "sicher",
            },
            {"question": "什么是留置权？", "answer": "对财产的权利。", "expert": "吴律师"},
        ],
    )
    found = check_file(str(file))
    assert (found.format, found.rows, found.unanswered, found.wrong) == ("interview", 3, 1, 0)
    assert found.experts == {"吴律师": 1}
    one, other = rows_of(file)
    assert (one.question, one.answer) == ("Wer haftet?\nUnd wann?", "Der Halter:\n- immer")
    assert (one.group, one.topic) == ("A1", "Haftung")
    assert (other.question, other.group) == ("什么是留置权？", None)
    assert "吴律师" not in other.model_dump_json()


def test_a_sheet_that_nobody_has_signed_is_an_interview_too(tmp_path: Path) -> None:
    file = tmp_path / "interview.csv"
    write_sheet(file, "legal")
    fill(file, [{"question": f"Q{n}"} for n in range(30)] + [{"question": "Q", "answer": "A"}])
    assert (check_file(str(file)).format, check_file(str(file)).unanswered) == ("interview", 30)


def test_a_chinese_sheet_is_read(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["问题", "答案", "主题", "专家", "案例", "备注"])
    book.active.append(["什么是留置权？", "对财产的权利。", "物权", "吴律师", "一", ""])
    book.save(tmp_path / "访谈.xlsx")
    assert recognise(str(tmp_path / "访谈.xlsx"), columns={}).why == "the columns `问题`, `答案`, `专家`"
    [row] = rows_of(tmp_path / "访谈.xlsx")
    assert (row.question, row.topic, row.group) == ("什么是留置权？", "物权", "一")


def test_an_answer_without_its_question_is_a_mistake_and_told(tmp_path: Path) -> None:
    write_sheet(tmp_path / "interview.xlsx", "legal")
    fill(tmp_path / "interview.xlsx", [{"answer": "A", "expert": "E"}])
    [problem] = check_file(str(tmp_path / "interview.xlsx")).problems
    assert problem.endswith(":1: question: expected text, found nothing")


def test_topics_can_be_picked_from_a_list_and_none_of_them_is_a_formula(tmp_path: Path) -> None:
    write_sheet(tmp_path / "interview.xlsx", "legal", ["Haftung, Schäden", "=1+1"])
    book = openpyxl.load_workbook(tmp_path / "interview.xlsx")
    assert book.sheetnames == ["instructions", "interview", "topics"]
    assert [(cell.value, cell.data_type) for cell in book["topics"]["A"]] == [
        ("Haftung, Schäden", "s"),
        ("=1+1", "s"),
    ]
    [rule] = book["interview"].data_validations.dataValidation
    assert (rule.type, rule.formula1, str(rule.sqref)) == ("list", "topics!$A$1:$A$2", "C2:C2000")
    assert not rule.showErrorMessage, "a new topic may be written"
    assert str(book["instructions"]["A1"].value).startswith("An interview for legal: ")


def test_a_sheet_is_never_written_over_and_only_where_it_can_be_opened(tmp_path: Path) -> None:
    file = tmp_path / "interview.xlsx"
    write_sheet(file, "legal")
    content = file.read_bytes()
    with pytest.raises(ConflictError, match=r"interview\.xlsx is there already"):
        write_sheet(file, "medical")
    assert file.read_bytes() == content
    with pytest.raises(BadInputError, match=r"ends in \.xlsx or \.csv \(found \.ods\)"):
        write_sheet(tmp_path / "interview.ods", "legal")
    with pytest.raises(NotFoundError, match="there is no folder"):
        write_sheet(tmp_path / "nowhere" / "interview.csv", "legal")
    assert [path.name for path in tmp_path.iterdir()] == ["interview.xlsx"]


def with_source(domain: Domain, **source: Any) -> Domain:
    changed = domain.card.source.model_copy(update=source)
    return Domain(domain.card.model_copy(update={"source": changed}), domain.folder)


def test_a_build_counts_who_answered_and_what_is_open_and_learns_neither(
    settings: Settings, domain_folder: Path, tmp_path: Path
) -> None:
    file = domain_folder / "interview.xlsx"
    write_sheet(file, "legal")
    answered: Answers = [
        {"question": f"What is {n}?", "answer": f"It is {n}.", "expert": "Dr Wu" if n % 2 else "Dr Li"}
        for n in range(100)
    ]
    fill(file, answered + [{"question": f"What is {n}?"} for n in range(100, 140)])
    domain = with_source(load_domain(settings.domains, "legal"), files=["interview.xlsx"])
    built = build_data(domain, tmp_path / "legal")
    assert built.origins == ["interview.xlsx: interview, by the columns `question`, `answer`, `expert`"]
    assert (built.rows_read, built.rejects) == (140, 0)
    assert [(step.action, step.reason, step.rows) for step in built.steps] == [
        ("dropped", "without an answer", 40),
        ("kept", "answered by Dr Li", 50),
        ("kept", "answered by Dr Wu", 50),
    ]
    rows = [row for name in built.record.splits for row in read_conversations(split_file(tmp_path / "legal", name))]
    assert len(rows) == 100
    assert not any("Dr" in row.model_dump_json() for row in rows)
