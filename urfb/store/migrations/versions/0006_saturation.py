"""The fraction of a layer's units that are beyond the bounds of σ."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the fraction, which is unknown for existing runs."""
    op.add_column("layer_alignment", sa.Column("saturation", sa.Float))
