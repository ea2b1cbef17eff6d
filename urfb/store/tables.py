"""The tables of a store, and the views that users read.

    experiment ─ experiment_run ─ run ─┬─ attempt          one row per execution: host, device, versions, outcome
                                       ├─ epoch            one row per epoch
                                       ├─ test             one row per evaluation on the test set, deliberately separate
                                       ├─ layer_alignment  one row per layer and step at which alignment is measured
                                       └─ filters          one row per location at which an untied layer's W is stored

    simulation ─┬─ trajectory        one row per simulation of section 5 and stored iteration
                └─ trajectory_layer  one row per layer and stored iteration

The views `runs`, `epochs`, `alignment`, `simulations`, `trajectories` and `trajectory_layers` join these into tidy
tables, which `urfb.store` and pandas read.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

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

from urfb.grid.settings import SETTINGS, Setting
from urfb.theory.spec import SimulationSpec

MIGRATIONS = Path(__file__).parent / "migrations"
REVISIONS = tuple(sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py")))
"""The revisions of the schema, from the first to the current one; `MIGRATIONS` has the step from each to the next."""

metadata = MetaData()

SPEC_COLUMNS = tuple(name for name in SETTINGS if name != "epochs")
"""The settings of a run that are columns: all but `epochs`, which is stored as `epochs_target`."""

KINDS: dict[type, Any] = {str: Text, int: Integer, float: Float, bool: Boolean}
BIG_INTEGER = BigInteger().with_variant(Integer, "sqlite")


def _column(setting: Setting) -> Column[Any]:
    """Return the column of a setting.

    A setting of grid files has no doc here, because the reference describes all of them in one row.
    """
    upper_bounds = (getattr(bound, "lt", 0) for bound in get_args(setting.type)[1:])
    kind = BIG_INTEGER if max(upper_bounds, default=0) > 2**31 and setting.kind is int else KINDS[setting.kind]
    doc = None if setting.use.in_grid_file else setting.doc
    return Column(setting.name, kind, nullable=setting.optional, doc=doc)


run = Table(
    "run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column(
        "identity",
        String(16),
        nullable=False,
        unique=True,
        doc="identity of the run: a hash of everything that its results depend on",
    ),
    *(_column(SETTINGS[name]) for name in SPEC_COLUMNS),
    Column(
        "science_version",
        Integer,
        nullable=False,
        doc="version of the computation, raised when results change beyond rounding",
    ),
    Column(
        "state",
        Text,
        nullable=False,
        default="new",
        index=True,
        doc="new, running, unfinished (stopped before its target), failed, cancelled or done",
    ),
    Column("epochs_target", Integer, nullable=False, doc="the largest number of epochs that was asked for"),
    Column("epochs_done", Integer, nullable=False, default=0, doc="number of stored epochs"),
    Column("owner", Text, doc="token of the runner that trains the run now"),
    Column("owner_host", Text, doc="host of that runner"),
    Column("owner_process", Integer, doc="process number of that runner"),
    Column("leased_until", Float, doc="when that runner's lease expires, in seconds since 1970"),
)

experiment = Table(
    "experiment",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True, doc="name in the grid file"),
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
    Column("started", Text, nullable=False, doc="start of the attempt, UTC"),
    Column("host", Text, nullable=False, doc="host that trained it"),
    Column(
        "process",
        Integer,
        doc="process number of the worker; empty if the worker died before it reported its device, versions and log",
    ),
    Column("device", Text, doc="cpu, or a GPU such as cuda:0"),
    Column("device_name", Text, doc="name of the processor or GPU"),
    Column("threads", Integer, doc="number of CPU threads of a training step"),
    Column("urfb_version", Text, doc="version of urfb"),
    Column("commit", Text, doc="commit of urfb's checkout, with + if files were changed; empty without git"),
    Column("python_version", Text, doc="version of Python"),
    Column("torch_version", Text, doc="version of PyTorch"),
    Column("first_epoch", Integer, doc="first epoch of the attempt"),
    Column("ended", Text, doc="end of the attempt, UTC; empty while it runs"),
    Column("outcome", Text, doc="done, failed, interrupted or cancelled; empty while it runs"),
    Column("reason", Text, doc="why it failed or stopped, in one line"),
    Column("traceback", Text, doc="Python traceback of a failure"),
    Column("log", Text, doc="path of the log file on the host"),
)

epoch = Table(
    "epoch",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True, doc="number of the epoch; the first is 1"),
    Column(
        "running_loss",
        Float,
        nullable=False,
        doc="mean loss over the epoch's batches, with dropout, while W changes",
    ),
    Column(
        "running_error",
        Float,
        nullable=False,
        doc="fraction of misclassified images in the epoch's batches, with dropout, while W changes",
    ),
    Column(
        "training_loss",
        Float,
        doc="mean loss on all training images after the epoch, without dropout; empty after most epochs",
    ),
    Column(
        "training_error",
        Float,
        doc="fraction of misclassified training images after the epoch, without dropout; empty after most epochs",
    ),
    Column(
        "validation_loss",
        Float,
        nullable=False,
        doc="mean loss on all validation images after the epoch, without dropout",
    ),
    Column(
        "validation_error",
        Float,
        nullable=False,
        doc="fraction of misclassified validation images after the epoch, without dropout",
    ),
    Column("seconds", Float, nullable=False, doc="duration of the epoch in seconds"),
    sqlite_with_rowid=False,
)

test = Table(
    "test",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True, doc="epoch after which the test set was evaluated: the run's target"),
    Column("test_loss", Float, nullable=False, doc="mean loss on all test images, without dropout"),
    Column("test_error", Float, nullable=False, doc="fraction of misclassified test images, without dropout"),
    sqlite_with_rowid=False,
)

layer_alignment = Table(
    "layer_alignment",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("layer", Integer, primary_key=True, doc="number of the layer; 1 is the lowest"),
    Column("step", Integer, primary_key=True, doc="number of updates so far"),
    Column("epoch", Float, nullable=False, doc="number of epochs so far, with a fraction within an epoch"),
    Column("layer_name", Text, nullable=False, doc="the layer in the paper's notation, or its name in a custom model"),
    Column(
        "correlation",
        Float,
        doc="correlation of W and Rᵗ (or of the carrier) over all entries, −1 to 1; empty if one is constant",
    ),
    Column("correlation_shared", Float, doc="the same over the connections that both W and Rᵗ have"),
    Column("angle", Float, doc="angle between W and Rᵗ, in degrees"),
    Column("sign_agreement", Float, doc="fraction of the shared connections on which W and Rᵗ have the same sign"),
    Column("norm_ratio", Float, doc="‖R‖ / ‖W‖"),
    Column(
        "gradient_cosine",
        Float,
        doc="cosine between the rule's gradient and back-propagation's; empty without `gradient_batch`",
    ),
    Column(
        "filter_similarity",
        Float,
        doc="similarity of an untied layer's filters across locations; empty for other layers",
    ),
    Column(
        "saturation",
        Float,
        doc="fraction of a hidden layer's units beyond σ's bounds, over the first 500 training images, without "
        "dropout; empty for the output layer, for custom models, and for runs of versions that did not measure it",
    ),
    sqlite_with_rowid=False,
)

filters = Table(
    "filters",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("layer", Integer, primary_key=True, doc="number of the layer; 1 is the lowest"),
    Column("row", Integer, primary_key=True, doc="row of the location"),
    Column("column", Integer, primary_key=True, doc="column of the location"),
    Column("epoch", Integer, primary_key=True, doc="epoch after which the filters are stored; 0 is before training"),
    Column("filters", Integer, nullable=False, doc="number of filters"),
    Column("height", Integer, nullable=False, doc="height of a filter"),
    Column("width", Integer, nullable=False, doc="width of a filter"),
    Column("channels", Integer, nullable=False, doc="number of channels of a filter"),
    Column(
        "weights",
        LargeBinary,
        nullable=False,
        doc="weights as [filters, height, width, channels], float32, little-endian",
    ),
    sqlite_with_rowid=False,
)

RUN_TABLES = tuple(table for table in metadata.sorted_tables if "run_id" in table.c and table is not experiment_run)
"""The tables of a run's attempts and measurements; a merge takes all rows of a run from one store."""

