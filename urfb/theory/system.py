"""The linear network of section 5 and its equations of motion, as the paper writes them.

The inputs are uncorrelated, XXᵗ = I, so only Σ = YXᵗ [n_L, n₀] of the data matters. W_l is [n_l, n_{l−1}] and R_l is
[n_{l−1}, n_l]. Lists start with layer 1. Everything is float64.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Matrices = Sequence[Matrix]


def activities(W: Matrices) -> list[Matrix]:
    """Return x₀ = I and x_l = W_l x_{l−1}, so x_l = W_l…W₁. x_L is the network's map from inputs to outputs."""
    x = [np.eye(W[0].shape[1])]
    for W_l in W:
        x.append(W_l @ x[-1])
    return x


def updated_feedback(R_start: Matrices, epsilon: float, W: Matrices) -> list[Matrix]:
    """Return R_l = R_l(0) + εW_lᵗ, the solution of Ṙ_l = εẆ_lᵗ if W(0) = 0.

    If W(0) is not 0, pass R_l(0) − εW_l(0)ᵗ in place of R_l(0).
    """
    return [R_l + epsilon * W_l.T for R_l, W_l in zip(R_start, W, strict=True)]


def derivative(W: Matrices, R: Matrices, sigma: Matrix) -> list[Matrix]:
    """Return Ẇ_l = R_{l+1}…R_L E (W_{l−1}…W₁)ᵗ with E = Σ − W_L…W₁. R_l = W_lᵗ gives back-propagation."""
    x = activities(W)
    delta = sigma - x[-1]  # δ_L = E
    W_dot = [delta @ x[-2].T]
    for R_above, x_below in zip(R[:0:-1], x[-3::-1], strict=True):
        delta = R_above @ delta  # δ_l = R_{l+1} δ_{l+1}
        W_dot.insert(0, delta @ x_below.T)  # Ẇ_l = δ_l x_{l−1}ᵗ
    return W_dot


def error(W: Matrices, sigma: Matrix) -> float:
    """Return e = tr(EᵗE), E = Σ − W_L…W₁."""
    E = sigma - activities(W)[-1]
    return float(np.vdot(E, E))


def correlation(W_l: Matrix, R_l: Matrix) -> float | None:
    """Return Pearson's correlation of the entries of W_l and R_lᵗ; None if W_l or R_l is constant."""
    deviations = [matrix.ravel() - matrix.mean() for matrix in (W_l, R_l.T)]
    norms = [float(np.linalg.norm(deviation)) for deviation in deviations]
    if min(norms) == 0:
        return None
    return float(np.dot(*deviations) / np.prod(norms))


def conserved(W: Matrices, R_start: Matrices, epsilon: float) -> list[Matrix]:
    """Return the conserved matrix for each pair of layers l and l+1.

    Ẇ_l W_lᵗ = R_{l+1} Ẇ_{l+1}, so W_l W_lᵗ − εW_{l+1}ᵗ W_{l+1} − R_{l+1}(0) W_{l+1} − (R_{l+1}(0) W_{l+1})ᵗ is
    constant. For BP (R(0) = 0 and ε = 1) this is W_l W_lᵗ − W_{l+1}ᵗ W_{l+1}, as in Saxe et al. (2013).
    """
    return [
        W_l @ W_l.T - epsilon * W_above.T @ W_above - R_above @ W_above - (R_above @ W_above).T
        for W_l, W_above, R_above in zip(W, W[1:], R_start[1:], strict=False)
    ]
