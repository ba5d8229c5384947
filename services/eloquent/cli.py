"""The command line: `eloquent up`, `status`, `down`, `simulate` and others. The Makefile's words call these."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from typer.core import TyperGroup

from eloquent.commands import load, report, watch
from eloquent.errors import ConfigurationError, EloquentError
from eloquent.measure.commands import app as measure

if TYPE_CHECKING:
    from eloquent.sim.choices import Phase
    from eloquent.sim.tables import Table as Figures

console = Console()
errors = Console(stderr=True)


class _Commands(TyperGroup):
    """Commands, and groups of them, whose errors get one sentence each."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; turn an error that is meant for the user into one sentence and exit status 1."""
        try:
            return super().invoke(ctx)
        except EloquentError as error:
            errors.print("[bold red]error:[/]", escape(str(error)), soft_wrap=True, highlight=False)
            raise typer.Exit(1) from None


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(measure, name="measure")
app.command()(load.load)
app.command()(load.load_capacity)
app.command()(report.report)
app.command()(report.compare)
app.command()(watch.top)


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
) -> None:
    """Bring the testbed up, run the rounds, print the comparison, and leave the testbed up."""
    from eloquent.emulation.options import parse_options
    from eloquent.emulation.testbed import Testbed

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
        board_port=board_port,
        locust_port=locust_port,
        controller=controller,
        prometheus=prometheus,
        rtt_tolerance_s=rtt_tolerance / 1e3,
        **({} if runs is None else {"runs": runs}),
    )
    _show(Testbed().up(options))


def _show(events: Iterator[dict[str, Any]]) -> None:
    """Show what happens while the testbed comes up, and the comparison at the end."""
    from eloquent.report.figures import compute
    from eloquent.report.html import write_report
    from eloquent.report.run_directory import RunDirectory
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
    console.print(render(compute(run), title=f"{run.read_manifest().scenario.line}"))
    console.print(f"\nrun directory: {folder}", highlight=False, soft_wrap=True)
    console.print(f"report:        {write_report(folder)}", highlight=False, soft_wrap=True)
    for name in ("Prometheus", "the board"):
        console.print(f"{name + ':':<14} {urls[name]}", highlight=False, soft_wrap=True)
    console.print("the testbed stays up: make status, make down", highlight=False)


@app.command()
def status() -> None:
    """Tell what runs, as JSON; exit status 3 where no testbed is up."""
    from eloquent.emulation.testbed import Testbed

    answer = Testbed().status()
    if answer is None:
        console.print("no testbed is up")
        raise typer.Exit(3)
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")


@app.command()
def down() -> None:
    """End the testbed; nothing of it is left but its run directory."""
    from eloquent.emulation.testbed import Testbed

    was_up = Testbed().down()
    console.print("the testbed is down" if was_up else "no testbed was up")


@app.command("exec")
def execute(
    host: Annotated[str, typer.Argument(help="A host of the testbed: c1, c2, ..., origin or server.")],
    command: Annotated[list[str], typer.Argument(help="The command and its arguments, after --.")],
) -> None:
    """Run a command in a host of the testbed: eloquent exec c1 -- ping server."""
    from eloquent.emulation.testbed import Testbed

    words = Testbed().command_in(host, *command)
    os.execvp(words[0], words)  # noqa: S606  # no shell stands between, and the exit status is the command's


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

    console.print(render(summarise(folder)))


