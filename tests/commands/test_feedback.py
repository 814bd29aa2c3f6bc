"""`locum feedback`: counts, comments, and files that `locum data` reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from locum.adapters.conversations import read_conversations, read_preferences
from locum.adapters.feedback import Feedback, record_feedback
from locum.adapters.registry import Registry
from locum.commands.feedback import add_to
from locum.errors import ConflictError, NotFoundError

ASKED = [{"role": "user", "content": "Is it contagious?"}]


@pytest.fixture
def run(workplace: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command and gives what it printed."""
    app = typer.Typer()
    app.callback()(lambda: None)
    add_to(app)

    def call(*arguments: str) -> str:
        capsys.readouterr()
        app(["feedback", *arguments], standalone_mode=False)
        return capsys.readouterr().out

    return call


@pytest.fixture
def given(registry: Registry) -> list[Feedback]:
    fields = {"domain": "medical", "model": "medical@2", "verified": True}
    rows: list[dict[str, Any]] = [
        {"answer_id": "1", "rating": "up", "messages": ASKED, "answer": "Yes.", "at": datetime(2026, 2, 1, tzinfo=UTC)},
        {"answer_id": "2", "rating": "down", "comment": "[b]vague[/b]", "at": datetime(2026, 3, 1, tzinfo=UTC)},
        {"answer_id": "3", "rating": "down", "messages": ASKED, "answer": "No.", "better": "Yes, a week.",
         "verified": False, "model": "medical@3", "at": datetime(2026, 3, 2, tzinfo=UTC)},
    ]  # fmt: skip
    made = [Feedback.model_validate({**fields, **row}) for row in rows]
    for each in made:
        record_feedback(registry, each)
    return made


def test_versions_and_comments_are_shown(run: Callable[..., str], given: list[Feedback]) -> None:
    shown = run("medical")
    assert "medical@2" in shown
    assert "0.500 [0.095, 0.905]" in shown  # Wilson's interval of 1 of 2
    assert "[b]vague[/b]" in shown
    assert "1 of 3 are credited to the version that the application named" in shown
    assert "medical@2" not in run("medical", "--since", "2026-03-02")


def test_json_holds_the_same(run: Callable[..., str], given: list[Feedback]) -> None:
    found = json.loads(run("medical", "--json"))
    assert [(each["model"], each["up"], each["down"]) for each in found["versions"]] == [
        ("medical@2", 1, 1),
        ("medical@3", 0, 1),
    ]


def test_exports_are_read_back(run: Callable[..., str], given: list[Feedback], tmp_path: Path) -> None:
    ratings, liked, pairs = (str(tmp_path / name) for name in ("ratings.jsonl", "liked.jsonl", "pairs.jsonl"))
    assert "3 ratings in" in run("medical", "--export", ratings)
    assert [Feedback.model_validate_json(line) for line in Path(ratings).read_text().splitlines()] == given
    run("medical", "--export", liked, "--as", "conversations")
    assert [row.answer for row in read_conversations(Path(liked))] == ["Yes.", "Yes, a week."]
    run("medical", "--export", pairs, "--as", "preferences")
    assert {(row.chosen, row.rejected) for row in read_preferences(Path(pairs))} == {
        ("Yes, a week.", "No."),
        ("Yes.", "No."),
    }
    with pytest.raises(ConflictError, match="is there already"):
        run("medical", "--export", pairs)


def test_nothing_said_is_told_and_an_unknown_domain_is_refused(
    run: Callable[..., str], register: Callable[[], object]
) -> None:
    assert "Nobody has said anything of base yet" in run("base")
    with pytest.raises(NotFoundError, match="medical has no version"):
        run("medical")
    register()
    assert "Nobody has said anything of legal yet" in run("legal")
