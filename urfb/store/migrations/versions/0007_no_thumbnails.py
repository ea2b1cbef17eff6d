"""No pictures of data sets: Figure 3's come with the package."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Drop the table of pictures, which nothing reads."""
    op.drop_table("thumbnail")
