"""The review queue: what was written stays, decisions are added, and two people do not overrule each other unseen."""

from __future__ import annotations

import csv
import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from locum.errors import BadInputError, ConflictError, NotFoundError, UnavailableError
from locum.train.data.decisions import read_sheet, write_sheet
from locum.train.data.reviews import Draft, Reviews, Verdict

DRAFTS = [Draft("passage", f"Why {n}?", f"Because {n}.", file="a.md", heading="B", passage="P") for n in range(4)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reviews" / "legal.db"


@pytest.fixture
def queue(path: Path) -> Iterator[Reviews]:
    queue = Reviews(path)
    queue.add("key", DRAFTS, teacher="t", prompt="1")
    yield queue
    queue.close()


def accept(queue: Reviews, number: int, **changes: str) -> Verdict:
    item = queue.items()[number]
    return replace(Verdict(item, "accepted", item.question, item.answer), **changes)  # type: ignore[arg-type]


def test_what_a_model_wrote_is_pending_with_all_that_is_known_of_it(queue: Reviews) -> None:
    item = queue.items("pending")[0]
    assert (item.question, item.answer, item.source, item.teacher, item.prompt) == (
        "Why 0?", "Because 0.", "a.md § B", "t", "1",
    )  # fmt: skip
    assert item.written.startswith("20")
    assert queue.counts() == {"pending": 4, "accepted": 0, "rejected": 0}
    assert queue.asked("key")
    assert not queue.asked("other")


def test_the_same_question_and_answer_are_taken_once(queue: Reviews) -> None:
    new = [*DRAFTS[:2], Draft("synthetic", "Else?", "Yes.")]
    assert queue.add("other", new, teacher="t2", prompt="1") == 1
    assert [item.teacher for item in queue.items()] == ["t"] * 4 + ["t2"]


def test_the_last_decision_counts_and_the_first_text_is_kept(queue: Reviews) -> None:
    queue.decide([accept(queue, 0, question="Why, edited?")], by="anna", how="one by one")
    edited = queue.items("accepted")[0]
    assert (edited.edited, edited.question, edited.draft.question) == (True, "Why, edited?", "Why 0?")
    queue.decide([Verdict(edited, "rejected", "Why 0?", "Because 0.", "wrong")], by="ben", how="one by one")
    [rejected] = queue.items("rejected")
    assert rejected.decision is not None
    assert (rejected.decision.by, rejected.decision.reason, rejected.edited) == ("ben", "wrong", False)
    assert queue.counts() == {"pending": 3, "accepted": 0, "rejected": 1}


def test_who_has_not_seen_a_decision_cannot_overrule_it_and_all_of_theirs_stay_undone(queue: Reviews) -> None:
    stale = [accept(queue, 1), accept(queue, 0)]
    queue.decide([accept(queue, 0)], by="anna", how="one by one")
    with pytest.raises(ConflictError, match="item 1 was accepted by anna meanwhile"):
        queue.decide(stale, by="ben", how="one by one")
    assert queue.counts()["accepted"] == 1
    gone = replace(stale[0].item, id=99)
    with pytest.raises(NotFoundError, match="no item 99"):
        queue.decide([replace(stale[0], item=gone)], by="ben", how="one by one")


def test_a_file_that_is_no_queue_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "legal.db").write_text("this is no database, " * 100)
    with pytest.raises(UnavailableError, match=r"legal\.db cannot be opened"):
        Reviews(tmp_path / "legal.db")


def _decide_all(path: Path, by: str, both_have_looked: Any) -> None:
    queue = Reviews(path)
    seen = queue.items()
    both_have_looked.wait(180)
    for item in seen:
        try:
            queue.decide([Verdict(item, "accepted", item.question, item.answer)], by=by, how="one by one")
        except ConflictError:
            continue
    queue.add(by, [Draft("synthetic", f"{by} {n}?", "x") for n in range(20)], teacher="t", prompt="1")


