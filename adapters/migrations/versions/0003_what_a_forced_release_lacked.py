"""What a forced release lacked: a sentence for each suite. Of earlier ones nobody wrote it down."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("releases", sa.Column("missing", sa.JSON, nullable=False, server_default="[]"))
