"""CUDA graphs: one launch for all the work on a batch, because a GPU would wait between single launches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from urfb.learning.learner import Learner
from urfb.nn.modules import Network

WARM_UP = 3
"""The number of batches before the graph is captured, so that libraries have chosen their algorithms by then."""

Work = Callable[[Tensor], None]
"""A function that processes the images at the given positions [batch] of a split."""


def launched(work: Work, learner: Learner, size: int, streams: Sequence[torch.Generator] = ()) -> Work:
    """Return `work` unchanged, or on a GPU as a CUDA graph for batches of `size`.

    Args:
        work: the work on each batch.
        learner: the learner that does the work. A custom model gets no graph, because it may do what a graph cannot.
        size: the size of a whole batch. A smaller last batch is launched as usual.
        streams: the random streams from which the work draws.
    """
    on_gpu = any(parameter.is_cuda for parameter in learner.parameters())
    graphable = learner.graphable and isinstance(learner.network, Network)
    return Graphed(work, size, streams) if on_gpu and graphable else work


class Graphed:
    """Work that launches its first few batches as usual, and each later one as a CUDA graph."""

    def __init__(self, work: Work, size: int, streams: Sequence[torch.Generator]) -> None:
        """Take the arguments of `launched`."""
        self.work, self.size, self.streams = work, size, streams
        self.graph: torch.cuda.CUDAGraph | None = None
        self.shown = 0
        self.positions: Tensor | None = None

    def __call__(self, positions: Tensor) -> None:
        """Do the work on one batch."""
        if len(positions) != self.size:
            self.work(positions)
        elif self.shown < WARM_UP:
            self.warm_up(positions)
        else:
            if self.graph is None:
                self.positions = positions.clone()
                self.graph = self.captured(self.positions)
            assert self.positions is not None
            self.positions.copy_(positions)
            self.graph.replay()

    def warm_up(self, positions: Tensor) -> None:
        """Do the work on a side stream, which PyTorch requires before a capture."""
        side_stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):
            self.work(positions)
        torch.cuda.current_stream().wait_stream(side_stream)
        self.shown += 1

    def captured(self, positions: Tensor) -> torch.cuda.CUDAGraph:
        """Capture the work on the content of `positions` as a graph, without doing it yet."""
        graph = torch.cuda.CUDAGraph()
        for stream in self.streams:
            graph.register_generator_state(stream)
        with torch.cuda.graph(graph):
            self.work(positions)
        return graph
