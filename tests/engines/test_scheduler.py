"""The runs that a runner stores, tries again and leaves to other runners, with an engine that trains nothing."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import tiny_run
from tests.store.recorded import PROVENANCE, epoch, started
from urfb.engines import Job
from urfb.engines.scheduler import LOSSES, Outcome, run_missing
from urfb.errors import StoreError
from urfb.events import END, Event, Failed, Finished, Lost, Stopped
from urfb.grid.spec import RunSpec
from urfb.store import WritableStore, open_for_writing
from urfb.store.removal import plan_removal, remove

FIRST, SECOND = tiny_run(seed=0).spec, tiny_run(seed=1).spec
DONE: list[Event] = [started(), epoch(1), epoch(2), Finished(2, 1.0, 0.25)]
FAILED, LOST = Failed("ValueError: bad", "traceback"), Lost("killed")


class Scripted:
    """An engine that sends the events that a test has listed for each attempt, one event per run and poll."""

    def __init__(self, attempts: dict[RunSpec, list[list[Event]]], *, most: int = 1) -> None:
        self.attempts = {spec.identity: deque(each) for spec, each in attempts.items()}
        self.most = most
        self.jobs: list[Job] = []
        self.dropped: list[str] = []
        self.at_work: dict[str, deque[Event]] = {}
        self.closed = False

    @property
    def room(self) -> int:
        return self.most - len(self.at_work)

    def submit(self, job: Job) -> None:
        assert self.room
        self.jobs.append(job)
        self.at_work[job.spec.identity] = deque(self.attempts[job.spec.identity].popleft())

    def poll(self, seconds: float) -> Iterator[tuple[str, Event]]:
        for identity, events in list(self.at_work.items()):
            event = events.popleft()
            if isinstance(event, END):
                del self.at_work[identity]
            yield identity, event

    def drop(self, identity: str) -> None:
        del self.at_work[identity]
        self.dropped.append(identity)

    def end_jobs(self) -> None:
        for events in self.at_work.values():
            ends = events[0] if isinstance(events[0], END) else Stopped()
            events.clear()
            events.extend([epoch(1), ends])

    def close(self) -> None:
        self.closed = True


class Watcher:
    """Records notices, and calls a test's functions at an event or while the runner waits."""

    def __init__(
        self,
        on_event: Callable[[RunSpec, Event], object] = lambda spec, event: None,
        on_wait: Callable[[int], object] = lambda times: None,
    ) -> None:
        self.on_event, self.on_wait = on_event, on_wait
        self.waits: list[list[RunSpec]] = []
        self.lost: list[RunSpec] = []
        self.stops = 0

    def recorded(self, spec: RunSpec, event: Event) -> None:
        self.on_event(spec, event)

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        self.waits.append(list(specs))
        assert len(self.waits) < 50
        self.on_wait(len(self.waits))

    def dropped(self, spec: RunSpec) -> None:
        self.lost.append(spec)

    def stopping(self) -> None:
        self.stops += 1


@pytest.fixture(autouse=True)
def _polls_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urfb.engines.scheduler.POLL_SECONDS", 0.01)


@pytest.fixture
def store(tmp_path: Path) -> WritableStore:
    store = open_for_writing(str(tmp_path / "urfb.sqlite"))
    store.register([tiny_run(seed=seed) for seed in (0, 1)])
    return store


@pytest.fixture
def sql(tmp_path: Path) -> Callable[[str], list[Any]]:
    """A function that executes SQL directly in the database, for changes by runners on other machines."""

    def execute(statement: str) -> list[Any]:
        with sqlite3.connect(tmp_path / "urfb.sqlite") as connection:
            rows = connection.execute(statement).fetchall()
        connection.close()
        return rows

    return execute


def given_to_another(spec: RunSpec, state: str = "running") -> str:
    """Return the SQL by which a runner on another machine takes a run, or ends it with a state."""
    owner = "'another', owner_host = 'elsewhere', leased_until = 1e12" if state == "running" else "NULL"
    return f"UPDATE run SET state = '{state}', owner = {owner} WHERE identity = '{spec.identity}'"


def test_a_run_that_another_runner_releases_is_trained(store: WritableStore, sql: Callable[[str], list[Any]]) -> None:
    sql(given_to_another(FIRST))
    engine = Scripted({FIRST: [DONE], SECOND: [DONE]})
    watcher = Watcher(on_wait=lambda times: times == 4 and sql(given_to_another(FIRST, "unfinished")))
    assert run_missing([FIRST, SECOND], store, engine, watcher) == Outcome(done=2)
    assert [job.spec for job in engine.jobs] == [SECOND, FIRST]
    assert len(watcher.waits) >= 4
    assert all(specs == [FIRST] for specs in watcher.waits)
    assert engine.closed


