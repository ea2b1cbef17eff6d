"""One training step in NumPy, written from the paper. It shares no code with `urfb.nn`, which it checks.

The code has loops where the equations have sums, so it is slow. A network is a list of statements such as ("conv",),
("pool", 3, 2), ("sum",), ("full",), ("output",). Weights are one array per layer, in order. An untied layer is a
("conv",) whose weights are [locations, filters, k, k, channels].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Statement = tuple[Any, ...]


def step(
    rule: str,
    network: list[Statement],
    x: Array,
    labels: NDArray[np.int64],
    W: list[Array],
    R: list[Array] | None,
    *,
    step_size: float,
    epsilon: float,
    decay: float,
    slope: float,
    zeros_at_the_end: bool,
    hinge: bool,
    masks: list[tuple[Array, Array]],
) -> tuple[list[Array], list[Array]]:
    """Return W and R after one step on the batch x [n, channels, height, width].

    Every δ is computed from the weights before the update. Without R, W carries the error signal down. Under 'dfa', R
    [outputs, units below] carries the output error to the input of its layer.
    """
    if R is None:
        carriers = W
    elif rule in ("usf", "brsf", "frsf"):
        carriers = [np.sign(w) * np.abs(r) for w, r in zip(W, R, strict=True)]
    else:
        carriers = R
    count = len(x)
    history: list[tuple[Array, Any]] = []  # the input of each statement, and what its backward pass needs
    convs: list[tuple[int, Array]] = []
    layer = 0
    for position, statement in enumerate(network):
        kind = statement[0]
        if kind == "conv":
            h = convolve(x, W[layer])
            history.append((x, (layer, h)))
            x = saturate(slope * h)
            convs.append((position, x))
            layer += 1
        elif kind == "pool":
            below = x
            x, winners = pool(x, *statement[1:], zeros_at_the_end)
            history.append((below, winners))
        elif kind == "sum":
            history.append((x, None))
            x = convs[-2][1] + convs[-1][1]
        else:
            flat = x.transpose(0, 2, 3, 1).reshape(count, -1) if x.ndim == 4 else x
            h = flat @ W[layer].T
            history.append((x, (layer, h, flat)))
            x = saturate(slope * h) if kind == "full" else h
            layer += 1

    delta = hinge_signal(x, labels) if hinge else softmax_signal(x, labels)  # −δ_L before the batch mean
    signal = output_error = delta / count
    increments: dict[int, Array] = {}
    pending: dict[int, Array] = {}  # error signals from SUM for a lower conv layer
    for position in reversed(range(len(network))):
        kind = network[position][0]
        below, kept = history[position]
        if position in pending:
            signal = signal + pending.pop(position)
        if kind == "pool":
            signal = unpool(signal, kept, below.shape)
        elif kind == "sum":
            first, second = [place for place, _ in convs if place < position][-2:]
            pending[first] = signal
            assert second == position - 1
        elif kind == "conv":
            number, h = kept
            local = signal * (slope * (np.abs(slope * h) <= 1))
            increments[number] = correlate(below, local, W[number].shape)
            if rule == "dfa":
                signal = (output_error @ carriers[number]).reshape(below.shape)
            else:
                signal = transpose_convolve(local, carriers[number], below.shape)
        else:
            number, h, flat = kept
            local = signal * (slope * (np.abs(slope * h) <= 1)) if kind == "full" else signal
            increments[number] = local.T @ flat
            signal = (output_error if rule == "dfa" else local) @ carriers[number]
            if below.ndim == 4:
                n, channels, height, width = below.shape
                signal = signal.reshape(n, height, width, channels).transpose(0, 3, 1, 2)

    new_W, new_R = [], []
    for i, w in enumerate(W):
        learns = rule != "shallow" or i == len(W) - 1
        new_W.append((1 - decay) * w + step_size * increments[i] * masks[i][0] if learns else w)
        if R is not None:
            new_R.append(
                R[i] if rule == "dfa" else (1 - decay) * R[i] + epsilon * step_size * increments[i] * masks[i][1]
            )
    return new_W, new_R


def saturate(h: Array) -> Array:
    return np.minimum(np.maximum(h, -1), 1)


def hinge_signal(x: Array, labels: NDArray[np.int64]) -> Array:
    """Return −δ: 1 where i = c and x_c < 1, −μ where i ≠ c and x_i > −1, otherwise 0."""
    signal = np.zeros_like(x)
    classes = x.shape[1]
    for n, c in enumerate(labels):
        for i in range(classes):
            if i == c and x[n, i] < 1:
                signal[n, i] = 1
            elif i != c and x[n, i] > -1:
                signal[n, i] = -1 / (classes - 1)
    return signal


def softmax_signal(x: Array, labels: NDArray[np.int64]) -> Array:
    """Return −δ = y − p."""
    e = np.exp(x - x.max(axis=1, keepdims=True))
    signal: Array = -e / e.sum(axis=1, keepdims=True)
    signal[np.arange(len(x)), labels] += 1
    return signal


def padded(x: Array, k: tuple[int, int]) -> Array:
    """Pad a grid with zeros for a filter of size k; an even filter has its odd zero at the end."""
    before = [(size - 1) // 2 for size in k]
    after = [size - 1 - b for size, b in zip(k, before, strict=True)]
    return np.pad(x, ((0, 0), (0, 0), (before[0], after[0]), (before[1], after[1])))


def tied_to(W: Array, y: int, z: int, width: int) -> Array:
    """Return the filters at a location as [filters, channels, k, k]."""
    return W if W.ndim == 4 else W[y * width + z].transpose(0, 3, 1, 2)


def convolve(x: Array, W: Array) -> Array:
    if W.ndim == 5:
        return convolve_untied(x, W)
    _, _, height, width = x.shape
    wide = padded(x, (W.shape[2], W.shape[3]))
    h = np.zeros((len(x), len(W), height, width))
    for i in range(W.shape[2]):
        for j in range(W.shape[3]):
            h += np.einsum("ncyx,fc->nfyx", wide[:, :, i : i + height, j : j + width], W[:, :, i, j])
    return h


def convolve_untied(x: Array, W: Array) -> Array:
    _, _, height, width = x.shape
    k = (W.shape[2], W.shape[3])
    wide = padded(x, k)
    h = np.zeros((len(x), W.shape[1], height, width))
    for y in range(height):
        for z in range(width):
            seen = wide[:, :, y : y + k[0], z : z + k[1]]
            h[:, :, y, z] = np.einsum("ncij,fcij->nf", seen, tied_to(W, y, z, width))
    return h


def correlate(x: Array, local: Array, shape: tuple[int, ...]) -> Array:
    """Return the sum of δ·x over the batch, and over all locations if tied, for each filter entry."""
    _, _, height, width = x.shape
    wide = padded(x, (shape[2], shape[3]))
    increment = np.zeros(shape)
    if len(shape) == 5:
        for y in range(height):
            for z in range(width):
                seen = wide[:, :, y : y + shape[2], z : z + shape[3]]
                increment[y * width + z] = np.einsum("nf,ncij->fijc", local[:, :, y, z], seen)
        return increment
    for i in range(shape[2]):
        for j in range(shape[3]):
            increment[:, :, i, j] = np.einsum("nfyx,ncyx->fc", local, wide[:, :, i : i + height, j : j + width])
    return increment


def transpose_convolve(local: Array, R: Array, shape: tuple[int, ...]) -> Array:
    _, _, height, width = shape
    k = (R.shape[2], R.shape[3])
    wide = padded(np.zeros(shape), k)
    if R.ndim == 5:
        for y in range(height):
            for z in range(width):
                wide[:, :, y : y + k[0], z : z + k[1]] += np.einsum(
                    "nf,fcij->ncij", local[:, :, y, z], tied_to(R, y, z, width)
                )
    for i in range(k[0] if R.ndim == 4 else 0):
        for j in range(k[1]):
            wide[:, :, i : i + height, j : j + width] += np.einsum("nfyx,fc->ncyx", local, R[:, :, i, j])
    top, left = (k[0] - 1) // 2, (k[1] - 1) // 2
    return wide[:, :, top : top + height, left : left + width]


def pool(x: Array, size: int, stride: int, zeros_at_the_end: bool) -> tuple[Array, dict[Any, Any]]:
    """Return the maximum over windows, and where it is; overlapping windows include zeros outside the grid."""
    overlapping = size > stride
    sides = []
    for length in x.shape[2:]:
        if overlapping:
            windows = -(-length // stride)
            before = 0 if zeros_at_the_end else (size - 1) // 2
            sides.append([window * stride - before for window in range(windows)])
        else:
            sides.append(list(range(0, length - size + stride, stride)))
    out = np.zeros((*x.shape[:2], len(sides[0]), len(sides[1])))
    winners: dict[Any, Any] = {}
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for row, top in enumerate(sides[0]):
                for column, left in enumerate(sides[1]):
                    best, winner = -np.inf, None
                    for y in range(top, top + size):
                        for z in range(left, left + size):
                            inside = 0 <= y < x.shape[2] and 0 <= z < x.shape[3]
                            if not inside and not overlapping:
                                continue
                            value = x[n, c, y, z] if inside else 0.0
                            if value > best:
                                best, winner = value, (y, z) if inside else None
                    out[n, c, row, column] = best
                    winners[n, c, row, column] = winner
    return out, winners


def unpool(signal: Array, winners: dict[Any, Any], shape: tuple[int, ...]) -> Array:
    below = np.zeros(shape)
    for (n, c, row, column), winner in winners.items():
        if winner is not None:
            below[n, c, winner[0], winner[1]] += signal[n, c, row, column]
    return below
