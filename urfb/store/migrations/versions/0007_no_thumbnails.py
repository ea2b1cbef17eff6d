"""No pictures of data sets, because those of Figure 3 come with the package."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Drop the table of pictures, which is no longer used."""
    op.drop_table("thumbnail")
