"""The command line: `eloquent up`, `status`, `down`, `check-host`, `summary`. The Makefile's words call these."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from eloquent.errors import EloquentError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console()
errors = Console(stderr=True)


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Turn an error that is meant for the user into one sentence and exit status 1."""
    try:
        yield
    except EloquentError as error:
        errors.print("[bold red]error:[/]", escape(str(error)), soft_wrap=True, highlight=False)
        raise typer.Exit(1) from None


@app.command()
def up(
    *,
    clients: Annotated[int, typer.Option(help="Client hosts, each behind its own impaired link.")] = 8,
    schemes: Annotated[str, typer.Option(help="Comma-separated.")] = "grpc,duplicate-2,eloquent",
    scenario: Annotated[str, typer.Option(help="A shipped name, a YAML file, or a line.")] = "paper-default",
    rounds: Annotated[int, typer.Option(help="How often each client asks once by each scheme.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the links' schedules.")] = 1,
    session: Annotated[float, typer.Option(help="Length of one answer in seconds.")] = 30.0,
    carrier: Annotated[str, typer.Option(help="auto, netem or wire.")] = "auto",
    datapath: Annotated[str, typer.Option(help="auto, kernel or user.")] = "auto",
    background: Annotated[bool, typer.Option(help="Keep a light load on after the rounds.")] = True,
    prometheus_port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 9090,
    rtt_tolerance: Annotated[float, typer.Option(help="Milliseconds by which a link's RTT may differ.")] = 2.0,
    runs: Annotated[Path | None, typer.Option(help="Folder of the run directories.")] = None,
) -> None:
    """Bring the testbed up, run the rounds, print the comparison, and leave the testbed up."""
    from eloquent.emulation.options import parse_options
    from eloquent.emulation.testbed import Testbed

    with _one_sentence():
        options = parse_options(
            clients=clients,
            schemes=tuple(name for name in schemes.split(",") if name),
            scenario=scenario,
            rounds=rounds,
            seed=seed,
            session_s=session,
            carrier=carrier,
            datapath=datapath,
            background=background,
            prometheus_port=prometheus_port,
            rtt_tolerance_s=rtt_tolerance / 1e3,
            **({} if runs is None else {"runs": runs}),
        )
        _show(Testbed().up(options))


def _show(events: Iterator[dict[str, Any]]) -> None:
    """Show what happens while the testbed comes up, and the comparison at the end."""
    from eloquent.report.figures import compute
    from eloquent.report.run_directory import RunDirectory
    from eloquent.report.table import render

    folder, prometheus = Path(), ""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar: TaskID | None = None
        for event in events:
            match event:
                case {"event": "chosen", "what": what, "name": name, "why": why}:
                    console.print(f"{what}: [bold]{name}[/] ({escape(why)})", highlight=False)
                case {"event": "stage", "text": text}:
                    console.print(f"{escape(text)} ...", highlight=False)
                case {"event": "run", "folder": path, "prometheus": url}:
                    folder, prometheus = Path(path), url
                case {"event": "streaming", "seconds": seconds, "sessions": sessions}:
                    console.print(
                        f"streaming {sessions} sessions over the impaired links, about {seconds:g} s ...",
                        highlight=False,
                    )
                    bar = progress.add_task("streaming", total=seconds)
                case {"event": "tick", "elapsed": elapsed} if bar is not None:
                    progress.update(bar, completed=elapsed)
                case {"event": "warning", "text": text}:
                    console.print("[bold red]warning:[/]", escape(text), highlight=False, soft_wrap=True)
    run = RunDirectory(folder)
    console.print()
    console.print(render(compute(run), title=f"{run.read_manifest().scenario.line}"))
    console.print(f"\nrun directory: {folder}\nPrometheus:    {prometheus}", highlight=False, soft_wrap=True)
    console.print("the testbed stays up: make status, make down", highlight=False)


@app.command()
def status() -> None:
    """Tell what runs, as JSON; exit status 3 where no testbed is up."""
    from eloquent.emulation.testbed import Testbed

    with _one_sentence():
        answer = Testbed().status()
    if answer is None:
        console.print("no testbed is up")
        raise typer.Exit(3)
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")


@app.command()
def down() -> None:
    """End the testbed; nothing of it is left but its run directory."""
    from eloquent.emulation.testbed import Testbed

    with _one_sentence():
        was_up = Testbed().down()
    console.print("the testbed is down" if was_up else "no testbed was up")


@app.command("check-host")
def check_host() -> None:
    """Show what this machine can do for the testbed, and the remedy for what it cannot."""
    from eloquent.emulation.capabilities import CAPABILITIES

    table = Table("capability", "for", "here", "remedy")
    is_missing = False
    for capability in CAPABILITIES:
        refusal = capability.probe()
        is_missing |= capability.needed and refusal is not None
        verdict = (
            "[green]yes[/]" if refusal is None else f"[{'red' if capability.needed else 'yellow'}]no[/]: {refusal}"
        )
        table.add_row(capability.name, capability.use, verdict, "" if refusal is None else capability.remedy)
    console.print(table)
    if is_missing:
        raise typer.Exit(1)


@app.command()
def summary(folder: Annotated[Path, typer.Argument(help="A run directory.")] = Path("runs/latest")) -> None:
    """Compute a run's figures again from its logs, write summary.json and summary.md, and show them."""
    from eloquent.report.summary import summarise
    from eloquent.report.table import render

    with _one_sentence():
        console.print(render(summarise(folder)))


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
