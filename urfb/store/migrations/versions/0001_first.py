"""The first schema, of runs of tied networks under BP, URFB and FRFB. A new store is made whole, so nothing is done."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Do nothing: no store is older."""
