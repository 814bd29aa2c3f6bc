"""What a registry is called in the stores that it shares with others. It gets its name when it is next opened."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "identity",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("registry", sa.String(32), nullable=False),
        sa.Column("database", sa.String(64), nullable=False),
        sa.Column("store", sa.Text, nullable=False),
    )
