"""Votes: one a reviewer and question, kept at once, undone from the last."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from locum.adapters.conversations import Message
from locum.adapters.registry import Registry
from locum.adapters.votes import (
    ArenaQuestion,
    Vote,
    arenas,
    delete_votes,
    open_arena,
    questions,
    record_vote,
    undo_vote,
    votes,
)
from locum.errors import ConflictError, NotFoundError
from locum.settings import Settings
from tests.records import arena_of

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
ARENA = arena_of()
QUESTIONS = [
    ArenaQuestion(
        number=number,
        sample=f"s{number}",
        messages=[Message(role="user", content=f"Question {number}?")],
        model_answer="yes",
        against_answer="no",
    )
    for number in range(3)
]


def vote(number: int, reviewer: str = "ada") -> Vote:
    return Vote(number=number, reviewer=reviewer, preferred="model", left="against", comment="喜欢 <b>", at=NOW)


@pytest.fixture
def registry(settings: Settings) -> Registry:
    return Registry.open(settings)


@pytest.fixture
def arena(registry: Registry) -> int:
    return open_arena(registry, "d", ARENA, QUESTIONS)[0]


def test_an_arena_that_is_opened_again_is_the_same_one_with_the_questions_it_began_with(registry: Registry) -> None:
    first = open_arena(registry, "d", ARENA, QUESTIONS)
    again = open_arena(registry, "d", ARENA.model_copy(update={"seed": "other"}), QUESTIONS[:1])
    assert again == first
    assert questions(registry, first[0]) == QUESTIONS
    other = open_arena(registry, "e", ARENA, QUESTIONS)
    assert list(arenas(registry, "medical")) == [first[0], other[0]]
    assert arenas(registry, "legal") == {}
    with pytest.raises(NotFoundError):
        questions(registry, 99)


def test_a_vote_is_there_for_the_next_reader_and_for_its_reviewer(registry: Registry, arena: int) -> None:
    record_vote(registry, arena, vote(0))
    record_vote(registry, arena, vote(0, "bob"))
    record_vote(registry, arena, vote(2))
    assert votes(registry, arena) == [vote(0), vote(0, "bob"), vote(2)]
    assert votes(registry, arena, "ada") == [vote(0), vote(2)]


def test_nobody_votes_twice_on_a_question_nor_on_one_that_is_not_there(registry: Registry, arena: int) -> None:
    record_vote(registry, arena, vote(1))
    with pytest.raises(ConflictError, match="ada has voted on question 1"):
        record_vote(registry, arena, vote(1))
    with pytest.raises(NotFoundError, match="no question 7"):
        record_vote(registry, arena, vote(7))
    assert votes(registry, arena) == [vote(1)]


def test_undo_takes_back_ones_own_last_vote_and_no_other(registry: Registry, arena: int) -> None:
    for each in (vote(0), vote(1), vote(0, "bob")):
        record_vote(registry, arena, each)
    assert undo_vote(registry, arena, "ada", of=2) == vote(1)
    record_vote(registry, arena, vote(1))
    assert [undo_vote(registry, arena, "ada", of=left) for left in (2, 1)] == [vote(1), vote(0)]
    with pytest.raises(ConflictError, match="has given 0 votes"):
        undo_vote(registry, arena, "ada", of=0)
    assert votes(registry, arena) == [vote(0, "bob")]


def test_who_asks_twice_to_undo_takes_one_vote_back(registry: Registry, arena: int) -> None:
    for number in range(2):
        record_vote(registry, arena, vote(number))
    undo_vote(registry, arena, "ada", of=2)
    with pytest.raises(ConflictError, match="ada has given 1 votes in arena 1, and not 2"):
        undo_vote(registry, arena, "ada", of=2)
    assert votes(registry, arena) == [vote(0)]


def test_a_reviewer_who_is_deleted_leaves_no_word_in_the_registrys_files(
    registry: Registry, settings: Settings
) -> None:
    here, _ = open_arena(registry, "d", ARENA, QUESTIONS)
    elsewhere, _ = open_arena(registry, "e", ARENA.model_copy(update={"domain": "legal"}), QUESTIONS)
    said = vote(0).model_copy(update={"comment": "told-by-my-patient"})
    for arena_id, each in ((here, said), (here, vote(1, "bob")), (elsewhere, vote(0))):
        record_vote(registry, arena_id, each)
    assert b"told-by-my-patient" in files_of(settings)
    delete_votes(registry, "medical", "ada")
    assert (votes(registry, here), votes(registry, elsewhere)) == ([vote(1, "bob")], [vote(0)])
    assert b"told-by-my-patient" not in files_of(settings)


def files_of(settings: Settings) -> bytes:
    return b"".join(file.read_bytes() for file in settings.home.glob("registry.db*"))


def test_votes_do_not_make_servers_read_the_registry_again(registry: Registry, arena: int) -> None:
    before = registry.revision()
    record_vote(registry, arena, vote(0))
    undo_vote(registry, arena, "ada", of=1)
    assert registry.revision() == before
