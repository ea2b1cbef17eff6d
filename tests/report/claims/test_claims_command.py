"""`urfb report claims` on a real SQLite store."""

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.report.claims.conftest import ENDS, SIMPNET
from tests.store.recorded import PROVENANCE
from urfb.cli import app
from urfb.events import AlignmentPoint, EpochEnded, Finished, Started
from urfb.grid.expand import GridRun
from urfb.report.claims.measures import Cell
from urfb.report.protocols import BP, BP_H, FRFB, URFB
from urfb.store import open_for_writing
from urfb.theory.spec import Point, Simulated, SimulationSpec


def record(store, cell, seed, error):
    """Store ten epochs of a run, with the events that a worker sends."""
    spec = cell.spec().model_copy(update={"seed": seed, "epochs": 10})

    def points(epoch):
        correlation = epoch / (epoch + 20)
        return tuple(AlignmentPoint(90 * epoch, float(epoch), layer, "layer", correlation, None) for layer in (1, 2, 3))

    store.register([GridRun(spec, ("short",))])
    store.claim(spec)
    store.record(spec.identity, Started(0, PROVENANCE, points(0)))
    for epoch in range(1, 11):
        store.record(spec.identity, EpochEnded(epoch, 1.0, error, 1.0, error, 1.0, error, 1.0, points(epoch)))
    store.record(spec.identity, Finished(10, 1.0, 0.99))


@pytest.fixture(scope="module")
def location(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("claims") / "urfb.sqlite")
    store = open_for_writing(path)
    for seed in range(5):
        random = np.random.default_rng(seed)
        for protocol in (BP, BP_H, URFB, FRFB):
            if (protocol, seed) != (BP, 4):
                record(store, Cell(*SIMPNET, protocol), seed, ENDS[protocol.name] + random.normal(0, 0.002))
        for epsilon in (0.0, 0.25, 0.5, 1.0):
            points = tuple(Point(k, 10 ** (-(3 + epsilon + seed) * k / 1000), ()) for k in (0, 100, 1000))
            spec = SimulationSpec(epsilon=epsilon, draw=seed)
            store.keep_simulation(Simulated(spec, points, None, "2026-01-01", 1.0, "h", "0", None, "3", "2", "1"))
    store.close()
    return path


def claims(*arguments):
    return CliRunner().invoke(app, ["report", "claims", *arguments])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["2", "5", "6", "--setting", "short"], 0),
        (["epsilon", "linear"], 0),
        (["--setting", "short"], 3),  # BP has no seed 4
        (["depth"], 3),
        ([], 3),
    ],
)
def test_the_exit_code_says_whether_all_are_supported(location, arguments, code):
    result = claims(*arguments, "--store", location)
    assert result.exit_code == code, result.output
    assert result.stderr == ""


def test_a_contradicted_claim_exits_with_1(tmp_path):
    path = str(tmp_path / "urfb.sqlite")
    store = open_for_writing(path)
    for seed in range(5):
        record(store, Cell(*SIMPNET, BP), seed, 0.3)
        record(store, Cell(*SIMPNET, BP_H), seed, 0.5 + 0.01 * seed)
    store.close()
    result = claims("--setting", "short", "--store", path)
    assert result.exit_code == 1
    assert "CONTRADICTED" in result.stdout


def test_a_missing_run_is_reported_with_its_command(location):
    result = claims("1", "--setting", "short", "--store", location)
    assert "  - simpnet, CIFAR-10; BP; seed 4: never trained\n" in result.stdout
    assert "urfb grid run experiments.yaml short --where rule=bp" in result.stdout


def test_undecided_claims_name_the_settings_with_shorter_runs(location):
    text = claims("1", "2", "3", "linear", "--store", location).stdout
    assert text.endswith(
        "4 claims in the setting paper: 1 supported, 0 contradicted, 3 not enough runs\n"
        "  supported: linear\n"
        "  not enough runs: 1, 2, 3\n"
        "  --setting medium tests shorter runs of claims 1, 2, 3\n"
        "  --setting short tests shorter runs of claims 1, 2\n"
    )
    assert "--setting" not in claims("1", "--setting", "short", "--store", location).stdout


def test_json_to_a_file(location, tmp_path):
    out = tmp_path / "new" / "claims.json"
    result = claims("2", "--setting", "short", "--store", location, "--format", "json", "--out", str(out))
    assert (result.exit_code, result.stdout) == (0, "")
    (claim,) = json.loads(out.read_text())
    assert claim["verdict"] == "supported"
    assert claim["components"][0]["numbers"].keys() == {"0", "1", "2", "3", "4"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["7"], "there is no claim '7'"),
        (["3", "--setting", "short"], "the setting short does not test claim 3"),
        (["--out", "/proc/claims.txt"], "choose another path with --out"),
    ],
)
def test_bad_input_exits_with_2_and_one_message(location, arguments, message):
    result = claims(*arguments, "--store", location)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_help_has_an_example():
    assert "urfb report claims 1 2 --setting short" in claims("--help").stdout


def test_torch_is_not_needed():
    code = "import sys, urfb.report.claims, urfb.report.claims.formatting; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "sqlalchemy"}.isdisjoint(done.stdout.split())
