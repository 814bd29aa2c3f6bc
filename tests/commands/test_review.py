"""`locum data review` as people use it: in the terminal, in a sheet, from a script."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from locum.cli import app
from locum.errors import BadInputError, NotFoundError
from locum.settings import Settings
from locum.train.data.reviews import Draft, Item, Reviews, Verdict

Review = Callable[..., Result]


@pytest.fixture
def review(settings: Settings, domain_folder: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Review:
    """Runs `locum data review legal` and types into it; three items are pending."""
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    with closing(Reviews(settings.reviews_path("legal"))) as queue:
        drafts = [
            Draft("passage", f"Why [{n}]?", f"Because {n}.", file="a.md", heading="Top", passage=f"The [passage] {n}.")
            for n in range(2)
        ]
        queue.add("key", [*drafts, Draft("synthetic", "Else?", "No.")], teacher="teacher-7b", prompt="1")

    def run(*arguments: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(app, ["data", "review", "legal", *arguments], input=typed)

    return run


def items(settings: Settings) -> list[Item]:
    with closing(Reviews(settings.reviews_path("legal"))) as queue:
        return queue.items()


def states(settings: Settings) -> list[str]:
    return [item.state for item in items(settings)]


def test_items_are_shown_one_by_one_beside_what_they_come_from(review: Review, settings: Settings) -> None:
    result = review(typed="a\nr\nwrong dose\ns\n")
    assert result.exit_code == 0, result.exception
    for shown in ("1 of 3", "a.md § Top", "The [passage] 0.", "Why [0]?", "Because 0.", "teacher-7b", "3 of 3"):
        assert shown in result.output
    assert "[a]ccept  [e]dit  [r]eject  [s]kip  [b]ack  [q]uit" in result.output
    assert "From: the card alone" in result.output
    assert "1 pending, 1 accepted, 1 rejected." in result.output
    assert states(settings) == ["accepted", "rejected", "pending"]
    decision = items(settings)[1].decision
    assert decision is not None
    assert (decision.by, decision.reason, decision.how) == ("tester", "wrong dose", "one by one")


def test_one_can_go_back_and_decide_again(review: Review, settings: Settings) -> None:
    result = review(typed="b\na\nb\nr\nno\nq\n")
    assert result.exit_code == 0
    assert "accepted by tester on" in result.output
    assert states(settings) == ["rejected", "pending", "pending"]


def test_a_rejection_without_a_reason_and_a_wrong_key_decide_nothing(review: Review, settings: Settings) -> None:
    result = review(typed="r\n\nx\nq\n")
    assert "found 'x'" in result.output
    assert states(settings) == ["pending"] * 3


def test_when_the_input_ends_what_was_decided_stays(review: Review, settings: Settings) -> None:
    result = review(typed="a\n")
    assert result.exit_code == 0
    assert states(settings) == ["accepted", "pending", "pending"]
    assert "2 pending, 1 accepted" in result.output


def test_without_an_editor_one_edits_line_by_line(review: Review, settings: Settings) -> None:
    review(typed="e\n\nBecause of that.\nq\n")
    item = items(settings)[0]
    assert (item.state, item.question, item.answer, item.edited) == ("accepted", "Why [0]?", "Because of that.", True)


@pytest.mark.parametrize(
    ("change", "state", "said"),
    [
        ("text.replace('Because 0.', 'Two\\n\\nlines.')", "accepted", "1 accepted"),
        ("text.replace('# Answer', '')", "pending", "Expected a question, the line `# Answer` and an answer"),
        ("sys.exit(3)", "pending", "The editor failed, nothing is changed"),
    ],
)
def test_with_an_editor_one_edits_in_it(
    review: Review,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    change: str,
    state: str,
    said: str,
) -> None:
    script = tmp_path / "editor.py"
    script.write_text(
        f"import pathlib, sys\nfile = pathlib.Path(sys.argv[-1])\ntext = file.read_text()\nfile.write_text({change})\n"
    )
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
    result = review(typed="e\nq\n")
    assert said in result.output
    item = items(settings)[0]
    assert item.state == state
    assert item.answer == ("Two\n\nlines." if state == "accepted" else "Because 0.")


def test_what_somebody_else_decided_meanwhile_stands(
    review: Review, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = Reviews.decide, []

    def decide(queue: Reviews, verdicts: list[Verdict], *, by: str, how: str) -> int:
        if not asked:
            asked.append(by)
            real(queue, [Verdict(verdicts[0].item, "rejected", "x", "x", "no")], by="anna", how="one by one")
        return real(queue, verdicts, by=by, how=how)  # type: ignore[arg-type]

    monkeypatch.setattr(Reviews, "decide", decide)
    result = review(typed="a\nq\n")
    assert "item 1 was rejected by anna meanwhile. What was decided stands." in result.output
    assert states(settings)[0] == "rejected"


def test_an_expert_decides_in_a_sheet(review: Review, settings: Settings, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    result = review("--export", str(sheet))
    assert f"3 pending items in {sheet}" in result.output
    with sheet.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    rows[0]["decision"], rows[1]["decision"], rows[1]["reason"] = "accept", "reject", "not in the passage"
    with sheet.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    taken = json.loads(review("--import", str(sheet), "--json").stdout)
    assert taken == {"taken": 2, "undecided": 1, "queue": {"pending": 1, "accepted": 1, "rejected": 1}}
    assert [item.decision.how for item in items(settings) if item.decision] == ["in a sheet"] * 2


def test_all_are_accepted_unseen_only_with_a_reason_that_is_kept(review: Review, settings: Settings) -> None:
    for arguments in (["--accept-all"], ["--accept-all", "--reason", " "], ["--reason", "x"]):
        result = review(*arguments)
        assert isinstance(result.exception, BadInputError)
        assert "needs a --reason" in str(result.exception)
    assert states(settings) == ["pending"] * 3
    result = review("--accept-all", "--reason", "seen elsewhere")
    assert "3 items accepted unseen by tester." in result.output
    assert "Next: locum data build legal" in result.output
    decisions = [item.decision for item in items(settings)]
    assert {(each.how, each.reason) for each in decisions if each} == {("all at once", "seen elsewhere")}
    assert "Nothing is pending." in review().output


def test_programs_see_all_that_is_known_of_an_item(review: Review) -> None:
    review(typed="e\nWhy?\n\nq\n")
    first, *others = json.loads(review("--list", "--json").stdout)
    assert json.loads(review("--json").stdout) == [first, *others]
    assert (first["state"], first["question"], first["edited"]) == ("accepted", "Why?", True)
    assert (first["written"]["question"], first["written"]["by"], first["decision"]["by"]) == (
        "Why [0]?", "teacher-7b", "tester",
    )  # fmt: skip
    assert others[0]["decision"] is None
    listed = review("--list").output
    assert "Because 1." in listed
    assert "2 pending, 1 accepted, 0 rejected." in listed


def test_one_thing_at_a_time_and_only_for_domains_there_are(review: Review, tmp_path: Path) -> None:
    result = review("--list", "--export", str(tmp_path / "a.csv"))
    assert isinstance(result.exception, BadInputError)
    assert "found --list and --export" in str(result.exception)
    assert isinstance(review("--import", str(tmp_path / "a.csv")).exception, NotFoundError)
    other = CliRunner().invoke(app, ["data", "review", "nowhere"])
    assert isinstance(other.exception, NotFoundError)
