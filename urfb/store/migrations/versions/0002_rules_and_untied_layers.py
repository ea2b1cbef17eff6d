"""Rules with parameters, untied layers, stages, more measures of alignment, and saved filters."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns and the table that the first schema lacks."""
    for column in (
        sa.Column("epsilon", sa.Float),
        sa.Column("decay", sa.Float),
        sa.Column("untied", sa.Text, nullable=False, server_default="none"),
        sa.Column("untied_start", sa.Text),
        sa.Column("pretraining_epochs", sa.Integer, nullable=False, server_default="0"),
        sa.Column("pretraining_rule", sa.Text),
        sa.Column("frozen", sa.Text),
        sa.Column("true_class_margin", sa.Float, nullable=False, server_default="1.0"),
        sa.Column("gradient_batch", sa.Integer),
        sa.Column("source", sa.Text),
    ):
        op.add_column("run", column)
    for name in ("angle", "sign_agreement", "norm_ratio", "gradient_cosine", "filter_similarity"):
        op.add_column("layer_alignment", sa.Column(name, sa.Float))
    op.create_table(
        "filters",
        sa.Column("run_id", sa.Integer, sa.ForeignKey("run.id"), primary_key=True),
        sa.Column("layer", sa.Integer, primary_key=True),
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("column", sa.Integer, primary_key=True),
        sa.Column("epoch", sa.Integer, primary_key=True),
        sa.Column("filters", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("channels", sa.Integer, nullable=False),
        sa.Column("weights", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
