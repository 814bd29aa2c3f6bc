"""Feedback in the registry: with the version that spoke, the last word of each user."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from locum.adapters.feedback import Feedback, feedback_on, record_feedback, version_name
from locum.adapters.registry import Registry
from locum.settings import Settings

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def said(answer_id: str = "a1", **changes: object) -> Feedback:
    fields = {"domain": "medical", "model": "medical@2", "answer_id": answer_id, "verified": True, "at": NOW}
    return Feedback.model_validate({**fields, "rating": "up", **changes})


@pytest.fixture
def registry(settings: Settings) -> Registry:
    return Registry.open(settings)


def test_feedback_is_found_by_domain_and_time(registry: Registry) -> None:
    later = NOW + timedelta(hours=1)
    for each in (said(), said("a2", at=later), said("a3", domain="base", model="tiny")):
        assert record_feedback(registry, each) is False
    assert feedback_on(registry, "medical") == [said(), said("a2", at=later)]
    assert feedback_on(registry, "base") == [said("a3", domain="base", model="tiny")]
    elsewhere = later.astimezone(timezone(timedelta(hours=8)))
    assert feedback_on(registry, "medical", since=elsewhere) == [said("a2", at=later)]


def test_a_user_who_changes_their_mind_counts_once_and_two_users_count_twice(registry: Registry) -> None:
    record_feedback(registry, said(user="u1"))
    record_feedback(registry, said(user="u2"))
    assert record_feedback(registry, said(user="u1", rating="down", comment="no")) is True
    assert [(each.user, each.rating) for each in feedback_on(registry, "medical")] == [("u2", "up"), ("u1", "down")]


def test_a_version_that_never_was_has_no_name(registry: Registry) -> None:
    assert version_name(registry, 1) is None
