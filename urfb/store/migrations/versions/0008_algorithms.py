"""A run's algorithm and its settings, in one column so that later algorithms need no migration."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add both columns; all existing runs use the algorithm 'feedback'."""
    op.add_column("run", sa.Column("algorithm", sa.Text, nullable=False, server_default="feedback"))
    op.add_column("run", sa.Column("algorithm_settings", sa.Text, nullable=False, server_default="{}"))
