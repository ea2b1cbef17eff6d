"""The tables of a store, and the views that people read.

    experiment ─ experiment_run ─ run ─┬─ attempt          one row an execution: where, with what, how it ended
                                       ├─ epoch            one row an epoch
                                       ├─ test             one row a look at the test set, kept apart on purpose
                                       ├─ layer_alignment  one row a layer and alignment point
                                       └─ filters          one row a location at which an untied layer's W is kept

    simulation ─ trajectory ─ trajectory_layer  section 5: one row a simulation, moment of it, and layer at that moment
    thumbnail                                   small pictures of the data sets

The views `runs`, `epochs`, `alignment`, `simulations`, `trajectories` and `trajectory_layers` join these into the tidy
tables that `urfb.store` and pandas read.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""The schemas there have been, the last one this one; `migrations` leads from each to the next."""

metadata = MetaData()

SPEC_COLUMNS = (
    "network",
    "layers",
    "dataset",
    "rule",
    "epsilon",
    "decay",
    "loss",
    "connectivity",
    "feedback_connectivity",
    "dense_output",
    "untied",
    "untied_start",
    "pretraining_epochs",
    "pretraining_rule",
    "frozen",
    "convention",
    "activation_slope",
    "pool_padding",
    "off_class_weight",
    "off_class_margin",
    "true_class_margin",
    "input_offset",
    "step_size",
    "batch_size",
    "precision",
    "seed",
    "gradient_batch",
    "source",
)