@app.command()
def simulate(
    *,
    schemes: Annotated[str, typer.Option(help="Comma-separated.")] = "tcp-simple,duplicate-2,eloquent,bound",
    scenario: Annotated[str, typer.Option(help="Shipped names, YAML files, or a line; several after commas.")] = (
        "paper-default"
    ),
    sessions: Annotated[int, typer.Option(min=1, help="Sessions of each scheme.")] = 30,
    session: Annotated[float, typer.Option(help="Length of one session in seconds.")] = 30.0,
    gap: Annotated[float, typer.Option(help="Milliseconds between tokens.")] = 100.0,
    tokens: Annotated[Path | None, typer.Option(help="File with the instants of the tokens, one a line.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the run; schemes meet the same losses.")] = 1,
    ack_loss: Annotated[bool, typer.Option("--ack-loss", help="Lose acknowledgements too.")] = False,
    phase: Annotated[str, typer.Option(help="Slots against tokens: aligned or random.")] = "aligned",
    jitter: Annotated[float, typer.Option(help="Milliseconds by which a packet may be delayed.")] = 0.0,
    rate: Annotated[bool, typer.Option("--rate", help="Packets take time to send, as the scenario says.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a processor by default.")] = None,
    dask: Annotated[str | None, typer.Option(help="A Dask scheduler (tcp://...), or local.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for figures.csv and sessions.csv.")] = None,
) -> None:
    """Simulate sessions of any schemes over any link, and print their figures."""
    from eloquent.scenarios import load
    from eloquent.sim.batch import Point, read_instants
    from eloquent.sim.choices import Choices
    from eloquent.sim.experiment import run
    from eloquent.sim.session import constant_rate
    from eloquent.sim.tables import SessionsFile, figures_table

    recorded = None if tokens is None else read_instants(_read(tokens), name=str(tokens))
    generated = recorded or constant_rate(session, gap / 1e3)
    choices = Choices(ack_loss=ack_loss, phase=_phase(phase), jitter=jitter / 1e3, rate_limited=rate)
    points = [
        Point(name, load(link), choices)
        for link in ([scenario] if "=" in scenario else scenario.split(","))
        for name in schemes.split(",")
        if name
    ]
    with _working(len(points) * sessions, workers=workers, dask=dask) as (executor, tick), SessionsFile(out) as log:
        results = run(
            points,
            sessions=sessions,
            generated_s=generated,
            seed=seed,
            executor=executor,
            progress=tick,
            each=log.add,
        )
    table = figures_table(results, name="figures", title=f"{sessions} sessions, {choices.to_line()}")
    if out is not None:
        table.write(out)
    _print_figures(table)


@app.command()
def reproduce(
    *,
    out: Annotated[Path, typer.Option(help="Folder for tables (CSV, Markdown) and figures (PNG, SVG).")],
    sessions: Annotated[int, typer.Option(min=1, help="Sessions of each setting in the figures.")] = 30,
    headline: Annotated[int, typer.Option(min=1, help="Sessions of each setting of the printed reductions.")] = 30,
    varied: Annotated[int, typer.Option(min=1, help="Sessions of each setting in the table of choices.")] = 3,
    schemes: Annotated[str | None, typer.Option(help="Schemes of the figures; all registered ones by default.")] = None,
    traces: Annotated[
        Path | None, typer.Option(help="Folder with traces for figure 7, instead of the shipped.")
    ] = None,
    only_targets: Annotated[
        bool, typer.Option("--targets", help="Only the targets of eloquent-adaptive, as targets.md and CSV.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the run.")] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a processor by default.")] = None,
    dask: Annotated[str | None, typer.Option(help="A Dask scheduler (tcp://...), or local.")] = None,
) -> None:
    """Compute the paper's results from seeds, print them beside the printed ones, and draw the figures."""
    from eloquent.sim import paper, plots, readers, reproduction, targets
    from eloquent.sim.tables import show

    if only_targets:
        cases = len(targets.lossy_points()) + 2 * len(readers.cases())
        with _working(cases * sessions, workers=workers, dask=dask) as (executor, tick):
            found = targets.tables(sessions=sessions, seed=seed, executor=executor, progress=tick)
            found.append(readers.table(sessions=sessions, seed=seed, executor=executor, progress=tick))
        reproduction.write(found, out, name="targets", title="The targets of eloquent-adaptive")
        for table in found:
            _print_table(table.title, table.headings, [tuple(map(show, row)) for row in table.rows])
    else:
        names = paper.scheme_names() if schemes is None else tuple(schemes.split(","))
        plan = reproduction.Plan(names, sessions=sessions, headline=headline, varied=varied, traces=traces)
        with _working(plan.total, workers=workers, dask=dask) as (executor, tick):
            result = reproduction.reproduce(plan, seed=seed, executor=executor, progress=tick)
            drawn = plots.draw(result, executor)
            reproduction.write(result.tables, out, title="The paper's results, from seeds")
            _draw_session(out)  # while the workers draw the others
            for name, content in drawn:
                (out / name).write_bytes(content)
        headings, *rows = reproduction.summary_lines(result.tables[0])
        _print_table("Reduction of the stall ratio by Eloquent, in percent", headings, rows)
    console.print(f"tables and figures: {out}", highlight=False, soft_wrap=True)


