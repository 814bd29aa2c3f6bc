"""A registry's tables: made by the migrations, as the code expects them, and not touched when they are newer."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from locum.adapters import feedback, migrate, schema, votes
from locum.adapters.registry import Registry
from locum.adapters.signing import signing_key
from locum.errors import BadInputError, UnavailableError
from locum.settings import Settings


def test_the_migrations_make_the_tables_that_the_code_expects(settings: Settings) -> None:
    Registry.open(settings)
    with create_engine(settings.registry_url).connect() as db:
        assert compare_metadata(MigrationContext.configure(db), schema.metadata) == []
    scripts = ScriptDirectory(str(Path(migrate.__file__).parent / "migrations"))
    assert scripts.get_current_head() == schema.HEAD


def test_sqlite_writes_ahead_so_that_readers_never_wait_for_a_writer(settings: Settings) -> None:
    Registry.open(settings)
    with create_engine(settings.registry_url).connect() as db:
        assert db.scalar(text("PRAGMA journal_mode")) == "wal"


def test_an_up_to_date_registry_opens_without_alembic(settings: Settings) -> None:
    Registry.open(settings)
    code = (
        "import sys; from pathlib import Path; from locum.settings import Settings; "
        "from locum.adapters.registry import Registry; Registry.open(Settings(home=Path(sys.argv[1]))); "
        "sys.exit('alembic' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(settings.home)], check=False).returncode == 0


def test_the_file_is_for_its_owner_and_group_as_it_holds_a_secret(settings: Settings) -> None:
    Registry.open(settings)
    for file in settings.home.glob("registry.db*"):
        if not file.name.endswith(".lock"):
            assert file.stat().st_mode & 0o007 == 0, file


def test_a_registry_of_a_newer_locum_is_left_alone(settings: Settings) -> None:
    Registry.open(settings)
    with create_engine(settings.registry_url).begin() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UnavailableError, match="is of another version of Locum") as caught:
        Registry.open(settings)
    assert (caught.value.exit_code, caught.value.hint) == (3, "update Locum")


def test_a_file_that_is_no_database_is_said_to_be_none(settings: Settings) -> None:
    settings.home.mkdir(parents=True)
    (settings.home / "registry.db").write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(UnavailableError, match=r"registry\.db' cannot be opened|registry\.db cannot be opened"):
        Registry.open(settings)


def test_a_url_that_is_none_is_refused_without_repeating_a_password(settings: Settings) -> None:
    for url in ("nosuchdatabase://user:secret@host/db", "secret"):
        with pytest.raises(BadInputError, match="settings: registry: expected a URL") as caught:
            Registry.open(Settings(home=settings.home, registry=url))
        assert "user:secret" not in str(caught.value)


def test_a_database_that_cannot_be_reached_is_a_matter_of_the_environment(settings: Settings) -> None:
    unreachable = Settings(home=settings.home, registry="sqlite:////no/such/folder/registry.db")
    with pytest.raises(UnavailableError, match="cannot be opened") as caught:
        Registry.open(unreachable)
    assert caught.value.exit_code == 3


def test_a_registry_of_the_first_tables_keeps_all_it_has_and_takes_votes_and_feedback(settings: Settings) -> None:
    """The dump is what Locum 0.1.0 wrote: two versions, an evaluation, a release on it and a forced one."""
    settings.home.mkdir(parents=True)
    with sqlite3.connect(settings.home / "registry.db") as old:
        old.executescript((Path(__file__).parent / "registry_0001.sql").read_text(encoding="utf-8"))
    registry = Registry.open(settings)
    with create_engine(settings.registry_url).connect() as db:
        assert compare_metadata(MigrationContext.configure(db), schema.metadata) == []
    assert [manifest.name for manifest in registry.versions()] == ["legal@1", "legal@2"]
    assert {(manifest.system_prompt, manifest.system) for manifest in registry.versions()} == {(None, "never")}
    assert registry.snapshot().aliases == {"legal": "legal@2", "legal@previous": "legal@1"}
    assert [entry.action for entry in registry.history("legal")] == ["forced release", "release"]
    assert [entry.missing for entry in registry.history("legal")] == [[], []]
    assert [record.score for record in registry.evaluations("legal@1")] == [0.9]
    assert registry.required_suites("legal") == {"held-out": "s1"}
    assert votes.arenas(registry, "legal") == {}
    assert feedback.feedback_on(registry, "legal") == []
    assert signing_key(registry, "answers") == signing_key(Registry.open(settings), "answers")
