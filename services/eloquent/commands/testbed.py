"""`eloquent up`, `status`, `down`, `exec` and `check-host`: the testbed's life."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from eloquent import core
from eloquent.commands.extras import needs
from eloquent.errors import EmulationError
from eloquent.terminal import Output

if TYPE_CHECKING:
    from eloquent.report.figures import Summary

console = Output()


@needs("testbed")
def up(
    *,
    upstream: Annotated[
        str | None, typer.Option(help="URL of a model server of yours; the lab's own token server by default.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Which of its models to ask.")] = None,
    prompt: Annotated[str | None, typer.Option(help="What to ask it.")] = None,
    clients: Annotated[int, typer.Option(help="Client hosts, each behind its own impaired link.")] = 8,
    schemes: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated [default: grpc,duplicate-2,eloquent,eloquent-packed; of --upstream sse-cubic,sse-bbr,openai]."
        ),
    ] = None,
    scenario: Annotated[str, typer.Option(help="A shipped name, a YAML file, or a line.")] = "paper-default",
    rounds: Annotated[int, typer.Option(help="How often each client asks once by each scheme.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the links' schedules.")] = 1,
    session: Annotated[float, typer.Option(help="Length of one answer in seconds.")] = 30.0,
    token_rate: Annotated[float, typer.Option(help="Tokens a second of each answer.")] = 10.0,
    carrier: Annotated[str, typer.Option(help="auto, netem or wire.")] = "auto",
    datapath: Annotated[str, typer.Option(help="auto, kernel or user.")] = "auto",
    background: Annotated[bool, typer.Option(help="Keep a light load on after the rounds.")] = True,
    prometheus_port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 9090,
    board_port: Annotated[int, typer.Option(help="Likewise, for the board.")] = 8080,
    locust_port: Annotated[int, typer.Option(help="Likewise, for Locust's page while a load runs.")] = 8089,
    controller: Annotated[
        str | None, typer.Option(envvar="ELOQUENT_CONTROLLER", help="HOST:PORT of one that runs elsewhere.")
    ] = None,
    prometheus: Annotated[
        str | None, typer.Option(envvar="ELOQUENT_PROMETHEUS", help="HOST:PORT of one that runs elsewhere.")
    ] = None,
    rtt_tolerance: Annotated[float, typer.Option(help="Milliseconds by which a link's RTT may differ.")] = 2.0,
    runs: Annotated[Path | None, typer.Option(envvar="ELOQUENT_RUNS", help="Folder of the run directories.")] = None,
    allow_invalid: Annotated[
        bool, typer.Option("--allow-invalid", help="Accept a run that the machine did not keep up with.")
    ] = False,
) -> None:
    """Bring the testbed up, run the rounds, print the comparison, and leave the testbed up; exit status 1 for an invalid run."""
    from eloquent.emulation.options import parse_options
    from eloquent.emulation.testbed import Testbed

    options = parse_options(
        upstream=upstream,
        model=model,
        clients=clients,
        scenario=scenario,
        rounds=rounds,
        seed=seed,
        session_s=session,
        token_rate=token_rate,
        carrier=carrier,
        datapath=datapath,
        background=background,
        prometheus_port=prometheus_port,
        board_port=board_port,
        locust_port=locust_port,
        controller=controller,
        prometheus=prometheus,
        rtt_tolerance_s=rtt_tolerance / 1e3,
        **({} if runs is None else {"runs": runs}),
        **({} if prompt is None else {"prompt": prompt}),
        **({} if schemes is None else {"schemes": tuple(name for name in schemes.split(",") if name)}),
    )
    summary = _show(Testbed().up(options))
    if not summary.is_valid and not allow_invalid:
        raise EmulationError(
            f"the run is not valid (--allow-invalid accepts that; the testbed is up): {'; '.join(summary.flaws)}"
        )


def _show(events: Iterator[dict[str, Any]]) -> "Summary":
    """Show what happens while the testbed comes up, and the comparison at the end; give the figures."""
    from eloquent.records.run_directory import RunDirectory
    from eloquent.report.figures import compute
    from eloquent.report.html import write_report
    from eloquent.report.table import render

    folder, urls = Path(), dict[str, str]()
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
                case {"event": "run", "folder": path, "urls": found}:
                    folder, urls = Path(path), found
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
    summary = compute(run)
    console.print(render(summary, title=f"{run.read_manifest().scenario.line}"))
    console.print(f"\nrun directory: {folder}", highlight=False, soft_wrap=True)
    console.print(f"report:        {write_report(folder)}", highlight=False, soft_wrap=True)
    for name in ("Prometheus", "the board"):
        console.print(f"{name + ':':<14} {urls[name]}", highlight=False, soft_wrap=True)
    console.print("the testbed stays up: make status, make down", highlight=False)
    return summary


@needs("testbed")
def status() -> None:
    """Tell what runs, as JSON; exit status 3 where no testbed is up."""
    from eloquent.emulation.testbed import Testbed

    answer = Testbed().status()
    if answer is None:
        console.print("no testbed is up")
        raise typer.Exit(3)
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")


@needs("testbed")
def down() -> None:
    """End the testbed; nothing of it is left but its run directory."""
    from eloquent.emulation.testbed import Testbed

    was_up = Testbed().down()
    console.print("the testbed is down" if was_up else "no testbed was up")


@needs("testbed")
def execute(
    host: Annotated[str, typer.Argument(help="A host of the testbed: c1, c2, ..., origin or server.")],
    command: Annotated[list[str], typer.Argument(help="The command and its arguments, after --.")],
) -> None:
    """Run a command in a host of the testbed: eloquent exec c1 -- ping server."""
    from eloquent.emulation.testbed import Testbed

    words = Testbed().command_in(host, *command)
    os.execvp(words[0], words)  # noqa: S606  # no shell stands between, and the exit status is the command's


@needs("testbed")
def check_host() -> None:
    """Show what this machine can do for the testbed, and the remedy for what it cannot."""
    from eloquent.emulation.capabilities import CAPABILITIES, needed_here

    table = Table("capability", "for", "here", "remedy")
    is_missing = False
    needed = needed_here(os.environ.get("ELOQUENT_CONTROLLER"), os.environ.get("ELOQUENT_PROMETHEUS"))
    for capability in CAPABILITIES:
        refusal = capability.probe()
        is_missing |= capability.name in needed and refusal is not None
        verdict = (
            "[green]yes[/]"
            if refusal is None
            else f"[{'red' if capability.name in needed else 'yellow'}]no[/]: {refusal}"
        )
        table.add_row(capability.name, capability.use, verdict, "" if refusal is None else capability.remedy)
    console.print(table)
    console.print(f"The core is {core.kind()} (docs/install.md).")
    if is_missing:
        raise typer.Exit(1)
