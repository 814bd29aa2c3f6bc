"""`locum data` as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from typer.testing import CliRunner

from locum.cli import app
from locum.errors import CheckFailedError, NotFoundError
from locum.settings import Settings
from tests.commands.conftest import Ran


@pytest.fixture
def runner(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name in ("home", "domains", "base", "user"):
        monkeypatch.setenv(f"LOCUM_{name.upper()}", str(getattr(settings, name)))
    return CliRunner()


def test_build_says_that_nothing_leaks(runner: CliRunner, domain_folder: Path, settings: Settings) -> None:
    result = runner.invoke(app, ["data", "build", "legal"])
    assert result.exit_code == 0
    assert "nor a trivial variant of one" in " ".join(result.output.split())
    built = json.loads(runner.invoke(app, ["data", "build", "legal", "--json"]).stdout)
    assert set(built["record"]["splits"]) == {"train", "validation", "test"}
    assert (settings.data_path("legal") / "data.json").is_file()


def test_check_lists_wrong_rows_and_fails(runner: CliRunner, domain_folder: Path) -> None:
    good = domain_folder / "conversations.jsonl"
    assert runner.invoke(app, ["data", "check", str(good)]).exit_code == 0
    bad = domain_folder / "bad.jsonl"
    bad.write_text(good.read_text().splitlines()[0] + "\n" + "nonsense\n" * 30)
    result = runner.invoke(app, ["data", "check", str(bad)])
    assert isinstance(result.exception, CheckFailedError)
    assert "30 of 31 rows" in str(result.exception)
    assert result.output.count(": row: ") == 20
    assert "10 more" in result.output
    found = json.loads(runner.invoke(app, ["data", "check", str(bad), "--json"]).stdout)
    assert found["wrong"] == 30
    runner.invoke(app, ["data", "check", str(bad), "--rejects", str(domain_folder / "rejects.jsonl")])
    rejects = [json.loads(line) for line in (domain_folder / "rejects.jsonl").read_text().splitlines()]
    assert [each["number"] for each in rejects] == list(range(2, 32))
    for wrong, expected in (
        (["--column", "queston=Frage"], "expected one of question"),
        (["--format", "xml"], "sharegpt"),
    ):
        assert expected in str(runner.invoke(app, ["data", "check", str(good), *wrong]).exception)


def test_report_shows_lengths_topics_steps_and_samples_and_needs_built_data(
    runner: CliRunner, domain_folder: Path, settings: Settings
) -> None:
    result = runner.invoke(app, ["data", "report", "legal"])
    assert isinstance(result.exception, NotFoundError)
    assert result.exception.hint == "locum data build legal"
    rows = [
        {"prompt": f"Wer haftet <b>{n}</b>? +44 20 7946 0958", "completion": f"Niemand {n}.", "topic": "Haftung"}
        for n in range(200)
    ]
    (domain_folder / "conversations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    built = runner.invoke(app, ["data", "build", "legal"])
    assert built.exit_code == 0, built.exception
    assert "Changed: 200 personal data masked." in built.output
    assert "Haftung" in built.output
    html, card = (Path(line) for line in runner.invoke(app, ["data", "report", "legal"]).stdout.splitlines())
    page = html.read_text()
    for shown in ("Lengths in characters", "Haftung", "personal data masked", "Wer haftet &lt;b&gt;", "&lt;PHONE&gt;"):
        assert shown in page
    assert "<b>" not in page
    assert "| train | 160 |" in card.read_text()
    assert "Names and addresses of people are not looked for" in card.read_text()


@pytest.mark.parametrize(
    ("chosen", "rejected", "told"),
    [
        ("Because <i>it</i> is so.", "No.", "at length rather than well"),
        ("No.", "Because <i>it</i> is so.", "briefly rather than well"),
        ("<i>yes</i>", "<i>not</i>", "length alone does not tell"),
    ],
)
def test_report_shows_preference_pairs_and_which_of_the_answers_is_the_longer(
    runner: CliRunner, domain_folder: Path, settings: Settings, chosen: str, rejected: str, told: str
) -> None:
    pairs = [{"prompt": f"Who pays for {n}?", "chosen": chosen, "rejected": rejected} for n in range(200)]
    (domain_folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    with (domain_folder / "card.yaml").open("a") as card:
        card.write("preferences: {files: [pairs.jsonl], licence: theirs}\n")
    assert runner.invoke(app, ["data", "build", "legal"]).exit_code == 0
    html, data_card = (Path(line) for line in runner.invoke(app, ["data", "report", "legal"]).stdout.splitlines())
    page = html.read_text()
    for shown in ("Preference pairs", told, "&lt;i&gt;", "assistant, chosen", "assistant, rejected"):
        assert shown in page
    assert "<i>" not in page
    assert told in data_card.read_text()
    assert "- Licence: theirs" in data_card.read_text()


def test_a_sheet_offers_the_topics_that_are_built_and_says_what_is_next(
    locum: Callable[..., Ran], domain_folder: Path, workplace: Path
) -> None:
    empty = locum("data", "sheet", "legal", "first.xlsx", "--json")
    assert empty.json == {"sheet": "first.xlsx", "topics": []}
    rows = "".join(f"Was ist {n}?,Nummer {n},{'Recht' if n % 2 else 'Haftung'}\n" for n in range(200))
    (domain_folder / "rows.csv").write_text("question,answer,topic\n" + rows)
    card = domain_folder / "card.yaml"
    card.write_text(card.read_text().replace("conversations.jsonl", "rows.csv"))
    assert locum("data", "build", "legal").code == 0
    written = locum("data", "sheet", "legal", "second.xlsx")
    assert (written.code, written.out.splitlines()[-1]) == (
        0,
        "When it is filled in: locum data check second.xlsx",
    )
    topics = openpyxl.load_workbook(workplace / "second.xlsx")["topics"]
    assert [cell.value for cell in topics["A"]] == ["Haftung", "Recht"]
    again = locum("data", "sheet", "legal", "second.xlsx")
    assert (again.code, "is there already" in again.err) == (2, True)


def test_what_an_interview_leaves_open_is_said_and_no_mistake(locum: Callable[..., Ran], domain_folder: Path) -> None:
    answered = "".join(f"Was ist {n}?,Nummer {n},Dr. Wu\n" for n in range(100))
    file = domain_folder / "interview.csv"
    file.write_text("question,answer,expert\nNoch offen?,,\n" + answered)
    checked = locum("data", "check", str(file))
    assert (checked.code, checked.out.splitlines()[-1]) == (
        0,
        "100 of 101 rows read: 100 answers, 1,980 characters, 0 groups, 0 topics; left out: 1 without an answer.",
    )
    card = domain_folder / "card.yaml"
    card.write_text(card.read_text().replace("conversations.jsonl", "interview.csv"))
    built = locum("data", "build", "legal")
    assert (built.code, "Left out of 101 rows: 1 without an answer." in built.out) == (0, True)


def test_speakers_of_a_log_are_named_on_the_command_line(locum: Callable[..., Ran], workplace: Path) -> None:
    (workplace / "log.csv").write_text("session,speaker,text\n1,Kundin,Q\n1,Frau Wu,A\n")
    assert locum("data", "check", "log.csv").code == 1
    named = locum("data", "check", "log.csv", "--role", "Kundin=user", "--role", "Frau Wu=assistant")
    assert (named.code, "1 row, all right: 1 answer," in named.out) == (0, True)
    for wrong, told in (("Kundin", "expected THEIRS=OURS"), ("Kundin=boss", "expected one of user, assistant")):
        refused = locum("data", "check", "log.csv", "--role", wrong)
        assert (refused.code, told in refused.err) == (2, True)


def test_a_report_stays_while_the_data_stay_the_same(runner: CliRunner, domain_folder: Path) -> None:
    def build() -> None:
        assert runner.invoke(app, ["data", "build", "legal"]).exit_code == 0

    build()
    html, data_card = (Path(line) for line in runner.invoke(app, ["data", "report", "legal"]).stdout.splitlines())
    build()
    assert html.is_file() and data_card.is_file()
    rows = domain_folder / "conversations.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[1:]))
    build()
    assert not html.exists() and not data_card.exists()


def test_check_says_how_a_file_is_read_and_takes_an_encoding(runner: CliRunner, tmp_path: Path) -> None:
    file = tmp_path / "deutsch.csv"
    file.write_bytes("Frage;Antwort\nWie kündige ich?;In Köln, mit drei Monaten Frist.\n".encode("cp1252"))
    command = ["data", "check", str(file), "--column", "question=Frage", "--column", "answer=Antwort"]
    told = " ".join(runner.invoke(app, command).output.split())
    assert "read as Windows-1252 (cp1252): 'kündige'" in told
    assert "1 row, all right" in told
    set_by_hand = runner.invoke(app, [*command, "--encoding", "windows-1252"])
    assert set_by_hand.exit_code == 0
    assert "read as" not in set_by_hand.output
    wrong = runner.invoke(app, [*command, "--encoding", "utf-9"])
    assert "--encoding: 'utf-9' is no encoding that is known" in str(wrong.exception)


def test_check_calls_an_empty_file_empty(runner: CliRunner, tmp_path: Path) -> None:
    for name in ("rows.jsonl", "rows.json", "rows.csv", "rows.txt", "rows.xlsx", "rows.parquet"):
        (tmp_path / name).touch()
        for options in ([], ["--format", "completion"]):
            error = runner.invoke(app, ["data", "check", str(tmp_path / name), *options]).exception
            assert f"{name} is empty: 0 bytes" in str(error)
