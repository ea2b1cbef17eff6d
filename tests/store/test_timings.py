"""The stored times and sizes of epochs."""

from __future__ import annotations

from tests.helpers import tiny_run
from urfb.engines.estimate import TimedEpochs, stored_epochs, workloads
from urfb.events import EpochEnded, Provenance, Started
from urfb.grid.expand import GridRun
from urfb.store import WritableStore
from urfb.store.reading import TIMED_EXECUTIONS


def train(
    store: WritableStore, run: GridRun, epochs: range, seconds: float, *, device: str = "a processor", threads: int = 1
) -> None:
    """Store an execution of some epochs with equal times; the training images are evaluated after even epochs."""
    store.register([run])
    store.claim(run.spec)
    provenance = Provenance("host", 1, "cpu", device, threads, None, "0.1.0", None, "3.11", "2.15")
    store.record(run.spec.identity, Started(epochs.start - 1, provenance))
    for epoch in epochs:
        evaluated = 0.5 if epoch % 2 == 0 else None
        store.record(run.spec.identity, EpochEnded(epoch, 1.0, 0.5, evaluated, evaluated, 1.0, 0.5, seconds))
    store.release("interrupted")


def timed(store: WritableStore, device: str = "a processor", threads: int = 1) -> set[TimedEpochs]:
    return set(stored_epochs(store.epoch_seconds(device, threads)))


def test_epochs_are_timed_per_device_and_number_of_threads(store: WritableStore) -> None:
    run = tiny_run(epochs=99)
    workload = workloads(run.spec)[1]
    train(store, run, range(1, 4), 1.0)
    train(store, run, range(4, 6), 10.0, threads=2)
    train(store, run, range(6, 8), 100.0, device="a GPU")
    train(store, run, range(7, 9), 1000.0)  # epoch 7 again, because its checkpoint was lost
    assert timed(store) == {
        TimedEpochs(workload, False, 3, 1002.0),
        TimedEpochs(workload, True, 2, 1001.0),
    }
    assert timed(store, threads=2) == {TimedEpochs(workload, True, 1, 10.0), TimedEpochs(workload, False, 1, 10.0)}
    assert timed(store, device="a GPU") == {TimedEpochs(workload, True, 1, 100.0)}
    assert timed(store, device="another") == set()


def test_epochs_trained_again_count_for_the_later_execution(store: WritableStore) -> None:
    run = tiny_run(epochs=99)
    train(store, run, range(1, 4), 1.0)
    train(store, run, range(1, 3), 5.0, threads=2)
    assert timed(store) == set()
    assert sum(some.epochs for some in timed(store, threads=2)) == 2


def test_the_two_stages_of_a_run_are_two_workloads(store: WritableStore) -> None:
    run = tiny_run(epochs=9, untied="all", pretraining_epochs=2, frozen="none", rule="frfb")
    first, last = workloads(run.spec)
    train(store, run, range(1, 6), 2.0)
    assert timed(store) == {
        TimedEpochs(first, False, 1, 2.0),
        TimedEpochs(first, True, 1, 2.0),
        TimedEpochs(last, False, 2, 4.0),
        TimedEpochs(last, True, 1, 2.0),
    }


def test_only_the_latest_executions_per_workload_are_timed(store: WritableStore) -> None:
    for seed in range(TIMED_EXECUTIONS + 2):
        train(store, tiny_run(seed=seed, epochs=9), range(1, 2), float(seed))
    train(store, tiny_run(rule="bp", epochs=9), range(1, 2), 0.5)
    seconds = {some.workload.rule: (some.epochs, some.seconds) for some in timed(store)}
    assert seconds == {"bp": (1, 0.5), "urfb": (TIMED_EXECUTIONS, sum(range(2, TIMED_EXECUTIONS + 2)))}


def test_the_size_of_an_epoch_needs_enough_epochs(store: WritableStore) -> None:
    assert store.bytes_per_epoch() is None
    train(store, tiny_run(epochs=2000), range(1, 11), 1.0)
    assert store.bytes_per_epoch() is None
    train(store, tiny_run(epochs=2000), range(11, 1101), 1.0)
    size = store.bytes_per_epoch()
    assert size is not None
    assert 30 < size < 400
