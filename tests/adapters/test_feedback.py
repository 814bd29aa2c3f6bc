"""Feedback in the registry: with the version that spoke, the last word of each user."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from locum.adapters.feedback import Feedback, bare_id, delete_feedback, feedback_on, record_feedback, version_name
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


@pytest.mark.parametrize("way", ["{0}", "chatcmpl-{0}", "cmpl-{0}", "chatcmpl-cmpl-{0}"])
def test_an_answers_id_is_one_however_it_is_written(way: str) -> None:
    ours = "836b173a432fca740000000141e73bd530e4b979"
    assert bare_id(way.format(ours)) == bare_id(way.format(ours.upper())) == ours
    assert bare_id(way.format("Visit-77")) == "Visit-77"


def test_feedback_is_chosen_by_answer_user_and_age(registry: Registry) -> None:
    old = NOW - timedelta(days=90)
    given = [said(user="u1", at=old), said("a2", user="u1"), said("a2", user="u2"), said("a3", domain="base")]
    for each in given:
        record_feedback(registry, each)
    assert feedback_on(registry, None) == given
    assert feedback_on(registry, None, user="u1") == given[:2]
    assert feedback_on(registry, "medical", answer_id="chatcmpl-a2") == given[1:3]
    assert feedback_on(registry, None, before=NOW) == given[:1]
    delete_feedback(registry, given[1:2])
    assert feedback_on(registry, None) == [given[0], *given[2:]]


def test_what_is_deleted_or_taken_back_leaves_no_word_in_the_registrys_files(
    registry: Registry, settings: Settings
) -> None:
    def files() -> bytes:
        return b"".join(file.read_bytes() for file in settings.home.glob("registry.db*"))

    record_feedback(registry, said(user="u1", comment="my-diagnosis-is"))
    record_feedback(registry, said(user="u1", comment="second-thoughts"))
    assert b"second-thoughts" in files()
    delete_feedback(registry, feedback_on(registry, "medical"))
    assert b"my-diagnosis-is" not in files()
    assert b"second-thoughts" not in files()


def test_a_version_that_never_was_has_no_name(registry: Registry) -> None:
    assert version_name(registry, 1) is None
