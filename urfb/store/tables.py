"""The tables of a store, and the views that people read.

    experiment ─ experiment_run ─ run ─┬─ attempt          one row an execution: where, with what, how it ended
                                       ├─ epoch            one row an epoch
                                       ├─ test             one row an evaluation on the test set, kept apart on purpose
                                       ├─ layer_alignment  one row a layer and alignment point
                                       └─ filters          one row a location at which an untied layer's W is kept

    simulation ─ trajectory ─ trajectory_layer  section 5: one row a simulation, moment of it, and layer at that moment

The views `runs`, `epochs`, `alignment`, `simulations`, `trajectories` and `trajectory_layers` join these into the tidy
tables that `urfb.store` and pandas read.
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
"""The schemas there have been, the last one this one; `MIGRATIONS` leads from each to the next."""

metadata = MetaData()

SPEC_COLUMNS = tuple(name for name in SETTINGS if name != "epochs")
"""The settings of a run, as columns: all but its target, which is `epochs_target`."""

KINDS: dict[type, Any] = {str: Text, int: Integer, float: Float, bool: Boolean}
BIG_INTEGER = BigInteger().with_variant(Integer, "sqlite")


def _column(setting: Setting) -> Column[Any]:
    """Return the column of a setting; the documentation has one row for all that a grid file can set."""
    upper_bounds = (getattr(bound, "lt", 0) for bound in get_args(setting.type)[1:])
    kind = BIG_INTEGER if max(upper_bounds, default=0) > 2**31 and setting.kind is int else KINDS[setting.kind]
    doc = None if setting.use.in_grid_file else setting.doc
    return Column(setting.name, kind, nullable=setting.optional, doc=doc)


run = Table(
    "run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("identity", String(16), nullable=False, unique=True, doc="hash of all that the run's numbers depend on"),
    *(_column(SETTINGS[name]) for name in SPEC_COLUMNS),
    Column("science_version", Integer, nullable=False, doc="of the numbers, raised when they change beyond rounding"),
    Column(
        "state",
        Text,
        nullable=False,
        default="new",
        index=True,
        doc="new, running, unfinished (stopped on the way), failed, cancelled or done",
    ),
    Column("epochs_target", Integer, nullable=False, doc="how far to train, the farthest that was asked for"),
    Column("epochs_done", Integer, nullable=False, default=0, doc="how many epochs are stored"),
    Column("owner", Text, doc="token of the runner that trains it now"),
    Column("owner_host", Text, doc="where that runner is"),
    Column("owner_process", Integer, doc="its process there"),
    Column("leased_until", Float, doc="until when the runner may be believed to live, in seconds since 1970"),
)

experiment = Table(
    "experiment",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True, doc="as in the grid file"),
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
    Column("started", Text, nullable=False, doc="when it was begun, UTC"),
    Column("host", Text, nullable=False, doc="where it was trained"),
    Column("process", Integer, doc="of the worker, there; like what follows, empty if the worker died before it told"),
    Column("device", Text, doc="cpu, or a GPU such as cuda:0"),
    Column("device_name", Text, doc="of the processor or GPU"),
    Column("threads", Integer, doc="CPU threads of a training step"),
    Column("urfb_version", Text, doc="of urfb"),
    Column("commit", Text, doc="of the checkout of urfb, with + where it was changed; empty without git"),
    Column("python_version", Text, doc="of Python"),
    Column("torch_version", Text, doc="of PyTorch"),
    Column("first_epoch", Integer, doc="the first epoch that was trained in it"),
    Column("ended", Text, doc="when it ended, UTC; empty while it runs"),
    Column("outcome", Text, doc="done, failed, interrupted or cancelled; empty while it runs"),
    Column("reason", Text, doc="why it failed or stopped, in one line"),
    Column("traceback", Text, doc="of a failure"),
    Column("log", Text, doc="the log's file, on the host"),
)

epoch = Table(
    "epoch",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True, doc="from 1"),
    Column("running_loss", Float, nullable=False, doc="mean of the epoch's batches, with dropout, as W changes"),
    Column(
        "running_error",
        Float,
        nullable=False,
        doc="mean of the epoch's batches, likewise: the fraction of images that are wrong",
    ),
    Column(
        "training_loss", Float, doc="after the epoch, of all training images, without dropout; empty after most epochs"
    ),
    Column(
        "training_error",
        Float,
        doc="after the epoch, the fraction of training images that are wrong; empty after most epochs",
    ),
    Column("validation_loss", Float, nullable=False, doc="after the epoch, of all validation images, without dropout"),
    Column(
        "validation_error",
        Float,
        nullable=False,
        doc="after the epoch, the fraction of validation images that are wrong",
    ),
    Column("seconds", Float, nullable=False, doc="that the epoch took"),
    sqlite_with_rowid=False,
)

test = Table(
    "test",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True, doc="after which the test images were looked at: the run's target"),
    Column("test_loss", Float, nullable=False, doc="of all test images, without dropout"),
    Column("test_error", Float, nullable=False, doc="the fraction of test images that are wrong, without dropout"),
    sqlite_with_rowid=False,
)

layer_alignment = Table(
    "layer_alignment",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("layer", Integer, primary_key=True, doc="from 1, the lowest"),
    Column("step", Integer, primary_key=True, doc="updates so far"),
    Column("epoch", Float, nullable=False, doc="epochs so far, with a fraction inside of an epoch"),
    Column("layer_name", Text, nullable=False, doc="in the paper's notation, or in a model of the user's own"),
    Column("correlation", Float, doc="of W and Rᵗ over all entries, −1 to 1; empty where one of them does not vary"),
    Column("correlation_shared", Float, doc="over the connections that both have"),
    Column("angle", Float, doc="between W and Rᵗ, in degrees"),
    Column("sign_agreement", Float, doc="fraction of the shared connections on which W and Rᵗ have the same sign"),
    Column("norm_ratio", Float, doc="‖R‖ / ‖W‖"),
    Column(
        "gradient_cosine",
        Float,
        doc="between the rule's gradient and true back-propagation's, with `gradient_batch`; else empty",
    ),
    Column(
        "filter_similarity", Float, doc="of an untied layer: how alike its filters are across locations; else empty"
    ),
    Column(
        "saturation",
        Float,
        doc="of a hidden layer: fraction of its units beyond σ's bounds, over the first 500 training images, without "
        "dropout; empty of the output, of a model of the user's own, and where a run is older than the measurement",
    ),
    sqlite_with_rowid=False,
)

filters = Table(
    "filters",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("layer", Integer, primary_key=True, doc="from 1, the lowest"),
    Column("row", Integer, primary_key=True, doc="of the location"),
    Column("column", Integer, primary_key=True, doc="of the location"),
    Column("epoch", Integer, primary_key=True, doc="after which they are kept"),
    Column("filters", Integer, nullable=False, doc="how many"),
    Column("height", Integer, nullable=False, doc="of a filter"),
    Column("width", Integer, nullable=False, doc="of a filter"),
    Column("channels", Integer, nullable=False, doc="of a filter"),
    Column("weights", LargeBinary, nullable=False, doc="[filters, height, width, channels], float32, little-endian"),
    sqlite_with_rowid=False,
)

RUN_TABLES = tuple(table for table in metadata.sorted_tables if "run_id" in table.c and table is not experiment_run)
"""The tables of a run's measurements and attempts, whose rows stay together."""

