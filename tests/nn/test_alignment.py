from __future__ import annotations

import numpy as np
import pytest
import torch

from urfb.nn.alignment import weight_correlations
from urfb.nn.modules import Network
from urfb.nn.rules import RULES


def test_correlations_are_numpys_over_all_entries_and_over_the_shared_ones() -> None:
    network = Network(
        "Full 40; Output", (1, 8, 8), 10, RULES["urfb"], seed=0, connectivity=0.5, feedback_connectivity=0.5
    )
    layer = network.layers[0]
    assert layer.feedback is not None
    assert layer.mask is not None
    assert layer.feedback_mask is not None
    layer.feedback.data += layer.weight.data * layer.feedback_mask
    W, R = layer.weight.detach().numpy().ravel(), layer.feedback.detach().numpy().ravel()
    shared = (layer.mask * layer.feedback_mask).numpy().ravel() == 1
    over_all, over_shared = weight_correlations(layer)
    assert over_all == pytest.approx(np.corrcoef(W, R)[0, 1], abs=1e-6)
    assert over_shared == pytest.approx(np.corrcoef(W[shared], R[shared])[0, 1], abs=1e-6)
    assert over_shared > over_all + 0.1


def test_weights_that_do_not_vary_have_no_correlation() -> None:
    network = Network("Output", (1, 8, 8), 10, RULES["frfb"], seed=0)
    network.layers[0].weight.data = torch.zeros_like(network.layers[0].weight)
    assert np.isnan(weight_correlations(network.layers[0])).all()
