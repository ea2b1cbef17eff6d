"""Measures candidates side by side: interleaved, so that the machine's changes of speed meet all of them alike."""

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
"""Timed together there, for one is too short for the clock; on a CPU each is timed alone."""
PRODUCTS = {"aten::convolution", "aten::convolution_backward", "aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm"}
"""What a network's arithmetic is done by; everything else of a step comes on top."""


@dataclass(frozen=True)
class Figures:
    """What was measured of one candidate on one network.

    Attributes:
        network, dataset, candidate: their names.
        step_ms: of each round, the milliseconds of a training step.
        bare_ms: of each round, those of the step's own convolutions and matrix products, alone on the same tensors.
        evaluation_ms: of each round, those of evaluating as many images as a step has; of urfb's code alone.
        flop: floating-point operations of a step.
        memory: bytes that a step takes at its peak besides PyTorch and the data.
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
        """Return how many times as fast as `baseline` this is, round by round."""
        return [reference / step for step, reference in zip(self.step_ms, baseline.step_ms, strict=True)]

    @property
    def over_bare(self) -> float:
        """How many times its bare operations a step takes."""
        return statistics.median(step / bare for step, bare in zip(self.step_ms, self.bare_ms, strict=True))

    @property
    def evaluation_share(self) -> float:
        """Which part of a long run evaluation takes: of validation images each epoch, of training images each fifth."""
        info = dataset_info(self.dataset)
        images = 1 / 5 + info.validation / info.training
        evaluation, step = statistics.median(self.evaluation_ms) * images, statistics.median(self.step_ms)
        return evaluation / (evaluation + step)


def measure(
    network: str, tested: Sequence[Candidate], *, rounds: int, steps: int, device: torch.device
) -> Iterator[Figures]:
    """Measure the candidates of one network in turn, `rounds` times after a warm-up of two."""
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
    """Records every convolution and matrix product that is done in the context, with its arguments."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Callable[[], Any]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function._schema.name in PRODUCTS:
            self.calls.append(lambda: function(*args, **(kwargs or {})))
        return function(*args, **(kwargs or {}))


def bare_seconds(candidate: Candidate, prepared: Prepared, device: torch.device) -> float:
    """Return how long a step's own convolutions and matrix products take, one after the other."""
    with _Recorded() as recorded:
        prepared.step()

    def replay() -> None:
        with torch.no_grad(), arithmetic(candidate.spec.precision, device):
            for call in recorded.calls:
                call()

    return seconds(replay, device)


def peak_memory(candidate: Candidate, device: torch.device) -> int:
    """Return the bytes that a candidate's steps take at their peak beyond those before; on a CPU in a new process."""
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
    """Return by how much this new process has grown at most."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    torch.ones(300, 300) @ torch.ones(300, 300)  # libraries take memory of their own when they are first used
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
    """Measure networks one after the other, and yield the figures of each; write all of them to `json_file`.

    Raises:
        InputError: a network, the data set or the device is not one, or `json_file` cannot be written.
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
