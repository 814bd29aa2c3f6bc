"""A database that is locked, gone or replaced: an error in time, and never a new and empty registry."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from locum.adapters.registry import Registry
from locum.errors import UnavailableError
from locum.settings import Settings


@pytest.fixture
def registry(settings: Settings) -> Iterator[Registry]:
    """A registry that waits for a second, at revision 2."""
    found = Registry.open(settings, busy_seconds=1)
    with found.writing():
        pass
    yield found
    found._engine.dispose()


@pytest.fixture
def file(settings: Settings) -> Path:
    return settings.home / "registry.db"


def test_a_registry_that_another_process_holds_can_be_read_and_is_an_error_to_who_writes(
    registry: Registry, file: Path
) -> None:
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert registry.revision() == 2
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="does not answer: database is locked"):
            registry.require_suites("legal", {"held-out": "s1"})
        assert 0.9 < time.monotonic() - began < 25  # and not the thirty seconds of whoever has the time
    registry.require_suites("legal", {"held-out": "s1"})
    other.close()


def test_a_registry_that_was_moved_away_is_an_error_until_it_is_back(registry: Registry, file: Path) -> None:
    elsewhere = file.rename(file.with_name("elsewhere.db"))
    with pytest.raises(UnavailableError, match="unable to open database file"):
        registry.revision()
    assert not file.exists(), "an empty registry must not take its place"
    elsewhere.rename(file)
    assert registry.revision() == 2


def test_a_registry_that_another_has_replaced_is_not_read_any_more(
    registry: Registry, file: Path, settings: Settings
) -> None:
    assert registry.revision() == 2
    file.rename(file.with_name("elsewhere.db"))
    Registry.open(settings)._engine.dispose()
    assert registry.revision() == 1


def test_a_registry_that_is_no_database_any_more_is_an_error(registry: Registry, file: Path) -> None:
    registry._engine.dispose()
    file.write_bytes(b"not a database at all" * 400)
    with pytest.raises(UnavailableError, match="file is not a database"):
        registry.revision()
