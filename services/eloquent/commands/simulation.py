"""`eloquent simulate`, `reproduce` and `agreement`: sessions in virtual time."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich import box
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from eloquent.commands.extras import needs
from eloquent.errors import ConfigurationError
from eloquent.terminal import Output

if TYPE_CHECKING:
    from eloquent.sim.engine.choices import First, Phase
    from eloquent.sim.engine.tables import Table as Figures

console = Output()


@needs("sim")
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
    content: Annotated[
        str,
        typer.Option(
            help="What is streamed: filler of 18 bytes, text, openai, openai-obfuscated, openai-batched, tools, grpc, "
            "or a file of recorded items, FILE.jsonl."
        ),
    ] = "filler",
    seed: Annotated[int, typer.Option(help="Seed of the run; schemes meet the same losses.")] = 1,
    ack_loss: Annotated[bool, typer.Option("--ack-loss", help="Lose acknowledgements too.")] = False,
    phase: Annotated[str, typer.Option(help="Slots against tokens: aligned or random.")] = "aligned",
    first: Annotated[
        str, typer.Option(help="What is first where a token and an acknowledgement coincide: token or acknowledgement.")
    ] = "token",
    known_timeouts: Annotated[
        bool, typer.Option("--known-timeouts", help="tcp-simple and duplicate-K know the RTT, as in the figures.")
    ] = False,
    every_ack: Annotated[
        bool, typer.Option("--every-ack", help="To these, each later acknowledgement proves a loss, as in the figures.")
    ] = False,
    jitter: Annotated[float, typer.Option(help="Milliseconds by which a packet may be delayed.")] = 0.0,
    rate: Annotated[bool, typer.Option("--rate", help="Packets take time to send, as the scenario says.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a processor by default.")] = None,
    dask: Annotated[str | None, typer.Option(help="A Dask scheduler (tcp://...), or local.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for figures.csv and sessions.csv.")] = None,
) -> None:
    """Simulate sessions of any schemes over any link, and print their figures."""
    from eloquent.scenarios import load
    from eloquent.sim.engine.batch import Point, read_instants
    from eloquent.sim.engine.choices import Choices
    from eloquent.sim.engine.experiment import run
    from eloquent.sim.engine.session import constant_rate
    from eloquent.sim.engine.tables import SessionsFile, figures_table

    recorded = None if tokens is None else read_instants(_read(tokens), name=str(tokens))
    generated = recorded or constant_rate(session, gap / 1e3)
    choices = Choices(
        ack_loss=ack_loss,
        phase=cast("Phase", phase),  # `Choices` refuses an unknown word
        first=cast("First", first),
        known_timeouts=known_timeouts,
        every_ack=every_ack,
        jitter=jitter / 1e3,
        rate_limited=rate,
        content=content,
    )
    words = [scenario] if "=" in scenario or Path(scenario).is_file() else scenario.split(",")
    links = [load(word, random_start=True) for word in words]
    points = [Point(name, link, choices) for link in links for name in schemes.split(",") if name]
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
    if sessions > 1 and any(point.scenario.begins_alike for point in points):
        console.print(
            "Sessions that all begin with their trace count as one, without an interval: start=random begins each elsewhere."
        )


@needs("sim")
def reproduce(
    *,
    out: Annotated[Path, typer.Option(help="Folder for tables (CSV, Markdown) and figures (PNG, SVG).")],
    sessions: Annotated[int, typer.Option(min=1, help="Sessions of each setting in the figures.")] = 30,
    headline: Annotated[int, typer.Option(min=1, help="Sessions of each setting of the printed reductions.")] = 30,
    varied: Annotated[int, typer.Option(min=1, help="Sessions of each setting in the table of choices.")] = 1,
    modern: Annotated[
        int, typer.Option(min=0, help="Sessions of each setting at today's rates; 0 for one of two settings.")
    ] = 0,
    schemes: Annotated[str | None, typer.Option(help="Schemes of the figures; all registered ones by default.")] = None,
    traces: Annotated[
        Path | None, typer.Option(help="Folder with traces for figure 7, instead of the shipped.")
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option(help="Only the targets of eloquent-adaptive, eloquent-packed or quic, as targets.md and CSV."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the run.")] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a processor by default.")] = None,
    dask: Annotated[str | None, typer.Option(help="A Dask scheduler (tcp://...), or local.")] = None,
) -> None:
    """Compute the paper's results from seeds, print them beside the printed ones, and draw the figures."""
    from eloquent.sim.engine.tables import show
    from eloquent.sim.paper import modern as frontier
    from eloquent.sim.paper import reproduction, settings

    if targets is not None:
        found = _targets(targets, sessions=sessions, seed=seed, workers=workers, dask=dask)
        reproduction.write(found, out, name="targets", title=f"The targets of {targets}")
        for table in found:
            _print_table(table.title, table.headings, [tuple(map(show, row)) for row in table.rows])
    else:
        names = settings.scheme_names() if schemes is None else tuple(schemes.split(","))
        plan = reproduction.Plan(
            names,
            sessions=sessions,
            headline=headline,
            varied=varied,
            modern=modern,
            extra=frontier.EXTRA if schemes is None else (),
            traces=traces,
        )
        with _working(plan.total, workers=workers, dask=dask) as (executor, tick):
            from eloquent.sim.paper import plots  # with Matplotlib, while the workers start

            result = reproduction.reproduce(plan, seed=seed, executor=executor, progress=tick)
            drawn = plots.draw(result, executor)
            reproduction.write(result.tables, out, title="The paper's results, from seeds")
            _draw_session(out)  # while the workers draw the others
            for name, content in drawn:
                (out / name).write_bytes(content)
        headings, *rows = reproduction.summary_lines(result.tables[0])
        _print_table("Reduction of the stall ratio by Eloquent, in percent", headings, rows)
    console.print(f"tables and figures: {out}", highlight=False, soft_wrap=True)