SIMULATION_COLUMNS = tuple(field.name for field in fields(SimulationSpec))

simulation = Table(
    "simulation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column(
        "identity",
        String(16),
        nullable=False,
        unique=True,
        doc="identity of the simulation: a hash of everything that its results depend on",
    ),
    Column("layers", Text, nullable=False, doc="sizes of the layers, input first: '40-100-100-10'"),
    Column("rule", Text, nullable=False),
    Column("epsilon", Float),
    Column("draw", BIG_INTEGER, nullable=False),
    Column("method", Text, nullable=False),
    Column("start", Text, nullable=False),
    Column("teacher", Text, nullable=False),
    Column("teacher_scale", Float, nullable=False),
    Column("weight_scale", Float),
    Column("feedback_scale", Float),
    Column("step_size", Float, nullable=False),
    Column("iterations", Integer, nullable=False),
    Column("tolerance", Float),
    Column(
        "theory_version",
        Integer,
        nullable=False,
        doc="version of the computation, raised when results change beyond rounding",
    ),
    Column("diverged_at", Integer, doc="iteration at which the simulation diverged; empty if it did not"),
    Column("started", Text, nullable=False, doc="start of the simulation, UTC"),
    Column("seconds", Float, nullable=False, doc="duration in seconds"),
    Column("host", Text, nullable=False, doc="host that ran it"),
    Column("urfb_version", Text, nullable=False, doc="version of urfb"),
    Column("commit", Text, doc="commit of urfb's checkout; empty without git"),
    Column("python_version", Text, nullable=False, doc="version of Python"),
    Column("numpy_version", Text, nullable=False, doc="version of NumPy"),
    Column("scipy_version", Text, nullable=False, doc="version of SciPy"),
)

