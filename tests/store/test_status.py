from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.helpers import tiny_run
from tests.store.recorded import epoch, finish, started
from urfb.events import Failed
from urfb.grid.expand import GridRun
from urfb.store import WritableStore, open_for_writing
from urfb.store.status import changes, run_statuses


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
    assert (failed.settings["rule"], failed.settings["dataset"], failed.experiments) == ("bp", "digits", ("b",))
    assert (new.state, new.reason) == ("new", None)


def of_source(source: str, seed: int = 0) -> GridRun:
    run = tiny_run(seed=seed)
    return replace(run, spec=run.spec.model_copy(update={"source": source}))


def test_a_run_of_an_older_source_is_named(store: WritableStore) -> None:
    trained, untrained = of_source("old"), of_source("old", seed=1)
    store.register([trained, untrained])
    finish(store, trained)
    found = changes(store, [of_source("new").spec, of_source("new", seed=1).spec, of_source("new", seed=2).spec])
    assert found == [f"source changed since run {trained.spec.identity} (2 epochs)", None, None]


def test_a_run_of_an_older_science_version_is_named(store: WritableStore, sql: Callable[[str], object]) -> None:
    run = tiny_run()
    store.register([run])
    finish(store, run)
    assert changes(store, [run.spec]) == [None]
    sql("UPDATE run SET science_version = 1, identity = 'older'")
    found = changes(store, [tiny_run(seed=1).spec, run.spec])
    assert found == [None, "an older urfb trained run older (2 epochs); its results differ"]


def test_the_latest_of_several_older_sources_is_named(store: WritableStore) -> None:
    first, second, third = map(of_source, "abc")
    store.register([first, second])
    for run in (first, second):
        finish(store, run)
    renamed = third.spec.model_copy(update={"network": "another name", "epochs": 9})
    for spec in (third.spec, renamed):
        assert changes(store, [spec]) == [f"source changed since run {second.spec.identity} (2 epochs)"]