def _draw_session(out: Path) -> None:
    """Draw figure 4 from the capture of a simulated session, as `eloquent measure read` does from any other."""
    from eloquent.measure import figure4
    from eloquent.measure.findings import read_streams
    from eloquent.sim.capture import BEGIN, figure_4

    session, capture = figure_4()
    (out / "figure-4.pcap").write_bytes(capture)
    (stream,) = read_streams(out / "figure-4.pcap")
    rendered = [BEGIN + at for at in session.rendered_s]
    figure4.save(figure4.draw(stream, rendered), out, "figure-4")


@app.command()
def agreement(
    folder: Annotated[Path, typer.Argument(help="A run directory.")] = Path("runs/latest"),
    *,
    repeats: Annotated[int, typer.Option(min=1, help="How often each session is replayed.")] = 10,
    tolerance: Annotated[float, typer.Option(min=0, help="Percent by which a stall ratio may differ.")] = 10.0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a processor by default.")] = None,
) -> None:
    """Replay a run of the lab in the simulator, write agreement.csv and agreement.md beside its logs, and compare."""
    from eloquent.report.run_directory import RunDirectory
    from eloquent.sim.agreement import compare
    from eloquent.sim.lanes import read_lanes

    lanes = read_lanes(RunDirectory(folder))
    total = repeats * sum(len(lane.sessions) for lane in lanes)
    with _working(total, workers=workers, dask=None) as (executor, tick):
        found = compare(folder, lanes, repeats=repeats, executor=executor, progress=tick)
    found.write()
    headings, *rows = found.shown()
    _print_table(found.table().title, headings, rows)
    for remark in found.remarks():
        console.print(escape(remark), highlight=False, soft_wrap=True)
    console.print(f"tables: {folder / 'agreement.md'}", highlight=False, soft_wrap=True)
    found.require(tolerance / 100)


@contextmanager
def _working(
    sessions: int, *, workers: int | None, dask: str | None
) -> Iterator[tuple[Executor | None, Callable[[int], None]]]:
    """Show a bar while sessions are simulated; give who computes, and what to tell of progress."""
    from eloquent.sim.cluster import workers as open_workers

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} sessions"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with (
        Progress(*columns, console=console, transient=True) as progress,
        open_workers(processes=workers, dask=dask) as executor,
    ):
        bar = progress.add_task("simulating", total=sessions)
        yield executor, lambda done: progress.update(bar, advance=done)


def _print_figures(table: "Figures") -> None:
    """Show the figures of a simulation."""
    from eloquent.sim.tables import show

    places = {heading: place for place, heading in enumerate(table.headings)}
    shown = {
        "scenario": "scenario",
        "scheme": "scheme",
        "stall_ratio": "stall\nratio",
        "stall_ratio_low": "95 %\nfrom",
        "stall_ratio_high": "\nto",
        "stall_ratio_210": "at\n210 ms",
        "redundancy_rate": "redun-\ndancy",
        "wire_bytes_per_token": "bytes\na token",
        "late_ratio": "late",
        "failed": "failed",
    }
    _print_table(
        table.title, tuple(shown.values()), [tuple(show(row[places[name]]) for name in shown) for row in table.rows]
    )


def _print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _phase(text: str) -> "Phase":
    """Take the word as it is: `Choices` refuses an unknown one."""
    return cast("Phase", text)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from None


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