@pytest.mark.parametrize("state", ["done", "cancelled"])
def test_a_run_that_another_runner_ends_is_not_trained(
    store: WritableStore, sql: Callable[[str], list[Any]], state: str
) -> None:
    sql(given_to_another(FIRST))
    sql("UPDATE run SET epochs_done = 2")
    engine = Scripted({})
    watcher = Watcher(on_wait=lambda times: sql(given_to_another(FIRST, state)))
    assert run_missing([FIRST], store, engine, watcher) == Outcome()
    assert engine.jobs == []


def test_a_runner_that_waits_for_another_can_be_stopped(store: WritableStore, sql: Callable[[str], list[Any]]) -> None:
    sql(given_to_another(FIRST))
    watcher = Watcher()
    outcome = run_missing([FIRST], store, Scripted({}), watcher, stop=lambda: len(watcher.waits) >= 2)
    assert outcome == Outcome(left=1)
    assert watcher.stops == 1


def test_a_stop_ends_the_jobs_once_and_begins_no_other(store: WritableStore) -> None:
    engine, watcher = Scripted({FIRST: [DONE]}), Watcher()
    assert run_missing([FIRST, SECOND], store, engine, watcher, stop=lambda: not engine.room) == Outcome(left=2)
    assert watcher.stops == 1
    assert [job.spec for job in engine.jobs] == [FIRST]


def test_runs_that_end_before_a_stop_is_noticed_are_not_left(store: WritableStore) -> None:
    events: list[Event] = []
    watcher = Watcher(on_event=lambda spec, event: events.append(event))
    engine = Scripted({FIRST: [[started(), Finished(1, 1.0, 0.25)]]})  # stopped in the last epoch
    assert run_missing([FIRST], store, engine, watcher, stop=lambda: bool(events)) == Outcome(done=1)
    assert watcher.stops == 1


def test_a_store_deleted_before_the_end_is_an_error(store: WritableStore, tmp_path: Path) -> None:
    def delete(spec: RunSpec, event: Event) -> None:
        if isinstance(event, Finished):
            (tmp_path / "urfb.sqlite").unlink()

    with pytest.raises(StoreError, match="moved, replaced or deleted"):
        run_missing([FIRST], store, Scripted({FIRST: [DONE]}), Watcher(on_event=delete))


def test_a_worker_that_dies_while_the_runner_stops_is_not_replaced(store: WritableStore) -> None:
    engine = Scripted({FIRST: [[started(), LOST]]})
    assert run_missing([FIRST], store, engine, Watcher(), stop=lambda: not engine.room) == Outcome(left=1)
    assert store.runs()["state"].tolist() == ["unfinished", "new"]


def test_resumed_run_keeps_threads_and_stored_epochs(store: WritableStore) -> None:
    store.claim(FIRST)
    for event in (started(), epoch(1), Stopped()):
        store.record(FIRST.identity, event)
    engine = Scripted({FIRST: [[started(1), epoch(2), Finished(2, 1.0, 0.25)]]})
    assert run_missing([FIRST], store, engine, Watcher()) == Outcome(done=1)
    assert engine.jobs == [Job(FIRST, 1, PROVENANCE.threads)]


def test_worker_deaths_are_unlimited_if_epochs_end_between(store: WritableStore) -> None:
    attempts: list[list[Event]] = [[started(done), epoch(done + 1), LOST] for done in range(LOSSES + 1)]
    spec = FIRST.model_copy(update={"epochs": LOSSES + 1})
    engine = Scripted({spec: [*attempts, [Finished(LOSSES + 1, 1.0, 0.25)]]})
    assert run_missing([spec], store, engine, Watcher()) == Outcome(done=1)
    assert len(engine.jobs) == LOSSES + 2


def test_repeated_worker_deaths_before_an_epoch_fail_the_run(store: WritableStore) -> None:
    attempts: list[list[Event]] = [[started(), LOST]] * LOSSES
    assert run_missing([FIRST], store, Scripted({FIRST: attempts}), Watcher()) == Outcome(failed=1)
    (reason,) = store.runs(state="failed")["reason"]
    assert reason == f"killed, {LOSSES} times in a row"