def test_two_processes_at_once_lose_nothing_and_decide_nothing_twice(queue: Reviews, path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [context.Process(target=_decide_all, args=(path, by, barrier)) for by in ("anna", "ben")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(180)
        assert process.exitcode == 0
    assert len(queue.items()) == 4 + 40
    decided = queue.db.execute("SELECT item, COUNT(*) FROM decision WHERE item <= 4 GROUP BY item").fetchall()
    assert decided == [(1, 1), (2, 1), (3, 1), (4, 1)]


def fill(file: Path, cells: dict[tuple[int, str], str]) -> None:
    """Write into a sheet as an expert would: row from 1, column by name."""
    if file.suffix == ".xlsx":
        book = openpyxl.load_workbook(file)
        sheet = book.worksheets[0]
        names = [cell.value for cell in sheet[1]]
        for (row, name), text in cells.items():
            sheet.cell(row + 1, names.index(name) + 1, text)
        book.save(file)
        return
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    for (row, name), text in cells.items():
        rows[row - 1][name] = text
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]), delimiter=";")  # as Excel does in some countries
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_an_expert_decides_in_a_sheet(queue: Reviews, tmp_path: Path, suffix: str) -> None:
    tricky = Draft("synthetic", "=HYPERLINK(1)", '- a list\n- of "two"; things')
    of_a_row = Draft("question", "Blank ends? ", "As in\r\na row. ")
    queue.add("tricky", [tricky, of_a_row], teacher="t", prompt="1")
    file = tmp_path / f"sheet{suffix}"
    write_sheet(queue.items("pending"), file)
    edited = {(1, "decision"): "accept", (1, "answer"): "Because of that.", (5, "decision"): "Accept"}
    fill(file, {**edited, (2, "decision"): "reject", (2, "reason"): "wrong"})
    verdicts, undecided = read_sheet(file, queue)
    assert undecided == 3
    assert queue.decide(verdicts, by="anna", how="in a sheet") == 3
    states = [(item.state, item.question, item.answer) for item in queue.items()]
    assert states[0] == ("accepted", "Why 0?", "Because of that.")
    assert states[1] == ("rejected", "Why 1?", "Because 1.")
    assert states[4] == ("accepted", tricky.question, tricky.answer)
    assert [item.edited for item in queue.items()] == [True, False, False, False, False, False]
    assert read_sheet(file, queue) == ([], 3)  # the same sheet again is nothing new


def test_a_sheet_computes_nothing_that_a_model_wrote(queue: Reviews, tmp_path: Path) -> None:
    queue.add("tricky", [Draft("synthetic", "=1+1", "+2")], teacher="@t", prompt="1")
    write_sheet(queue.items(), tmp_path / "a.xlsx")
    cells = [cell for row in openpyxl.load_workbook(tmp_path / "a.xlsx").worksheets[0].iter_rows() for cell in row]
    assert "=1+1" in {cell.value for cell in cells}
    assert "f" not in {cell.data_type for cell in cells}
    write_sheet(queue.items(), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as lines:
        assert not [cell for row in csv.reader(lines) for cell in row if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize(
    ("cells", "complaint"),
    [
        ({(1, "decision"): "maybe"}, r":1: decision: expected accept or reject, found 'maybe'"),
        ({(2, "decision"): "reject"}, r":2: a rejection needs a reason"),
        ({(1, "decision"): "accept", (1, "answer"): " "}, r":1: an accepted item needs a question and an answer"),
        ({(3, "answer"): "Changed."}, r":3: question or answer was changed, but no decision"),
        ({(4, "id"): "77"}, r":4: there is no item '77'"),
        ({(1, "id"): "2", (1, "decision"): "accept", (2, "decision"): "accept"}, r"item 2 is there twice"),
    ],
)
def test_a_sheet_with_a_wrong_row_is_refused_whole(
    queue: Reviews, tmp_path: Path, cells: dict[tuple[int, str], str], complaint: str
) -> None:
    file = tmp_path / "sheet.csv"
    write_sheet(queue.items("pending"), file)
    fill(file, {(4, "decision"): "accept", **cells})
    with pytest.raises(BadInputError, match=rf"(?s)1 rows of .* none was taken.*{complaint}"):
        read_sheet(file, queue)


def test_a_sheet_does_not_overrule_what_was_decided_since(queue: Reviews, tmp_path: Path) -> None:
    file = tmp_path / "sheet.csv"
    write_sheet(queue.items("pending"), file)
    fill(file, {(1, "decision"): "reject", (1, "reason"): "wrong"})
    queue.decide([accept(queue, 0)], by="anna", how="one by one")
    with pytest.raises(BadInputError, match="item 1 was accepted by anna already"):
        read_sheet(file, queue)


def test_what_is_no_sheet_is_refused_and_leaves_nothing_behind(queue: Reviews, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"expected \.csv or \.xlsx"):
        write_sheet(queue.items(), tmp_path / "sheet.pdf")
    (tmp_path / "other.csv").write_text("name,age\nanna,3\n")
    with pytest.raises(BadInputError, match="expected the columns id, decision, question and answer, found name, age"):
        read_sheet(tmp_path / "other.csv", queue)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other.csv", "reviews"]
