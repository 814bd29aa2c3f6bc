"""`locum feedback`: counts, comments, and files that `locum data` reads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from locum.adapters.conversations import read_conversations, read_preferences
from locum.adapters.feedback import Feedback, record_feedback
from locum.adapters.registry import Registry
from tests.commands.conftest import Ran

ASKED = [{"role": "user", "content": "Is it contagious?"}]


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


def test_versions_and_comments_are_shown(locum: Callable[..., Ran], given: list[Feedback]) -> None:
    shown = locum("feedback", "medical").out
    assert "medical@2" in shown
    assert "0.500 [0.095, 0.905]" in shown  # Wilson's interval of 1 of 2
    assert "[b]vague[/b]" in shown
    assert "1 of 3 are credited to the version that the application named" in shown
    assert "medical@2" not in locum("feedback", "medical", "--since", "2026-03-02").out


def test_json_holds_the_same(locum: Callable[..., Ran], given: list[Feedback]) -> None:
    found = locum("feedback", "medical", "--json").json
    assert [(each["model"], each["up"], each["down"]) for each in found["versions"]] == [
        ("medical@2", 1, 1),
        ("medical@3", 0, 1),
    ]


def test_exports_are_read_back(locum: Callable[..., Ran], given: list[Feedback], tmp_path: Path) -> None:
    ratings, liked, pairs = (str(tmp_path / name) for name in ("ratings.jsonl", "liked.jsonl", "pairs.jsonl"))
    assert "3 ratings in" in locum("feedback", "medical", "--export", ratings).out
    assert [Feedback.model_validate_json(line) for line in Path(ratings).read_text().splitlines()] == given
    locum("feedback", "medical", "--export", liked, "--as", "conversations")
    assert [row.answer for row in read_conversations(Path(liked))] == ["Yes.", "Yes, a week."]
    locum("feedback", "medical", "--export", pairs, "--as", "preferences")
    assert {(row.chosen, row.rejected) for row in read_preferences(Path(pairs))} == {
        ("Yes, a week.", "No."),
        ("Yes.", "No."),
    }
    again = locum("feedback", "medical", "--export", pairs)
    assert again.code == 2
    assert "is there already" in again.err


def test_nothing_said_is_told_and_an_unknown_domain_is_refused(
    locum: Callable[..., Ran], register: Callable[[], object]
) -> None:
    assert "Nobody has said anything of base yet" in locum("feedback", "base").out
    refused = locum("feedback", "medical")
    assert refused.code == 2
    assert "medical has no version" in refused.err
    register()
    assert "Nobody has said anything of legal yet" in locum("feedback", "legal").out
