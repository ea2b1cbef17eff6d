"""`urfb doctor`: what is in order here and what is not."""

from __future__ import annotations

from typing import Annotated

import typer

from urfb.cli.options import DEFAULT_STORE, DataOption, Format, StoreOption


def doctor(
    store: StoreOption = DEFAULT_STORE,
    data_dir: DataOption = None,
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
) -> None:
    """Examine this machine, the store and the data sets.

    It looks at versions, the store and its disk, memory and GPUs, and says what to do about what is wrong.

    Exit code 0: there is no problem; 1: there is one.

    Example: urfb doctor --store results/urfb.sqlite
    """
    from urfb.cli.listing import print_findings
    from urfb.data.catalog import data_directory
    from urfb.doctor import Subject, examine

    findings = examine(Subject(store, data_directory(data_dir)))
    print_findings(findings, output)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)
