"""`locum feedback`: counts, comments, and files that `locum data` reads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from locum.adapters.conversations import read_conversations, read_preferences
from locum.adapters.feedback import Feedback, feedback_on, record_feedback
from locum.adapters.registry import Registry
from tests.commands.conftest import Ran

ASKED = [{"role": "user", "content": "Is it contagious?"}]


@pytest.fixture
def given(registry: Registry) -> list[Feedback]:
    fields = {"domain": "medical", "model": "medical@2", "verified": True}
    rows: list[dict[str, Any]] = [
        {"answer_id": "1", "rating": "up", "messages": ASKED, "answer": "Yes.", "at": datetime(2026, 2, 1, tzinfo=UTC)},
        {"answer_id": "2", "rating": "down", "comment": "[b]vague[/b] \x1b]0;owned\x07\u202e", "user": "u1",
         "at": datetime(2026, 3, 1, tzinfo=UTC)},
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
    assert "[b]vague[/b] ␛]0;owned␇[U+202E]" in shown  # what would command the terminal is seen, and does nothing
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
    assert "there is no domain 'medical'" in refused.err
    register()
    assert "Nobody has said anything of legal yet" in locum("feedback", "legal").out


def test_what_one_user_said_is_shown_and_deleted_in_all_domains(
    locum: Callable[..., Ran], registry: Registry, given: list[Feedback]
) -> None:
    record_feedback(registry, given[0].model_copy(update={"domain": "base", "model": "tiny", "user": "u1"}))
    shown = locum("feedback", "--user", "u1")
    assert "Feedback on all domains" in shown.out
    assert "medical@3" not in shown.out
    asked = locum("feedback", "--user", "u1", "--delete", typed="n\n")
    assert asked.code == 1
    assert "Delete 2 ratings of 1 user, with all texts in them, for good?" in asked.err
    assert len(feedback_on(registry, None, user="u1")) == 2
    assert "Deleted 2 ratings of 1 user" in locum("feedback", "--user", "u1", "--delete", typed="y\n").out
    assert feedback_on(registry, None) == [given[0], given[2]]
    assert locum("feedback", "--user", "u1", "--delete", "--yes", "--json").json["deleted"] == 0
    assert "that fits what was asked for" in locum("feedback", "--user", "u1").out


def test_feedback_is_deleted_by_answer_and_by_age(
    locum: Callable[..., Ran], registry: Registry, given: list[Feedback]
) -> None:
    new = given[0].model_copy(update={"answer_id": "4", "at": datetime.now(UTC)})
    record_feedback(registry, new)
    assert locum("feedback", "medical", "--answer", "chatcmpl-3", "--delete", "--yes", "--json").json["deleted"] == 1
    assert feedback_on(registry, "medical") == [*given[:2], new]
    assert locum("feedback", "medical", "--older-than", "1", "--delete", "--yes", "--json").json["deleted"] == 2
    assert feedback_on(registry, "medical") == [new]


def test_nothing_is_deleted_that_was_not_chosen(
    locum: Callable[..., Ran], registry: Registry, given: list[Feedback]
) -> None:
    refused = locum("feedback", "medical", "--delete", "--yes")
    assert refused.code == 2
    assert "expected what to delete" in refused.err
    assert feedback_on(registry, "medical") == given


def test_a_form_without_a_file_to_write_is_refused(locum: Callable[..., Ran], given: list[Feedback]) -> None:
    ran = locum("feedback", "medical", "--as", "preferences")
    assert ran.code == 2
    assert "--as preferences: expected --export FILE beside it" in ran.err