trajectory = Table(
    "trajectory",
    metadata,
    Column("simulation_id", ForeignKey("simulation.id"), primary_key=True),
    Column("iteration", Integer, primary_key=True, doc="number of the iteration; 0 is the start"),
    Column("error", Float, nullable=False, doc="e = tr(EᵗE)"),
    sqlite_with_rowid=False,
)

trajectory_layer = Table(
    "trajectory_layer",
    metadata,
    Column("simulation_id", ForeignKey("simulation.id"), primary_key=True),
    Column("layer", Integer, primary_key=True, doc="number of the layer; 1 is the lowest"),
    Column("iteration", Integer, primary_key=True, doc="number of the iteration; 0 is the start"),
    Column("correlation", Float, doc="correlation of W and Rᵗ; empty while W is 0"),
    sqlite_with_rowid=False,
)

VIEW_TABLES = {
    "runs": (run, epoch, test, attempt),
    "epochs": (run, epoch),
    "alignment": (run, layer_alignment),
    "simulations": (simulation,),
    "trajectories": (simulation, trajectory),
    "trajectory_layers": (simulation, trajectory_layer),
}
"""The tables that each view joins; if two have a column of the same name, the view shows the later table's."""

_RUN_COLUMN = Column("run", run.c.identity.type, nullable=False, doc=run.c.identity.doc)
_SIMULATION_COLUMN = Column("simulation", simulation.c.identity.type, nullable=False, doc=simulation.c.identity.doc)
_TIME = Column("time", Float, nullable=False, doc="step_size · iteration")

VIEW_ADDITIONS: dict[str, tuple[Column[Any], ...]] = {
    "runs": (
        _RUN_COLUMN,
        Column("test_epoch", Integer, doc=test.c.epoch.doc),
        Column("experiments", Text, doc="names of the experiments that ask for the run, separated by commas"),
        Column("seconds", Float, doc="duration of all epochs in seconds"),
        Column("attempts", Integer, nullable=False, doc="number of attempts to train the run"),
    ),
    "epochs": (_RUN_COLUMN,),
    "alignment": (_RUN_COLUMN,),
    "simulations": (_SIMULATION_COLUMN, Column("error", Float, doc="last error, e = tr(EᵗE)")),
    "trajectories": (_SIMULATION_COLUMN, _TIME),
    "trajectory_layers": (_SIMULATION_COLUMN, _TIME),
}
"""The columns that views compute or rename."""

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
               layer_alignment.gradient_cosine, layer_alignment.filter_similarity, layer_alignment.saturation
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
    """Return the query of a view for a database, by the name of its SQLAlchemy dialect."""
    return VIEWS[name].format(joined="group_concat" if dialect == "sqlite" else "string_agg")


def view_columns(view: str) -> dict[str, Column[Any]]:
    """Return the columns that a view can show, by name, with the types and docs of their tables."""
    shown = [column for table in VIEW_TABLES[view] for column in table.columns]
    return {column.name: column for column in (*shown, *VIEW_ADDITIONS[view])}
