"""`eloquent summary`, `report` and `compare`: a run in figures, a run as a page, and two runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from eloquent.commands.extras import needs
from eloquent.terminal import Output

console = Output()


@needs("sim")
def summary(folder: Annotated[Path, typer.Argument(help="A run directory.")] = Path("runs/latest")) -> None:
    """Compute a run's figures again from its logs, write summary.json and summary.md, and show them."""
    from eloquent.report.summary import summarise
    from eloquent.report.table import render

    console.print(render(summarise(folder)))


@needs("sim")
def report(folder: Annotated[Path, typer.Argument(help="A run directory.")] = Path("runs/latest")) -> None:
    """Write a run's report.html, and those of the loads in it: one file each, to be read anywhere."""
    from eloquent.report.html import write_report

    console.print(str(write_report(folder)), highlight=False, markup=False, soft_wrap=True)


@needs("sim")
def compare(
    first: Annotated[Path, typer.Argument(help="A run directory, A.")],
    second: Annotated[Path, typer.Argument(help="Another one, B.")],
    *,
    fail_on_difference: Annotated[
        bool, typer.Option("--fail-on-difference", help="Exit status 1 where anything differs beyond noise.")
    ] = False,
) -> None:
    """Tell what differs between two runs beyond noise, and how they were made."""
    from eloquent.report.compare import Verdict
    from eloquent.report.compare import compare as compare_runs
    from eloquent.report.compare_table import render

    comparison = compare_runs(first, second)
    console.print(render(comparison), soft_wrap=False)
    if fail_on_difference and any(one.verdict is Verdict.BEYOND for one in comparison.differences):
        raise typer.Exit(1)
