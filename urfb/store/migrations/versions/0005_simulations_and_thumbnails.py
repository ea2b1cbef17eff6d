"""Simulations of section 5 with their trajectories, and small pictures of the data sets."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the tables, which are independent of runs."""
    op.create_table(
        "simulation",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("identity", sa.String(16), nullable=False, unique=True),
        sa.Column("layers", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("epsilon", sa.Float),
        sa.Column("draw", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("start", sa.Text, nullable=False),
        sa.Column("teacher", sa.Text, nullable=False),
        sa.Column("teacher_scale", sa.Float, nullable=False),
        sa.Column("weight_scale", sa.Float),
        sa.Column("feedback_scale", sa.Float),
        sa.Column("step_size", sa.Float, nullable=False),
        sa.Column("iterations", sa.Integer, nullable=False),
        sa.Column("tolerance", sa.Float),
        sa.Column("theory_version", sa.Integer, nullable=False),
        sa.Column("diverged_at", sa.Integer),
        sa.Column("started", sa.Text, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("urfb_version", sa.Text, nullable=False),
        sa.Column("commit", sa.Text),
        sa.Column("python_version", sa.Text, nullable=False),
        sa.Column("numpy_version", sa.Text, nullable=False),
        sa.Column("scipy_version", sa.Text, nullable=False),
    )
    op.create_table(
        "trajectory",
        sa.Column("simulation_id", sa.Integer, sa.ForeignKey("simulation.id"), primary_key=True),
        sa.Column("iteration", sa.Integer, primary_key=True),
        sa.Column("error", sa.Float, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "trajectory_layer",
        sa.Column("simulation_id", sa.Integer, sa.ForeignKey("simulation.id"), primary_key=True),
        sa.Column("layer", sa.Integer, primary_key=True),
        sa.Column("iteration", sa.Integer, primary_key=True),
        sa.Column("correlation", sa.Float),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "thumbnail",
        sa.Column("dataset", sa.Text, primary_key=True),
        sa.Column("label", sa.Integer, primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("label_name", sa.Text, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("image", sa.LargeBinary, nullable=False),
    )