def _targets(scheme: str, *, sessions: int, seed: int, workers: int | None, dask: str | None) -> "list[Figures]":
    """Simulate the targets of one of our schemes, or of the carrier QUIC."""
    from eloquent.sim.paper import readers, targets, targets_packed
    from eloquent.sim.quic import comparison, fairness

    if scheme == comparison.CARRIER:
        total = comparison.count_runs(sessions) + len(fairness.CASES)
        with _working(total, workers=workers, dask=dask) as (executor, tick):
            lines = fairness.table(executor=executor, progress=tick)
            runs = comparison.simulate(runs=sessions, seed=seed, executor=executor, progress=tick)
            return [comparison.table(runs), lines]
    if scheme == targets_packed.PACKED:
        total = targets_packed.count_sessions(sessions)
        with _working(total, workers=workers, dask=dask) as (executor, tick):
            return targets_packed.tables(sessions=sessions, seed=seed, executor=executor, progress=tick)
    if scheme == targets.ADAPTIVE:
        cases = len(targets.lossy_points()) + 2 * len(readers.cases())
        with _working(cases * sessions, workers=workers, dask=dask) as (executor, tick):
            found = targets.tables(sessions=sessions, seed=seed, executor=executor, progress=tick)
            return [*found, readers.table(sessions=sessions, seed=seed, executor=executor, progress=tick)]
    names = f"{targets.ADAPTIVE}, {targets_packed.PACKED} or {comparison.CARRIER}"
    raise ConfigurationError(f"'{scheme}' has no targets: choose {names}")


def _draw_session(out: Path) -> None:
    """Draw figure 4 from the capture of a simulated session, as `eloquent measure read` does from any other."""
    from eloquent.measure import figure4
    from eloquent.measure.findings import read_streams
    from eloquent.sim.engine.capture import BEGIN, figure_4

    session, capture = figure_4()
    (out / "figure-4.pcap").write_bytes(capture)
    (stream,) = read_streams(out / "figure-4.pcap")
    rendered = [BEGIN + at for at in session.rendered_s]
    figure4.save(figure4.draw(stream, rendered), out, "figure-4")


@needs("sim")
def agreement(
    folder: Annotated[Path, typer.Argument(help="A run directory.")] = Path("runs/latest"),
    *,
    repeats: Annotated[int, typer.Option(min=1, help="How often each session is replayed.")] = 10,
    tolerance: Annotated[float, typer.Option(min=0, help="Percent by which a stall ratio may differ.")] = 10.0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a processor by default.")] = None,
) -> None:
    """Replay a run of the lab in the simulator, write agreement.csv and agreement.md beside its logs, and compare."""
    from eloquent.records.run_directory import RunDirectory
    from eloquent.sim.replay.agreement import compare
    from eloquent.sim.replay.connections import read_connections

    connections = read_connections(RunDirectory(folder))
    total = repeats * sum(len(connection.sessions) for connection in connections)
    with _working(total, workers=workers, dask=None) as (executor, tick):
        found = compare(folder, connections, repeats=repeats, executor=executor, progress=tick)
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
    from eloquent.cluster import workers as open_workers

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
    from eloquent.sim.engine.tables import show

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
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from None
