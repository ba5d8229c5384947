"""`eloquent fleet`: labs on the workers of a Dask cluster, and what they measure as one run."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from eloquent.commands.extras import needs
from eloquent.errors import EmulationError
from eloquent.terminal import Output

if TYPE_CHECKING:
    from eloquent.fleet.pool import JudgedLab
    from eloquent.load.options import LoadOptions

console = Output()


@needs("testbed")
def fleet(
    *,
    dask: Annotated[str, typer.Option(help="A Dask scheduler (tcp://...), or local; its workers are root.")],
    labs: Annotated[int | None, typer.Option(min=1, help="Labs; one a worker by default.")] = None,
    clients: Annotated[int | None, typer.Option(help="Clients of all labs together; 8 a lab by default.")] = None,
    schemes: Annotated[str | None, typer.Option(help="Comma-separated, as of up; of load with --users.")] = None,
    scenario: Annotated[str, typer.Option(help="A shipped name, a YAML file, or a line.")] = "paper-default",
    rounds: Annotated[int, typer.Option(help="How often each client asks once by each scheme.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the links' schedules, and of what users do.")] = 1,
    session: Annotated[float, typer.Option(help="Length of one answer in seconds.")] = 30.0,
    token_rate: Annotated[float, typer.Option(help="Tokens a second of each answer.")] = 10.0,
    carrier: Annotated[str, typer.Option(help="auto, netem or wire.")] = "auto",
    datapath: Annotated[str, typer.Option(help="auto, kernel or user.")] = "auto",
    rtt_tolerance: Annotated[float, typer.Option(help="Milliseconds by which a link's RTT may differ.")] = 2.0,
    users: Annotated[
        int | None, typer.Option(help="Chats of all labs together: a load test in place of rounds.")
    ] = None,
    duration: Annotated[float, typer.Option(help="Its length in seconds.")] = 60.0,
    shape: Annotated[str, typer.Option(help="Its shape: steady, ramp, spike or commuter.")] = "steady",
    via: Annotated[
        str, typer.Option(help="Its datagrams end in the edge relay (edge) or the user (library).")
    ] = "edge",
    think: Annotated[float, typer.Option(help="Its users' median pause, in seconds.")] = 4.0,
    slo: Annotated[str, typer.Option(help="Its bounds, such as stall_ratio=0.2,ttft_p95=2.0.")] = "",
    runs: Annotated[Path | None, typer.Option(envvar="ELOQUENT_RUNS", help="Folder of the run directories.")] = None,
    allow_invalid: Annotated[
        bool, typer.Option("--allow-invalid", help="Accept that some labs were not pooled.")
    ] = False,
) -> None:
    """Run labs on many machines, and pool their sessions; exit status 1 where one is missing or not valid."""
    from eloquent.cluster import connect
    from eloquent.emulation.options import parse_options
    from eloquent.fleet.fleet import Fleet, muster, shared_machines
    from eloquent.fleet.orders import deal
    from eloquent.fleet.pool import judge, pool
    from eloquent.load.options import parse_load_options
    from eloquent.records.run_directory import RunDirectory
    from eloquent.report.summary import summarise

    names = None if schemes is None else tuple(name for name in schemes.split(",") if name)
    values = {
        "scenario": parse_options(scenario=scenario).scenario,  # of this machine's file, read once
        "rounds": rounds,
        "seed": seed,
        "session_s": session,
        "token_rate": token_rate,
        "carrier": carrier,
        "datapath": datapath,
        "rtt_tolerance_s": rtt_tolerance / 1e3,
        **({} if names is None else {"schemes": names}),
    }
    load: LoadOptions | None = None
    if users is not None:
        load = parse_load_options(
            users=users,
            duration_s=duration,
            shape=shape,
            via=via,
            think_s=think,
            slo=slo,
            seed=seed,
            token_rate=token_rate,
            **({} if names is None else {"schemes": names}),
        )
    name = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-fleet")
    with connect(dask, processes=labs or 1) as client:
        workers = muster(client)
        orders = deal(name, labs=labs or len(workers), clients=clients, values=values, load=load)
        run = RunDirectory.create(runs or parse_options().runs, name)
        ended = [judge(end, run.path / end.order.name) for end in Fleet(client, workers, run.path, _tell).run(orders)]
    shared = [
        f"labs of the machine {host} ran beside each other and shared its processors"
        for host in shared_machines(workers)
    ]
    pool(ended, run, warnings=shared)
    _show(run.path, ended, shared)
    _judge(ended, summarise(run.path), load, allow_invalid=allow_invalid)


def _tell(event: dict[str, Any]) -> None:
    """Show what happens in a lab."""
    match event:
        case {"event": "lab_began", "host": host, "worker": worker, "clients": clients}:
            text = f"clients {clients} on {host} ({worker})"
        case {"event": "chosen", "what": what, "name": name}:
            text = f"{what}: {name}"
        case {"event": "stage", "text": str(text)}:
            text = f"{text} ..."
        case {"event": "streaming", "sessions": sessions, "seconds": seconds}:
            text = f"streaming {sessions} sessions, about {seconds:g} s ..."
        case {"event": "load_started", "seconds": seconds}:
            text = f"its users chat for {seconds:g} s ..."
        case {"event": "warning", "text": text}:
            text = f"warning: {text}"
        case {"event": "lab_ended", "failure": None}:
            text = "its records are here"
        case {"event": "lab_ended", "failure": failure}:
            text = f"no records: {failure}"
        case _:
            return
    console.print(f"[bold]{event['lab']}[/]:", escape(text), highlight=False, soft_wrap=True)


def _show(folder: Path, labs: "Sequence[JudgedLab]", shared: Sequence[str]) -> None:
    """Show which labs were pooled, and what came of them."""
    from eloquent.records.run_directory import RunDirectory
    from eloquent.report.figures import compute
    from eloquent.report.html import write_report
    from eloquent.report.table import render

    run = RunDirectory(folder)
    console.print()
    for complaint in filter(None, (lab.complaint() for lab in labs)):
        console.print(f"[bold red]{escape(complaint)}[/]", highlight=False, soft_wrap=True)
    for warning in shared:
        console.print("[bold red]warning:[/]", escape(warning), highlight=False, soft_wrap=True)
    pooled = sum(not lab.faults for lab in labs)
    console.print(f"{pooled} of {len(labs)} labs pooled", highlight=False)
    console.print(render(compute(run), title=run.read_manifest().scenario.line))
    console.print(f"\nrun directory: {folder}", highlight=False, soft_wrap=True)
    console.print(f"report:        {write_report(folder)}", highlight=False, soft_wrap=True)


def _judge(labs: "Sequence[JudgedLab]", summary: Any, load: "LoadOptions | None", *, allow_invalid: bool) -> None:
    """Say what a run of a fleet failed by."""
    from dataclasses import asdict

    from eloquent.load.slo import breaches, parse_slo

    missing = [lab.name for lab in labs if lab.faults]
    failures: list[str] = []
    if len(missing) == len(labs):
        failures.append("no lab could be pooled, so nothing was measured")
    elif missing and not allow_invalid:
        failures.append(f"not all labs were pooled (--allow-invalid accepts that): {', '.join(missing)} left out")
    if summary.flaws and len(missing) < len(labs) and not allow_invalid:
        failures.append(f"the run is not valid (--allow-invalid accepts that): {'; '.join(summary.flaws)}")
    if load is not None:
        figures = {name: asdict(one) for name, one in summary.schemes.items()}
        failures += [str(breach) for breach in breaches(parse_slo(load.slo), figures)]
    if failures:
        raise EmulationError("; ".join(failures))
