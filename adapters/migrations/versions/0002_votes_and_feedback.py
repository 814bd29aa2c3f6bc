"""What people say of answers: arenas, their questions and votes, feedback, and the secret that ids are signed with."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    secret = op.create_table(
        "secret",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(64), nullable=False),
    )
    op.bulk_insert(secret, [{"id": 1, "key": secrets.token_hex(32)}])
    op.create_table(
        "arenas",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("domain", sa.String(63), nullable=False, index=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("record", sa.JSON, nullable=False),
    )
    op.create_table(
        "arena_questions",
        sa.Column("arena_id", sa.Integer, sa.ForeignKey("arenas.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("record", sa.JSON, nullable=False),
    )
    op.create_table(
        "votes",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("arena_id", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("reviewer", sa.String(100), nullable=False),
        sa.Column("record", sa.JSON, nullable=False),
        sa.ForeignKeyConstraint(["arena_id", "number"], ["arena_questions.arena_id", "arena_questions.number"]),
        sa.UniqueConstraint("arena_id", "number", "reviewer"),
    )
    op.create_table(
        "feedback",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("domain", sa.String(63), nullable=False, index=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("answer", sa.String(160), nullable=False),
        sa.Column("user", sa.String(200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("record", sa.JSON, nullable=False),
        sa.UniqueConstraint("answer", "user"),
    )
