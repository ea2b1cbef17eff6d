"""Measure candidates in turn, round by round, so that changes in the machine's speed affect all of them equally."""

from __future__ import annotations

import json
import multiprocessing
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from urfb.bench.candidates import Candidate, Prepared, candidates
from urfb.data.catalog import dataset_info
from urfb.engines.measuring import peak_resident, seconds
from urfb.engines.memory import keep_freed_memory
from urfb.engines.runner import find_devices
from urfb.files import write_file
from urfb.grid.shown import costs_of
from urfb.training.arithmetic import arithmetic
from urfb.training.provenance import provenance

STEPS_ON_A_GPU = 100
"""The steps that are timed together on a GPU, because one is too short for the clock. On a CPU each is timed alone."""
PRODUCTS = {"aten::convolution", "aten::convolution_backward", "aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm"}
"""The operations that do a network's arithmetic. Everything else in a step is overhead."""


@dataclass(frozen=True)
class Figures:
    """The measurements of one candidate on one network.

    Attributes:
        network, dataset, candidate: their names.
        step_ms: the milliseconds per training step in each round.
        bare_ms: the milliseconds in each round that the step's convolutions and matrix products take alone, on the same
            tensors.
        evaluation_ms: the milliseconds in each round for evaluating as many images as a step has; empty for code other
            than urfb's.
        flop: the floating-point operations per step.
        memory: the peak memory of a step in bytes, without PyTorch and the data.
    """

    network: str
    dataset: str
    candidate: str
    step_ms: tuple[float, ...]
    bare_ms: tuple[float, ...]
    evaluation_ms: tuple[float, ...]
    flop: int
    memory: int

    def ratios(self, baseline: Figures) -> list[float]:
        """Return, for each round, how many times as fast as `baseline` this candidate is."""
        return [reference / step for step, reference in zip(self.step_ms, baseline.step_ms, strict=True)]

    @property
    def over_bare(self) -> float:
        """The time of a step as a multiple of the time of its bare operations."""
        return statistics.median(step / bare for step, bare in zip(self.step_ms, self.bare_ms, strict=True))

    @property
    def evaluation_share(self) -> float:
        """The fraction of a long run that evaluation takes.

        Validation images are evaluated after every epoch, training images after every fifth.
        """
        info = dataset_info(self.dataset)
        images = 1 / 5 + info.validation / info.training
        evaluation, step = statistics.median(self.evaluation_ms) * images, statistics.median(self.step_ms)
        return evaluation / (evaluation + step)


def measure(
    network: str, tested: Sequence[Candidate], *, rounds: int, steps: int, device: torch.device
) -> Iterator[Figures]:
    """Measure the candidates of one network in turn, for `rounds` rounds after two warm-up rounds."""
    memory = [peak_memory(candidate, device) for candidate in tested]
    all_prepared = [candidate.prepare(steps, device) for candidate in tested]
    all_times: list[dict[str, list[float]]] = [{"step": [], "bare": [], "evaluation": []} for _ in tested]
    for round_number in range(-2, rounds):
        for candidate, prepared, times in zip(tested, all_prepared, all_times, strict=True):
            step = seconds(prepared.epoch, device) / steps
            bare = bare_seconds(candidate, prepared, device)
            evaluation = None if prepared.evaluate is None else seconds(prepared.evaluate, device) / steps
            if round_number >= 0:
                times["step"].append(1e3 * step)
                times["bare"].append(1e3 * bare)
                times["evaluation"].extend([] if evaluation is None else [1e3 * evaluation])
    for candidate, times, peak in zip(tested, all_times, memory, strict=True):
        spec = candidate.spec
        yield Figures(
            network,
            spec.dataset,
            candidate.name,
            tuple(times["step"]),
            tuple(times["bare"]),
            tuple(times["evaluation"]),
            costs_of(spec).step * spec.batch_size,
            peak,
        )


class _Recorded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context that records every convolution and matrix product in it, with its arguments."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Callable[[], Any]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function._schema.name in PRODUCTS:
            self.calls.append(lambda: function(*args, **(kwargs or {})))
        return function(*args, **(kwargs or {}))


def bare_seconds(candidate: Candidate, prepared: Prepared, device: torch.device) -> float:
    """Return the seconds that a step's convolutions and matrix products take alone, one after the other."""
    with _Recorded() as recorded:
        prepared.step()

    def replay() -> None:
        with torch.no_grad(), arithmetic(candidate.spec.precision, device):
            for call in recorded.calls:
                call()

    return seconds(replay, device)


def peak_memory(candidate: Candidate, device: torch.device) -> int:
    """Return the peak memory of a candidate's steps in bytes, without what the process used before them.

    On a CPU, the steps run in a new process.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        prepared = candidate.prepare(1, device)
        for _ in range(3):
            prepared.step()
        return int(torch.cuda.max_memory_allocated(device)) - before
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_growth, candidate, torch.get_num_threads()).result()


def _growth(candidate: Candidate, threads: int) -> int:
    """Return the peak growth of this new process in bytes."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    torch.ones(300, 300) @ torch.ones(300, 300)  # libraries allocate memory at their first use
    before = psutil.Process().memory_info().rss
    prepared = candidate.prepare(1, torch.device("cpu"))
    for _ in range(3):
        prepared.step()
    return peak_resident() - before


def run_bench(
    networks: Sequence[str],
    dataset: str,
    batch_size: int,
    *,
    rounds: int,
    device: str,
    default_malloc: bool,
    json_file: Path | None,
) -> Iterator[list[Figures]]:
    """Measure networks one after the other. Yield the figures of each, and write all of them to `json_file`.

    Raises:
        InputError: a network, the data set or the device is invalid, or `json_file` cannot be written.
    """
    where = torch.device(find_devices(device)[0])
    planned = [(name, candidates(name, dataset, batch_size, where)) for name in networks]
    if not default_malloc:
        keep_freed_memory()
    steps = STEPS_ON_A_GPU if where.type == "cuda" else 1
    measured: list[Figures] = []
    for name, tested in planned:
        figures = list(measure(name, tested, rounds=rounds, steps=steps, device=where))
        measured += figures
        if json_file is not None:
            written = {
                **asdict(provenance(where)),
                "batch_size": batch_size,
                "default_malloc": default_malloc,
                "figures": [asdict(row) for row in measured],
            }
            write_file(json_file, json.dumps(written, indent=1).encode(), "--json")
        yield figures
