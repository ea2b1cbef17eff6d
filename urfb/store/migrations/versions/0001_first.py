"""The first schema, for runs of tied networks under BP, URFB and FRFB. New stores are created from `tables.py`."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Do nothing, because there is no older schema."""