@pytest.mark.parametrize("ends", [[FAILED], [LOST, FAILED], [Stopped()]], ids=["failed", "lost", "stopped"])
def test_checkpoints_of_runs_that_are_not_done_stay(store: WritableStore, ends: list[Event]) -> None:
    engine = Scripted({FIRST: [[started(), end] for end in ends], SECOND: [DONE]})
    discarded: list[RunSpec] = []
    run_missing([FIRST, SECOND], store, engine, Watcher(), discard=discarded.append)
    assert discarded == [SECOND]


def test_old_failure_is_retried_but_not_a_new_failure_elsewhere(store: WritableStore, tmp_path: Path) -> None:
    def fail(spec: RunSpec) -> None:
        other = open_for_writing(str(tmp_path / "urfb.sqlite"))
        other.claim(spec)
        other.record(spec.identity, FAILED)

    for spec in (FIRST, SECOND):
        fail(spec)
    engine = Scripted({FIRST: [DONE]})
    watcher = Watcher(lambda spec, event: fail(SECOND) if isinstance(event, Finished) else None)
    assert run_missing([FIRST, SECOND], store, engine, watcher) == Outcome(done=1, failed=1)
    assert store.failures() == {FIRST.identity: 1, SECOND.identity: 2}


def test_a_run_taken_by_another_runner_is_dropped_and_awaited(
    store: WritableStore, sql: Callable[[str], list[Any]]
) -> None:
    taken = iter([epoch(1)])
    engine = Scripted({FIRST: [DONE, DONE]})
    watcher = Watcher(
        lambda spec, event: event == epoch(1) and next(taken, None) and sql(given_to_another(FIRST)),
        lambda times: sql(given_to_another(FIRST, "unfinished")),
    )
    assert run_missing([FIRST], store, engine, watcher) == Outcome(done=1)
    assert engine.dropped == [FIRST.identity]
    assert watcher.lost == [FIRST]
    assert [job.epochs_stored for job in engine.jobs] == [0, 1]


def test_the_end_of_a_run_taken_by_another_runner_is_not_stored(
    store: WritableStore, sql: Callable[[str], list[Any]]
) -> None:
    engine = Scripted({FIRST: [DONE]})
    watcher = Watcher(
        lambda spec, event: event == epoch(2) and sql(given_to_another(FIRST)),
        lambda times: sql(given_to_another(FIRST, "cancelled")),
    )
    assert run_missing([FIRST], store, engine, watcher) == Outcome()
    assert (engine.dropped, watcher.lost) == ([], [FIRST])
    assert store.runs()["state"].tolist() == ["cancelled", "new"]


def test_a_run_removed_while_it_waits_in_the_queue_is_dropped(store: WritableStore) -> None:
    second = plan_removal(store, [SECOND.identity])
    watcher = Watcher(lambda spec, event: event == epoch(1) and remove(store, second))
    assert run_missing([FIRST, SECOND], store, Scripted({FIRST: [DONE]}), watcher) == Outcome(done=1)
    assert watcher.lost == [SECOND]
    assert store.runs()["state"].tolist() == ["done"]


def test_a_run_removed_while_it_is_trained_is_dropped_once(store: WritableStore) -> None:
    def cancel_and_remove(spec: RunSpec, event: Event) -> None:
        if event == epoch(1):
            store.cancel([spec.identity])
            remove(store, plan_removal(store, [spec.identity]))

    engine, watcher = Scripted({FIRST: [DONE]}), Watcher(cancel_and_remove)
    assert run_missing([FIRST], store, engine, watcher) == Outcome()
    assert (engine.dropped, watcher.lost) == ([FIRST.identity], [FIRST])


def test_a_run_removed_while_another_runner_has_it_is_dropped(
    store: WritableStore, sql: Callable[[str], list[Any]]
) -> None:
    sql(given_to_another(FIRST))

    def remove_when_it_is_given_back(times: int) -> None:
        sql(given_to_another(FIRST, "unfinished"))
        remove(store, plan_removal(store, [FIRST.identity]))

    watcher = Watcher(on_wait=remove_when_it_is_given_back)
    assert run_missing([FIRST], store, Scripted({}), watcher) == Outcome()
    assert watcher.lost == [FIRST]


def test_leases_are_renewed_during_long_epochs(
    store: WritableStore, sql: Callable[[str], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urfb.engines.scheduler.LEASE_SECONDS", 0.04)

    def wait_for_renewal(spec: RunSpec, event: Event) -> None:
        sql("UPDATE run SET leased_until = 0 WHERE owner IS NOT NULL")
        deadline = time.monotonic() + 10
        while event == epoch(1) and sql("SELECT * FROM run WHERE leased_until = 0"):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    assert run_missing([FIRST], store, Scripted({FIRST: [DONE]}), Watcher(wait_for_renewal)) == Outcome(done=1)
