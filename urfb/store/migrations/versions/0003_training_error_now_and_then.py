"""The training error is no longer measured after every epoch."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Allow epochs without a training error."""
    with op.batch_alter_table("epoch", table_kwargs={"sqlite_with_rowid": False}) as table:
        for name in ("training_loss", "training_error"):
            table.alter_column(name, existing_type=sa.Float, existing_nullable=False, nullable=True)
