"""CUDA graphs: the same work on every batch, launched as one, because a GPU would wait for single launches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from urfb.learning.learner import Learner
from urfb.nn.modules import Network

WARM_UP = 3
"""Batches that are shown before the graph is made, so that libraries have chosen their algorithms by then."""

Work = Callable[[Tensor], None]
"""What is done with the images at some positions [batch] of a split."""


def launched(work: Work, learner: Learner, size: int, streams: Sequence[torch.Generator] = ()) -> Work:
    """Return `work` as it is, or on a GPU as a CUDA graph for batches of `size`.

    Args:
        work: to do with each batch.
        learner: that does it. A user's own model is launched as usual, for it may do what no graph can hold.
        size: of a whole batch; a smaller one at the end is launched as usual.
        streams: of random numbers that the work draws from.
    """
    on_gpu = any(parameter.is_cuda for parameter in learner.parameters())
    graphable = learner.graphable and isinstance(learner.network, Network)
    return Graphed(work, size, streams) if on_gpu and graphable else work


class Graphed:
    """Does the first few batches as usual, then the same with one launch each."""

    def __init__(self, work: Work, size: int, streams: Sequence[torch.Generator]) -> None:
        """See `launched`."""
        self.work, self.size, self.streams = work, size, streams
        self.graph: torch.cuda.CUDAGraph | None = None
        self.shown = 0
        self.positions: Tensor | None = None

    def __call__(self, positions: Tensor) -> None:
        """Do the work."""
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
        """Do the work on a stream of its own, as PyTorch asks of what will be captured."""
        side_stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):
            self.work(positions)
        torch.cuda.current_stream().wait_stream(side_stream)
        self.shown += 1

    def captured(self, positions: Tensor) -> torch.cuda.CUDAGraph:
        """Return the work on whatever stands in `positions`, as a graph; nothing is done yet."""
        graph = torch.cuda.CUDAGraph()
        for stream in self.streams:
            graph.register_generator_state(stream)
        with torch.cuda.graph(graph):
            self.work(positions)
        return graph