run = Table(
    "run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("identity", String(16), nullable=False, unique=True),
    Column("network", Text, nullable=False),
    Column("layers", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("epsilon", Float),
    Column("decay", Float),
    Column("loss", Text, nullable=False),
    Column("connectivity", Float, nullable=False),
    Column("feedback_connectivity", Float, nullable=False),
    Column("dense_output", Boolean, nullable=False),
    Column("untied", Text, nullable=False, server_default="none"),
    Column("untied_start", Text),
    Column("pretraining_epochs", Integer, nullable=False, server_default="0"),
    Column("pretraining_rule", Text),
    Column("frozen", Text),
    Column("convention", Text, nullable=False),
    Column("activation_slope", Float, nullable=False),
    Column("pool_padding", Text, nullable=False),
    Column("off_class_weight", Float),
    Column("off_class_margin", Float),
    Column("true_class_margin", Float, nullable=False, server_default="1.0"),
    Column("input_offset", Float, nullable=False),
    Column("step_size", Float, nullable=False),
    Column("batch_size", Integer, nullable=False),
    Column("precision", Text, nullable=False),
    Column("seed", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
    Column("gradient_batch", Integer),
    Column("source", Text),
    Column("science_version", Integer, nullable=False),
    # new, running, unfinished (stopped on the way), failed, cancelled or done
    Column("state", Text, nullable=False, default="new", index=True),
    Column("epochs_target", Integer, nullable=False),
    Column("epochs_done", Integer, nullable=False, default=0),
    # Who trains the run now: a runner's token, its host and process, and until when it may be believed to live.
    Column("owner", Text),
    Column("owner_host", Text),
    Column("owner_process", Integer),
    Column("leased_until", Float),
)

experiment = Table(
    "experiment",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)

experiment_run = Table(
    "experiment_run",
    metadata,
    Column("experiment_id", ForeignKey("experiment.id"), primary_key=True),
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    sqlite_with_rowid=False,
)

attempt = Table(
    "attempt",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey("run.id"), nullable=False, index=True),
    Column("started", Text, nullable=False),
    Column("host", Text, nullable=False),
    # The worker tells the rest; empty if it died or failed before that
    Column("process", Integer),
    Column("device", Text),
    Column("device_name", Text),
    Column("threads", Integer),
    Column("urfb_version", Text),
    Column("commit", Text),
    Column("python_version", Text),
    Column("torch_version", Text),
    Column("first_epoch", Integer),
    Column("ended", Text),
    # done, failed, interrupted or cancelled; empty while it runs
    Column("outcome", Text),
    Column("reason", Text),
    Column("traceback", Text),
    # Its file, on the host
    Column("log", Text),
)

epoch = Table(
    "epoch",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("running_loss", Float, nullable=False),
    Column("running_error", Float, nullable=False),
    # NULL after most epochs
    Column("training_loss", Float),
    Column("training_error", Float),
    Column("validation_loss", Float, nullable=False),
    Column("validation_error", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    sqlite_with_rowid=False,
)

test = Table(
    "test",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("test_loss", Float, nullable=False),
    Column("test_error", Float, nullable=False),
    sqlite_with_rowid=False,
)

layer_alignment = Table(
    "layer_alignment",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("layer", Integer, primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("epoch", Float, nullable=False),
    Column("layer_name", Text, nullable=False),
    # NULL where it is not defined: one of the two does not vary
    Column("correlation", Float),
    Column("correlation_shared", Float),
    Column("angle", Float),
    Column("sign_agreement", Float),
    Column("norm_ratio", Float),
    Column("gradient_cosine", Float),
    Column("filter_similarity", Float),
    sqlite_with_rowid=False,
)

filters = Table(
    "filters",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("layer", Integer, primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("column", Integer, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    # [filters, height, width, channels], float32, little-endian
    Column("filters", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("channels", Integer, nullable=False),
    Column("weights", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

SIMULATION_COLUMNS = (
    "layers",
    "rule",
    "epsilon",
    "draw",
    "method",
    "start",
    "teacher",
    "teacher_scale",
    "weight_scale",
    "feedback_scale",
    "step_size",
    "iterations",
    "tolerance",
)

simulation = Table(
    "simulation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("identity", String(16), nullable=False, unique=True),
    # Sizes, input first: '40-100-100-10'
    Column("layers", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("epsilon", Float),
    Column("draw", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
    Column("method", Text, nullable=False),
    Column("start", Text, nullable=False),
    Column("teacher", Text, nullable=False),
    Column("teacher_scale", Float, nullable=False),
    Column("weight_scale", Float),
    Column("feedback_scale", Float),
    Column("step_size", Float, nullable=False),
    Column("iterations", Integer, nullable=False),
    Column("tolerance", Float),
    Column("theory_version", Integer, nullable=False),
    # The iteration at which it diverged; NULL where it did not
    Column("diverged_at", Integer),
    Column("started", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("host", Text, nullable=False),
    Column("urfb_version", Text, nullable=False),
    Column("commit", Text),
    Column("python_version", Text, nullable=False),
    Column("numpy_version", Text, nullable=False),
    Column("scipy_version", Text, nullable=False),
)

trajectory = Table(
    "trajectory",
    metadata,
    Column("simulation_id", ForeignKey("simulation.id"), primary_key=True),
    Column("iteration", Integer, primary_key=True),
    Column("error", Float, nullable=False),
    sqlite_with_rowid=False,
)

trajectory_layer = Table(
    "trajectory_layer",
    metadata,
    Column("simulation_id", ForeignKey("simulation.id"), primary_key=True),
    Column("layer", Integer, primary_key=True),
    Column("iteration", Integer, primary_key=True),
    # NULL where it is not defined: W is still 0
    Column("correlation", Float),
    sqlite_with_rowid=False,
)

thumbnail = Table(
    "thumbnail",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("label", Integer, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("label_name", Text, nullable=False),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    # [height, width, 3], uint8
    Column("image", LargeBinary, nullable=False),
)

COLUMN_TYPES: dict[str, type] = {
    column.name: column.type.python_type for table in metadata.sorted_tables for column in table.columns
} | {"attempts": int, "test_epoch": int, "time": float}
"""What the columns of tables and views hold; the other columns that views add are text."""

_SIMULATION = "simulation.identity AS simulation, " + ", ".join(f"simulation.{name}" for name in SIMULATION_COLUMNS)

_SPEC = "run.identity AS run, " + ", ".join(f"run.{name}" for name in SPEC_COLUMNS)

VIEWS = {
    "runs": f"""
        SELECT {_SPEC}, run.state, run.epochs_target, run.epochs_done,
               epoch.training_error, epoch.validation_error, test.test_error, test.epoch AS test_epoch,
               (SELECT {{joined}}(name, ',') FROM
                   (SELECT experiment.name FROM experiment_run
                    JOIN experiment ON experiment.id = experiment_run.experiment_id
                    WHERE experiment_run.run_id = run.id ORDER BY experiment.name) AS asking) AS experiments,
               (SELECT sum(seconds) FROM epoch WHERE epoch.run_id = run.id) AS seconds,
               attempt.host, attempt.process, attempt.device, attempt.device_name, attempt.threads,
               attempt.urfb_version, attempt."commit", attempt.python_version, attempt.torch_version,
               attempt.started, attempt.ended, attempt.outcome, attempt.reason, attempt.traceback, attempt.log,
               (SELECT count(*) FROM attempt WHERE attempt.run_id = run.id) AS attempts, run.science_version
        FROM run
        LEFT JOIN epoch ON epoch.run_id = run.id AND epoch.epoch = run.epochs_done
        LEFT JOIN test ON test.run_id = run.id AND test.epoch = run.epochs_done
        LEFT JOIN attempt ON attempt.id = (SELECT max(id) FROM attempt WHERE attempt.run_id = run.id)
        ORDER BY run.id
    """,
    "epochs": f"""
        SELECT {_SPEC}, epoch.epoch, epoch.running_loss, epoch.running_error, epoch.training_loss,
               epoch.training_error, epoch.validation_loss, epoch.validation_error, epoch.seconds
        FROM run JOIN epoch ON epoch.run_id = run.id
        ORDER BY run.id, epoch.epoch
    """,
    "alignment": f"""
        SELECT {_SPEC}, layer_alignment.step, layer_alignment.epoch, layer_alignment.layer,
               layer_alignment.layer_name, layer_alignment.correlation, layer_alignment.correlation_shared,
               layer_alignment.angle, layer_alignment.sign_agreement, layer_alignment.norm_ratio,
               layer_alignment.gradient_cosine, layer_alignment.filter_similarity
        FROM run JOIN layer_alignment ON layer_alignment.run_id = run.id
        ORDER BY run.id, layer_alignment.step, layer_alignment.layer
    """,
    "simulations": f"""
        SELECT {_SIMULATION}, (SELECT error FROM trajectory WHERE trajectory.simulation_id = simulation.id
                               ORDER BY iteration DESC LIMIT 1) AS error, simulation.diverged_at,
               simulation.started, simulation.seconds, simulation.host, simulation.urfb_version, simulation."commit",
               simulation.python_version, simulation.numpy_version, simulation.scipy_version, simulation.theory_version
        FROM simulation
        ORDER BY simulation.id
    """,
    "trajectories": f"""
        SELECT {_SIMULATION}, simulation.diverged_at, trajectory.iteration,
               simulation.step_size * trajectory.iteration AS time, trajectory.error
        FROM simulation JOIN trajectory ON trajectory.simulation_id = simulation.id
        ORDER BY simulation.id, trajectory.iteration
    """,
    "trajectory_layers": f"""
        SELECT {_SIMULATION}, simulation.diverged_at, trajectory_layer.layer, trajectory_layer.iteration,
               simulation.step_size * trajectory_layer.iteration AS time, trajectory_layer.correlation
        FROM simulation JOIN trajectory_layer ON trajectory_layer.simulation_id = simulation.id
        ORDER BY simulation.id, trajectory_layer.layer, trajectory_layer.iteration
    """,
}


def view(name: str, dialect: str) -> str:
    """Return the query of a view, in the words of SQLAlchemy's `dialect`."""
    return VIEWS[name].format(joined="group_concat" if dialect == "sqlite" else "string_agg")
