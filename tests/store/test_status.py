from __future__ import annotations

from pathlib import Path

from tests.helpers import tiny_run
from tests.store.recorded import epoch, finish, started
from urfb.events import Failed
from urfb.store import open_for_writing
from urfb.store.status import run_statuses


def test_status_gives_state_experiments_and_last_failure_reason(tmp_path: Path) -> None:
    store = open_for_writing(str(tmp_path / "urfb.sqlite"))
    runs = [tiny_run("b", "a", seed=0), tiny_run("b", seed=1, rule="bp", epochs=3), tiny_run("b", seed=2)]
    store.register(runs)
    finish(store, runs[0])
    for reason in ("first", "second"):
        store.claim(runs[1].spec)
        store.record(runs[1].spec.identity, started())
        store.record(runs[1].spec.identity, epoch(1))
        store.record(runs[1].spec.identity, Failed(reason, ""))
    done, failed, new = run_statuses(store)
    assert (done.state, done.epochs_done, done.epochs_target, done.experiments) == ("done", 2, 2, ("a", "b"))
    assert (done.run, done.reason) == (runs[0].spec.identity, None)
    assert (failed.state, failed.epochs_done, failed.epochs_target, failed.reason) == ("failed", 1, 3, "second")
    assert (failed.rule, failed.dataset, failed.experiments) == ("bp", "digits", ("b",))
    assert (new.state, new.reason) == ("new", None)
