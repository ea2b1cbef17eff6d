"""Of a layer, how many of its units are at the bounds of σ."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the fraction; of runs before, it is not known."""
    op.add_column("layer_alignment", sa.Column("saturation", sa.Float))
