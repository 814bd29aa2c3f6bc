"""The registry in PostgreSQL: runs where `LOCUM_TEST_POSTGRESQL` names a database that may be written to.

For example: LOCUM_TEST_POSTGRESQL=postgresql+psycopg://postgres@127.0.0.1:5432/postgres
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from locum.adapters.base import Base
from locum.adapters.conversations import Message
from locum.adapters.feedback import Feedback, delete_feedback, feedback_on, record_feedback
from locum.adapters.registry import Registry
from locum.adapters.signing import signing_key
from locum.adapters.votes import ArenaQuestion, Vote, delete_votes, open_arena, record_vote, undo_vote, votes
from locum.errors import ConflictError, GateError, UnavailableError
from locum.settings import Settings
from tests.records import arena_of, register_plainly

URL = os.environ.get("LOCUM_TEST_POSTGRESQL", "")
pytestmark = pytest.mark.skipif(not URL, reason="LOCUM_TEST_POSTGRESQL names no database")

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
ASKS = Message(role="user", content="Is it?")


@pytest.fixture
def remote(settings: Settings) -> Iterator[Settings]:
    """Settings with a registry of their own: a schema that is gone after the test."""
    schema = f"locum_test_{uuid.uuid4().hex[:12]}"
    engine = create_engine(URL)
    with engine.begin() as db:
        db.execute(text(f"CREATE SCHEMA {schema}"))
    url = make_url(URL).update_query_dict({"options": f"-csearch_path={schema}"})
    yield settings.model_copy(update={"registry": url.render_as_string(hide_password=False)})
    with engine.begin() as db:
        db.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.fixture
def adapter(tiny_adapter: Callable[..., Path]) -> Path:
    return tiny_adapter(rank=4, seed=51)


def test_a_domain_lives_its_life(remote: Settings, base_record: Base, adapter: Path) -> None:
    registry = Registry.open(remote)
    for _ in range(3):
        registry.register(
            "legal", adapter, base=base_record, recipe={}, data=None, training={}, probes=[], created_by="t"
        )
    with pytest.raises(GateError, match="no suite is known"):
        registry.release("legal@1", by="ada")
    registry.require_suites("legal", {"held-out": "s1"})
    assert registry.required_suites("legal") == {"held-out": "s1"}
    registry.release("legal@1", by="ada", force=True, reason="first")
    registry.release("legal@3", by="ada", force=True, reason="second")
    registry.rollback("legal", by="bob")
    registry.delete("legal@2")
    with pytest.raises(ConflictError):
        registry.delete("legal@3")
    snapshot = Registry.open(remote).snapshot()
    assert snapshot.aliases == {"legal": "legal@1", "legal@previous": "legal@3"}
    assert list(snapshot.versions) == ["legal@1", "legal@3"]
    history = registry.history("legal")
    assert [entry.action for entry in history] == ["rollback", "forced release", "forced release"]
    assert all(entry.at.utcoffset() == timedelta(0) for entry in history)


REGISTER = """
import sys
import time
from pathlib import Path
from locum.adapters.base import load_base
from locum.adapters.registry import Registry
from locum.settings import Settings
settings = Settings(home=Path(sys.argv[1]), registry=sys.argv[2])
base = load_base(settings.bases, "tiny-llama")
registry = Registry.open(settings)
for _ in range(5):
    made = registry.register(
        "legal", Path(sys.argv[3]), base=base, recipe={}, data=None, training={}, probes=[], created_by="t"
    )
    snapshot = registry.snapshot()  # raises when what it reads is not of one moment
    assert made.name in snapshot.versions and max(snapshot.versions.values(), key=lambda each: each.id)
    print(made.number)
"""


def test_processes_that_open_a_new_registry_and_register_at_once_get_different_numbers(
    remote: Settings, base_record: Base, adapter: Path
) -> None:
    command = [sys.executable, "-c", REGISTER, str(remote.home), remote.registry, str(adapter)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    numbers = [json.loads(line) for process in processes for line in process.communicate(timeout=300)[0].split()]
    assert sorted(numbers) == list(range(1, 16))
    assert [manifest.number for manifest in Registry.open(remote).versions("legal")] == list(range(1, 16))


def test_a_registry_can_be_read_while_it_is_being_written(remote: Settings, base_record: Base, adapter: Path) -> None:
    registry = Registry.open(remote)
    with registry.writing():
        assert Registry.open(remote).snapshot().versions == {}


def test_a_registry_that_somebody_else_holds_is_an_error_in_time(remote: Settings) -> None:
    with Registry.open(remote).writing():
        began = time.monotonic()
        with pytest.raises(UnavailableError, match=r"does not answer: .*statement timeout"):
            Registry.open(remote, busy_seconds=1).require_suites("legal", {"held-out": "s1"})
        assert 0.9 < time.monotonic() - began < 25  # and not the thirty seconds of whoever has the time


def test_a_copy_of_a_database_is_another_registry_to_the_artifact_store_and_the_original_stays_the_same(
    settings: Settings, base_record: Base, adapter: Path
) -> None:
    names = [f"locum_test_{uuid.uuid4().hex[:12]}" for _ in range(2)]
    ours, theirs = (
        settings.model_copy(update={"registry": make_url(URL).set(database=name).render_as_string(hide_password=False)})
        for name in names
    )
    server = create_engine(URL, isolation_level="AUTOCOMMIT")
    with server.connect() as db:
        try:
            db.execute(text(f"CREATE DATABASE {names[0]}"))
            original = Registry.open(ours)
            version = register_plainly(original, "legal", adapter, base_record)
            original._engine.dispose()  # a database is copied while nobody uses it
            db.execute(text(f"CREATE DATABASE {names[1]} TEMPLATE {names[0]}"))
            copy = Registry.open(theirs)
            assert original.identity() == Registry.open(ours).identity() != copy.identity()
            assert copy.other_owners(version.digest) == {original.identity().registry}
            copy.delete(version.name)
            assert original.artifact_path(version).is_dir()
        finally:
            for name in names:
                db.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    server.dispose()


def test_votes_and_feedback_are_kept_and_taken_back(remote: Settings) -> None:
    registry = Registry.open(remote)
    asked = [ArenaQuestion(number=0, sample="s", messages=[ASKS], model_answer="yes", against_answer="no")]
    described = arena_of(domain="legal")
    arena, _ = open_arena(registry, "d", described, asked)
    assert open_arena(registry, "d", described, asked) == (arena, described)
    vote = Vote(number=0, reviewer="ada", preferred="tie", left="model", at=NOW)
    record_vote(registry, arena, vote)
    with pytest.raises(ConflictError):
        record_vote(registry, arena, vote)
    assert votes(registry, arena) == [vote]
    assert undo_vote(registry, arena, "ada", of=1) == vote
    assert votes(registry, arena) == []
    record_vote(registry, arena, vote)
    delete_votes(registry, "legal", "ada")
    assert votes(registry, arena) == []
    given = {"domain": "legal", "model": "legal@1", "answer_id": "a", "verified": True, "at": NOW}
    said = Feedback.model_validate({**given, "rating": "up", "comment": "nul \x00 and \x1b"})
    assert [record_feedback(registry, said) for _ in range(2)] == [False, True]
    assert feedback_on(registry, "legal", since=NOW) == [said]
    assert feedback_on(registry, "legal", since=NOW + timedelta(seconds=1)) == []
    delete_feedback(registry, [said])
    assert feedback_on(registry, None) == []
    assert len(signing_key(registry, "answers")) == 32
