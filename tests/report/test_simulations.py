import numpy as np
import pytest

from tests.report.conftest import made
from tests.store.simulated import simulated
from urfb.report.exhibits import chosen
from urfb.report.figures import FIGURES
from urfb.report.protocols import BP, FRFB, INTERPOLATED, URFB
from urfb.report.rendering import render
from urfb.store import open_for_writing
from urfb.theory.spec import Point, SimulationSpec

ITERATIONS = (0, 1, 500, 1000)


@pytest.fixture
def theory(tmp_path):
    return open_for_writing(str(tmp_path / "theory.sqlite"))


def keep(store, epsilon, draw=0, faster=1.0, diverged_at=None, **settings):
    """Store a simulation that falls from 100 by `faster` powers of ten in 100 iterations."""
    bp = epsilon is None
    points = tuple(
        Point(
            iteration,
            10 ** (2 - faster * iteration / 100),
            () if bp else (None, None, None) if iteration == 0 else (0.1 * epsilon, 0.2, 0.001 * iteration),
        )
        for iteration in ITERATIONS
    )
    defaults = {"layers": SimulationSpec.layers, "iterations": 1000, "step_size": SimulationSpec.step_size}
    defaults |= {
        "rule": "bp" if bp else "feedback",
        "start": "random" if bp else "zero",
        "epsilon": epsilon,
        "draw": draw,
    }
    simulation = simulated(points, diverged_at, **(defaults | settings))
    store.keep_simulation(simulation)
    return simulation.spec.identity


def keep_all(store, draws=3, **settings):
    return [keep(store, epsilon, draw, **settings) for draw in range(draws) for epsilon in (None, 0, 0.25, 0.5, 1)]


def lines_of(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def grid_of(figure):
    return np.array(figure.get_axes()).reshape(4, -1)


def test_a_column_is_a_draw_and_the_log_error_comes_first(theory):
    keep_all(theory)
    drawn = made("12", theory)
    grid = grid_of(drawn.figure)
    assert [axes.get_title() for axes in grid[0]] == ["draw 0", "draw 1", "draw 2"]
    labels = [axes.get_ylabel().replace("\n", " ") for axes in grid[:, 0]]
    assert labels == [
        "log₁₀ error",
        *(f"corr(W, Rᵗ) layer {layer}" for layer in ("3, output", "2, middle", "1, input")),
    ]
    for column in grid.T:
        lines = lines_of(column[0])
        assert len(lines) == 5
        assert lines["ε = 0.5, log10_error"].get_xdata() == pytest.approx(ITERATIONS)
        assert lines["ε = 0.5, log10_error"].get_ydata() == pytest.approx([2, 1.99, -3, -8])
        assert len(lines_of(column[1])) == 4  # BP's R is Wᵗ
        [top] = [line for label, line in lines_of(column[1]).items() if label.startswith("ε = 1 (URFB)")]
        assert top.get_xydata() == pytest.approx(np.array([[1, 0.001], [500, 0.5], [1000, 1.0]]))
        [lowest] = [line for label, line in lines_of(column[3]).items() if label.startswith("ε = 0.25")]
        assert lowest.get_ydata() == pytest.approx([0.025] * 3)
    assert drawn.shortfalls == []


def test_kinds_differ_in_colour_marker_style_and_share_a_legend(theory):
    keep_all(theory)
    figure = made("12", theory).figure
    legends = [axes.get_legend() for axes in figure.get_axes() if axes.get_legend()]
    [legend] = legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["BP", "ε = 0 (FRFB)", "ε = 0.25", "ε = 0.5", "ε = 1 (URFB)"]
    lines = grid_of(figure)[0, 0].get_lines()
    by_name = {line.get_label().split(",")[0]: line for line in lines}
    for protocol, name in ((BP, "BP"), (FRFB, "ε = 0 (FRFB)"), (URFB, "ε = 1 (URFB)"), (INTERPOLATED[1], "ε = 0.5")):
        assert (by_name[name].get_color(), by_name[name].get_marker()) == (protocol.colour, protocol.marker)
    for look in ("get_color", "get_marker", "get_dashes_text"):
        looks = [str(line._dash_pattern) if look == "get_dashes_text" else getattr(line, look)() for line in lines]
        assert len(set(looks)) == 5


def test_the_ode_is_drawn_where_it_is_visible_next_to_the_steps(theory):
    keep_all(theory, draws=1)
    near = keep(theory, 0.5, method="ode", faster=1.0001)
    far = keep(theory, 1, method="ode", faster=1.2)
    drawn = made("12", theory)
    thin = [label for label in lines_of(grid_of(drawn.figure)[0, 0]) if label.endswith("ODE")]
    assert thin == ["ε = 1 (URFB), log10_error, ODE"]
    assert set(drawn.data.loc[drawn.data["method"] == "ode", "simulation"]) == {far}
    assert near not in set(drawn.runs["simulation"])
    assert "differ by at most 2.00." in drawn.explanation


def test_other_settings_and_later_draws_are_not_the_papers(theory):
    keep_all(theory, draws=4)
    other = keep(theory, 1, draw=0, iterations=2000)
    small = keep(theory, 1, draw=0, feedback_scale=0.4)
    drawn = made("12", theory)
    assert set(drawn.data["draw"]) == {0, 1, 2}
    assert not {other, small} & set(drawn.data["simulation"])


def test_missing_runs_are_listed(theory):
    keep(theory, None)
    keep(theory, 1, diverged_at=700)
    drawn = made("12", theory)
    assert drawn.shortfalls == [
        "1 of 3 draws",
        "ε = 0 (FRFB): no simulation of draw 0",
        "ε = 0.25: no simulation of draw 0",
        "ε = 0.5: no simulation of draw 0",
        "ε = 1 (URFB), draw 0: diverged at iteration 700",
    ]
    assert [axes.get_title() for axes in drawn.figure.get_axes()] == ["draw 0", "", "", ""]


def test_an_empty_store_gives_the_command_that_fills_it(theory, tmp_path):
    [rendered] = render(theory, chosen(FIGURES, ["12"], None), tmp_path / "out", "some.sqlite")
    assert rendered.shortfalls == ["no simulation of the paper's setting in the store"]
    assert rendered.completing_command == "urfb theory run --store some.sqlite"


def test_the_csv_has_the_lines_and_names_the_simulations(theory, tmp_path):
    identities = keep_all(theory)
    [rendered] = render(theory, chosen(FIGURES, ["12"], None), tmp_path)
    lines = rendered.files[-1].read_text().splitlines()
    named = [line for line in lines if line.startswith("# simulation ")]
    assert len(named) == 15
    assert all(any(identity in line for line in named) for identity in identities)
    assert sum(not line.startswith("#") for line in lines) == 1 + 15 * len(ITERATIONS)
