"""Bring a registry's tables to the revision that this code expects."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock
from sqlalchemy import Connection, Engine, inspect, text

from locum.adapters.schema import HEAD
from locum.errors import UnavailableError

MIGRATE_LOCK = 0x10C1  # the key of PostgreSQL's advisory lock for migrations


def migrate(engine: Engine) -> None:
    """Make or migrate the tables, one process at a time; a look and nothing more when they are up to date.

    Raises:
        UnavailableError: the registry was made by a newer Locum.
    """
    if _revision(engine) == HEAD:
        return
    if engine.dialect.name == "sqlite" and engine.url.database:
        with FileLock(f"{engine.url.database}.migrate.lock"):
            if _revision(engine) != HEAD:
                with engine.begin() as db:
                    _upgrade(db)
    else:
        with engine.begin() as db:
            db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATE_LOCK})
            _upgrade(db)


def _revision(engine: Engine) -> str | None:
    with engine.connect() as db:
        if not inspect(db).has_table("alembic_version"):
            return None
        found: str | None = db.scalar(text("SELECT version_num FROM alembic_version"))
        return found


def _upgrade(db: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = db
    try:
        command.upgrade(config, HEAD)
    except CommandError as error:
        raise UnavailableError(f"the registry is of another version of Locum: {error}", hint="update Locum") from None
