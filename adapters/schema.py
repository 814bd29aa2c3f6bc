"""The registry's tables. Alembic's migrations in migrations/ make them; `HEAD` is the revision this code expects."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

HEAD = "0001"
metadata = MetaData()

# Row ids name adapters inside vLLM, so they are never used twice: AUTOINCREMENT in SQLite, a sequence in PostgreSQL.
versions = Table(
    "versions",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("domain", String(63), nullable=False),
    Column("number", Integer, nullable=False),
    Column("digest", String(64), nullable=False, index=True),
    Column("manifest", JSON, nullable=False),
    Column("deleted", Boolean, nullable=False, default=False),
    UniqueConstraint("domain", "number"),
    sqlite_autoincrement=True,
)
aliases = Table(
    "aliases",
    metadata,
    Column("domain", String(63), primary_key=True),
    Column("alias", String(16), primary_key=True),
    Column("version_id", Integer, ForeignKey("versions.id"), nullable=False),
)
evaluations = Table(
    "evaluations",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("version_id", Integer, ForeignKey("versions.id"), nullable=False, index=True),
    Column("record", JSON, nullable=False),
)
required_suites = Table(
    "required_suites",
    metadata,
    Column("domain", String(63), primary_key=True),
    Column("suite", String(63), primary_key=True),
    Column("digest", String(64), nullable=False),
)
releases = Table(
    "releases",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("domain", String(63), nullable=False, index=True),
    Column("action", String(16), nullable=False),
    Column("version", String(80), nullable=False),
    Column("replaced", String(80)),
    Column("by", String(200), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("reason", Text),
    Column("evidence", JSON, nullable=False),
)
# One row: changes with every change that a server must hear of.
state = Table("state", metadata, Column("id", Integer, primary_key=True), Column("revision", Integer, nullable=False))
