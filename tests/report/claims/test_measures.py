"""Each measure of a run against a number by hand; each layer, epoch and split has its own value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from urfb.report.claims import measures
from urfb.report.claims.measures import MEDIUM, PAPER, SHORT, Cell, Trained
from urfb.report.protocols import URFB

TRAINING = [0.84, 0.71, 0.65, 0.55, 0.5]
VALIDATION = [0.86, 0.76, 0.69, 0.6, 0.62]
CORRELATIONS = {  # for each layer, before training and after each epoch
    1: [0.99, 0.3, 0.98, 0.2, 0.97, 0.1],  # used by no measure
    2: [-0.03, 0.01, 0.02, 0.03, 0.5, 0.6],  # rises throughout, but not in a straight line
    3: [0.01, 0.1, 0.2, 0.12, 0.4, 0.3],
    4: [0.02, 0.3, 0.5, 0.7, 0.8, 0.75],  # the output
}


def run(
    training: list[float] = TRAINING,
    validation: list[float] = VALIDATION,
    layers: dict[int, list[float]] = CORRELATIONS,
) -> Trained:
    epochs = pd.DataFrame(
        {"epoch": np.arange(1, len(validation) + 1), "training_error": training, "validation_error": validation}
    )
    alignment = pd.concat(
        [
            pd.DataFrame({"epoch": np.arange(float(len(values))), "layer": layer, "correlation": values})
            for layer, values in layers.items()
        ]
    )
    return Trained(Cell("simpnet", "cifar10", URFB).spec(), 0.57, epochs, alignment)


def test_errors_come_from_the_named_split() -> None:
    trained = run()
    assert measures.test_error(trained) == 0.57
    assert measures.area(trained) == pytest.approx(np.mean(VALIDATION))
    assert measures.last_validation_error(2)(trained) == pytest.approx(np.mean(VALIDATION[3:]))
    assert measures.training_decrease(trained) == pytest.approx(0.9 - np.mean(TRAINING[:3]))
    assert measures.validation_decrease(trained) == pytest.approx(0.9 - np.mean(VALIDATION[:3]))


def test_correlations_come_from_the_named_layers_and_epochs() -> None:
    trained = run()
    assert measures.initial_correlation(trained) == 0.12  # after epoch 3, the larger value of layers 2 and 3
    assert measures.initial_output_correlation(trained) == 0.7
    assert measures.starting_correlation(trained) == -0.03  # largest in size, with its sign
    assert measures.largest_correlation(trained) == 0.8


def test_rise_is_the_lowest_layer_rank_correlation_with_epoch() -> None:
    ranks = {layer: stats.spearmanr(range(6), values).statistic for layer, values in CORRELATIONS.items()}
    assert measures.rise(run()) == pytest.approx(ranks[3])
    assert ranks[3] < ranks[4] < ranks[2] == pytest.approx(1)
    without = {layer: values for layer, values in CORRELATIONS.items() if layer in (1, 2)}
    assert measures.rise(run(layers=without)) == pytest.approx(1)  # the rank correlation of a curve


def test_a_measure_of_missing_data_is_nan() -> None:
    gap = run(training=[*TRAINING[:1], np.nan, *TRAINING[2:]], validation=[*VALIDATION[:4], np.nan])
    for measure in (measures.area, measures.last_validation_error(2), measures.training_decrease):
        assert np.isnan(measure(gap))
    unmeasured = run(layers={**CORRELATIONS, 3: [np.nan] * 6})
    flat = run(layers={**CORRELATIONS, 3: [0.5] * 6})
    for measure in (
        measures.initial_correlation,
        measures.starting_correlation,
        measures.largest_correlation,
        measures.rise,
    ):
        assert np.isnan(measure(unmeasured))
    assert np.isnan(measures.rise(flat))


@pytest.mark.parametrize(
    ("setting", "network", "untied", "epochs"),
    [
        (PAPER, "simpnet", False, 1000),
        (PAPER, "deepnet_s", False, 500),
        (PAPER, "deepnet_s", True, 1100),
        (MEDIUM, "simpnet", True, 200),
        (SHORT, "simpnet", False, 10),
    ],
)
def test_a_setting_defines_the_length_of_its_runs(
    setting: measures.Setting, network: str, untied: bool, epochs: int
) -> None:
    cell = Cell(network, "cifar10", URFB, untied)
    assert setting.has(cell)
    assert setting.epochs(cell.spec()) == epochs
