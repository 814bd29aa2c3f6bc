"""How the registry's database is reached: what a connection is told first, and how long it waits."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import ArgumentError, DisconnectionError, NoSuchModuleError

from locum.errors import BadInputError, UnavailableError

BUSY_SECONDS = 30.0


def make_engine(url: str, *, busy_seconds: float) -> Engine:
    """The engine for a registry's URL. A SQLite file must exist (`create_database`): one that has gone is an error,
    and not a new and empty registry.

    Raises:
        BadInputError: it is not a URL that SQLAlchemy knows.
        UnavailableError: the database's driver is not installed.
    """
    try:
        engine = create_engine(url, connect_args=_connect_args(url, busy_seconds))
    except (ArgumentError, NoSuchModuleError):
        raise BadInputError(
            f"settings: registry: expected a URL that SQLAlchemy knows, such as sqlite:///FILE, found "
            f"one that begins with {url.partition(':')[0]!r}"
        ) from None
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"the registry needs the package {error.name}, which is not installed", hint=f"pip install {error.name}"
        ) from None
    if engine.dialect.name == "postgresql":
        _bound_statements(engine, busy_seconds)
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
        if file := _file(engine):
            _watch_file(engine, file)
    return engine


def create_database(engine: Engine) -> None:
    """Make the file of a new SQLite database; nothing to do for any other."""
    if file := _file(engine):
        file.touch(mode=0o660)  # it holds what ids and links are signed with; SQLite's side files take its mode


def which_database(db: Connection) -> str:
    """What a copy of this database does not share with it, as long as both are on one file system or database server:
    a SQLite file's inode number; in PostgreSQL the numbers of the database and of a table in it."""
    if db.dialect.name == "postgresql":
        numbers = "SELECT oid, 'identity'::regclass::oid FROM pg_database WHERE datname = current_database()"
        return "/".join(str(number) for number in db.execute(text(numbers)).one())
    file = _file(db.engine)
    found = _identity(file) if file else None
    return str(found[1]) if found else ""


def _connect_args(url: str, busy_seconds: float) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"timeout": busy_seconds}
    if url.startswith("postgresql+psycopg"):
        # nobody answers at first; answers stop coming later
        return {"connect_timeout": max(2, int(busy_seconds)), "tcp_user_timeout": int(1000 * busy_seconds)}
    return {}


def _file(engine: Engine) -> Path | None:
    name = engine.url.database if engine.dialect.name == "sqlite" else None
    return None if not name or name == ":memory:" or name.startswith("file:") else Path(name).absolute()


def _bound_statements(engine: Engine, busy_seconds: float) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = {int(1000 * busy_seconds)}")  # waiting for a lock counts too
        connection.commit()


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # we begin transactions ourselves, with the lock that each needs
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")  # what users said is gone from the file when it is deleted

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("locum_begin", "BEGIN"))


def _watch_file(engine: Engine, file: Path) -> None:
    """Open the file only where it is, and again when another has taken its place: an open connection would go on
    reading one that was moved away."""

    @event.listens_for(engine, "do_connect")
    def _open(_: Any, record: Any, arguments: Any, options: Any) -> Any:
        connection = sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True, **options)
        record.info["file"] = _identity(file)
        return connection

    @event.listens_for(engine, "checkout")
    def _check(_: Any, record: Any, proxy: Any) -> None:
        if record.info["file"] != _identity(file):
            raise DisconnectionError(f"{file} was moved or replaced")


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
