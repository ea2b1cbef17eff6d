"""`urfb doctor`: problems of this machine, the store and the data sets."""

from __future__ import annotations

from typing import Annotated

import typer

from urfb.cli.options import DEFAULT_STORE, DataOption, Format, StoreOption


def doctor(
    store: StoreOption = DEFAULT_STORE,
    data_dir: DataOption = None,
    output: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.TABLE,
) -> None:
    """Check this machine, the store and the data sets for problems.

    This covers versions, the store and its disk, memory, GPUs and data sets. Each problem comes with its solution.

    Exit code 0: no problem; 1: at least one problem.

    Example: urfb doctor --store results/urfb.sqlite
    """
    from urfb.cli.rows import print_findings
    from urfb.data.catalog import data_directory
    from urfb.doctor import Subject, examine

    findings = examine(Subject(store, data_directory(data_dir)))
    print_findings(findings, output)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)