SIMULATION_COLUMNS = tuple(field.name for field in fields(SimulationSpec))

simulation = Table(
    "simulation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("identity", String(16), nullable=False, unique=True, doc="hash of all that the numbers depend on"),
    Column("layers", Text, nullable=False, doc="sizes, input first: '40-100-100-10'"),
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
    Column("theory_version", Integer, nullable=False, doc="of the numbers, raised when they change beyond rounding"),
    Column("diverged_at", Integer, doc="the iteration at which it diverged; empty where it did not"),
    Column("started", Text, nullable=False, doc="when, UTC"),
    Column("seconds", Float, nullable=False, doc="that it took"),
    Column("host", Text, nullable=False, doc="where"),
    Column("urfb_version", Text, nullable=False, doc="of urfb"),
    Column("commit", Text, doc="of the checkout of urfb; empty without git"),
    Column("python_version", Text, nullable=False, doc="of Python"),
    Column("numpy_version", Text, nullable=False, doc="of NumPy"),
    Column("scipy_version", Text, nullable=False, doc="of SciPy"),
)

trajectory = Table(
    "trajectory",
    metadata,
    Column("simulation_id", ForeignKey("simulation.id"), primary_key=True),
    Column("iteration", Integer, primary_key=True, doc="from 0"),
    Column("error", Float, nullable=False, doc="e = tr(EᵗE)"),
    sqlite_with_rowid=False,
)

trajectory_layer = Table(
    "trajectory_layer",
    metadata,
    Column("simulation_id", ForeignKey("simulation.id"), primary_key=True),
    Column("layer", Integer, primary_key=True, doc="from 1, the lowest"),
    Column("iteration", Integer, primary_key=True, doc="from 0"),
    Column("correlation", Float, doc="of W and Rᵗ; empty while W is 0"),
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
"""The tables that each view joins; where two have a column of one name, the view shows the later table's."""

_RUN_COLUMN = Column("run", run.c.identity.type, nullable=False, doc=run.c.identity.doc)
_SIMULATION_COLUMN = Column("simulation", simulation.c.identity.type, nullable=False, doc=simulation.c.identity.doc)
_TIME = Column("time", Float, nullable=False, doc="step_size · iteration")

VIEW_ADDITIONS: dict[str, tuple[Column[Any], ...]] = {
    "runs": (
        _RUN_COLUMN,
        Column("test_epoch", Integer, doc=test.c.epoch.doc),
        Column("experiments", Text, doc="names of the experiments that ask for it, with commas between"),
        Column("seconds", Float, doc="that its epochs took, together"),
        Column("attempts", Integer, nullable=False, doc="how often it was begun"),
    ),
    "epochs": (_RUN_COLUMN,),
    "alignment": (_RUN_COLUMN,),
    "simulations": (_SIMULATION_COLUMN, Column("error", Float, doc="the last one, e = tr(EᵗE)")),
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
    """Return the query of a view, in the words of SQLAlchemy's `dialect`."""
    return VIEWS[name].format(joined="group_concat" if dialect == "sqlite" else "string_agg")


def view_columns(view: str) -> dict[str, Column[Any]]:
    """Return the columns that a view can show, by name, each with the type and the doc that its table gives it."""
    shown = [column for table in VIEW_TABLES[view] for column in table.columns]
    return {column.name: column for column in (*shown, *VIEW_ADDITIONS[view])}
