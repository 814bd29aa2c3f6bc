"""The registry's tables. Alembic's migrations in migrations/ make them; `HEAD` is the revision this code expects."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

HEAD = "0004"
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
    Column("missing", JSON, nullable=False, default=list),
)
# One row: changes with every change that a server must hear of.
state = Table("state", metadata, Column("id", Integer, primary_key=True), Column("revision", Integer, nullable=False))
# One row: what answers' ids and reviewers' links are signed with. Every server and command of this registry shares it.
secret = Table("secret", metadata, Column("id", Integer, primary_key=True), Column("key", String(64), nullable=False))
# One row: what this registry is called in the stores that it shares with others, which database that is said of (a copy
# has the row too, and is another registry), and the store in which all that it holds is marked.
identity = Table(
    "identity",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("registry", String(32), nullable=False),
    Column("database", String(64), nullable=False),
    Column("store", Text, nullable=False),
)
arenas = Table(
    "arenas",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("domain", String(63), nullable=False, index=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("record", JSON, nullable=False),
)
arena_questions = Table(
    "arena_questions",
    metadata,
    Column("arena_id", Integer, ForeignKey("arenas.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("record", JSON, nullable=False),
)
votes = Table(
    "votes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("arena_id", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("reviewer", String(100), nullable=False),
    Column("record", JSON, nullable=False),
    ForeignKeyConstraint(["arena_id", "number"], ["arena_questions.arena_id", "arena_questions.number"]),
    UniqueConstraint("arena_id", "number", "reviewer"),
)
# `domain` is `base` for answers of the base model. Who rates an answer again takes back what was said before.
feedback = Table(
    "feedback",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("domain", String(63), nullable=False, index=True),
    Column("model", String(200), nullable=False),
    Column("answer", String(160), nullable=False),
    Column("user", String(200), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("record", JSON, nullable=False),
    UniqueConstraint("answer", "user"),
)
