"""An attempt has a log."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add where an attempt's log is."""
    op.add_column("attempt", sa.Column("log", sa.Text))
