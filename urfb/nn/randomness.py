"""Named random streams, so that a draw depends on its purpose and not on earlier draws."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def generator(seed: int, *name: object, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the stream of `seed` for one purpose, such as `generator(0, "weight", 2)`.

    The same seed gives W, R and each mask the same values under every rule, so rules can be compared run by run.
    """
    return torch.Generator(device=device).manual_seed(seed_of(seed, *name))


def seed_of(seed: int, *name: object) -> int:
    """Return the seed of the stream that `generator` returns."""
    digest = hashlib.sha256(repr((seed, *name)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@contextmanager
def seeded(seed: int, *name: object, device: torch.device | None = None) -> Iterator[None]:
    """Seed PyTorch's default streams, from which custom modules draw, within the context."""
    gpus = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(gpus):
        torch.manual_seed(seed_of(seed, *name))
        yield


class RandomModule(nn.Module):
    """A module that draws random numbers for each batch.

    Attributes:
        purpose: the name of its stream.
        stream: its random stream, which training seeds at each epoch so that a resumed epoch draws the same; None for
            PyTorch's default stream.
    """

    purpose: str
    stream: torch.Generator | None = None


def glorot_limit(fan_in: int, fan_out: int) -> float:
    """Return √(6/(fan_in+fan_out)), the bound of Glorot's uniform distribution."""
    return float((6 / (fan_in + fan_out)) ** 0.5)


def uniform(shape: Sequence[int], limit: float, stream: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Draw values of `shape` uniformly within ±limit."""
    # Drawn in float64 at every precision, so that float32 and float64 runs start from the same weights.
    return torch.empty(shape, dtype=torch.float64).uniform_(-limit, limit, generator=stream).to(dtype)


def connections(shape: Sequence[int], density: float, stream: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Draw a mask of `shape`: each entry is 1, for a connection, with probability `density`, otherwise 0."""
    return (torch.rand(shape, dtype=torch.float64, generator=stream) < density).to(dtype)
