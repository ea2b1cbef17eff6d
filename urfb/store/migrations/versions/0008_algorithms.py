"""The algorithm by which a run learns, and its settings; those of later algorithms need no column."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add both; all runs before learn by feedback under a rule."""
    op.add_column("run", sa.Column("algorithm", sa.Text, nullable=False, server_default="feedback"))
    op.add_column("run", sa.Column("algorithm_settings", sa.Text, nullable=False, server_default="{}"))
