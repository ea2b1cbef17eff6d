"""`urfb network show` and `urfb convention diff`: their output and messages."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from urfb.cli import app
from urfb.grid.settings import CONVENTIONS
from urfb.grid.shown import MEANINGS


def urfb(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_a_network_is_shown_statement_by_statement() -> None:
    code, out, _ = urfb("network", "show", "simpnet")
    assert code == 0
    lines = {line.split("  ")[1].strip() if line[:1].isdigit() else "": line.split() for line in out.splitlines()}
    assert lines["Conv 32 5x5"][4:] == ["32×32×32", "2,400", "2,400", "4.915", "9.830"]
    assert lines["Full 500"][3:6] == ["500", "4,096,000", "4,096,000"]
    assert max(map(len, out.splitlines()[1:9])) < 110


def test_options_change_the_network_that_is_shown() -> None:
    _, tied, _ = urfb("network", "show", "deepernet", "--rule", "bp")
    _, other, _ = urfb(
        "network", "show", "deepernet", "--untied", "2 1", "--convention", "author-code", "--dataset", "cifar100",
        "--rule", "dfa",
    )  # fmt: skip
    assert "Conv 128 2x2" not in tied
    assert "untied" not in tied
    assert "Conv 128 2x2" in other
    assert other.count("Conv 16 3x3, untied") == 2
    assert "on cifar100, rule dfa, convention author-code" in other


@pytest.mark.parametrize("rule", ["interpolated", "kolen-pollack"])
def test_a_rule_with_parameters_needs_no_values(rule: str) -> None:
    code, out, problem = urfb("network", "show", "simpnet", "--rule", rule)
    assert code == 0, problem
    assert f"rule {rule}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simpnt"], "did you mean 'simpnet'?"),
        (["my_models:build"], "'my_models:build' is a custom model: only networks in the paper's notation"),
        (["Conv 3 99x99; Output"], "the filter is larger than its grid"),
        (["simpnet", "--rule", "urfbb"], "rule 'urfbb': did you mean 'urfb'?"),
        (["Full 20"], "network 'Full 20': a network ends with 'Output', as in 'Full 20; Output'"),
        (["simpnet", "--untied", "4"], "untied 4: the network has 1 conv layer"),
        (["simpnet", "--dataset", "cifar"], "did you mean 'cifar10'?"),
    ],
)
def test_mistakes_are_reported_in_one_message(arguments: list[str], message: str) -> None:
    code, out, problem = urfb("network", "show", *arguments)
    assert (code, out) == (2, "")
    assert message in problem


def test_conventions_are_compared_setting_by_setting() -> None:
    code, out, _ = urfb("convention", "diff", "paper", "author-code")
    assert code == 0
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    for setting in CONVENTIONS["paper"]:
        assert rows[setting][0] == format(CONVENTIONS["paper"][setting], "")[: len(rows[setting][0])]
        assert MEANINGS[setting] in out
    assert rows["activation_slope"][:2] == ["1", "0.5"]
    assert rows["deepernet"][:6] == ["Conv", "128", "3x3", "Conv", "128", "2x2"]
    assert rows["batch_size"][:2] == ["500", "50"]
    assert "are the same" in urfb("convention", "diff", "paper", "paper")[1]
    code, _, problem = urfb("convention", "diff", "paper", "authors")
    assert code == 2
    assert "did you mean 'author-code'?" in problem
