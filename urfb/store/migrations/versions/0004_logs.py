"""Logs of attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the path of an attempt's log."""
    op.add_column("attempt", sa.Column("log", sa.Text))
