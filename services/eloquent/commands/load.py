"""`eloquent load` and `eloquent load-capacity`: many chats through the testbed that is up."""

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from eloquent.commands.extras import needs
from eloquent.errors import EmulationError
from eloquent.terminal import Output

console = Output()


@needs("testbed")
def load(
    *,
    users: Annotated[int, typer.Option(help="Chats at the same time, at the height of the shape.")] = 24,
    duration: Annotated[float, typer.Option(help="Length of the test in seconds.")] = 60.0,
    shape: Annotated[str, typer.Option(help="steady, ramp, spike or commuter.")] = "steady",
    schemes: Annotated[str, typer.Option(help="Comma-separated; the users are divided among them.")] = "grpc,eloquent",
    via: Annotated[str, typer.Option(help="Where datagrams end: edge (the relay) or library (the user).")] = "edge",
    think: Annotated[float, typer.Option(help="Median pause before the next question, in seconds.")] = 4.0,
    answer_tokens: Annotated[int, typer.Option(help="Median length of an answer, in tokens.")] = 120,
    token_rate: Annotated[float, typer.Option(help="Tokens a second of each answer.")] = 10.0,
    slo: Annotated[str, typer.Option(help="Bounds, such as stall_ratio=0.2,ttft_p95=2.0.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of what the users do.")] = 1,
    allow_invalid: Annotated[
        bool,
        typer.Option("--allow-invalid", "--allow-lag", help="Accept a test that the machine did not keep up with."),
    ] = False,
) -> None:
    """Run a load test; exit status 1 where an objective is broken, the test is not valid or ended early."""
    from eloquent.emulation.testbed import Testbed
    from eloquent.load.options import parse_load_options

    options = parse_load_options(
        users=users,
        duration_s=duration,
        shape=shape,
        schemes=tuple(name for name in schemes.split(",") if name),
        via=via,
        think_s=think,
        answer_tokens=answer_tokens,
        token_rate=token_rate,
        slo=slo,
        seed=seed,
        allow_lag=allow_invalid,
    )
    ended = _show(Testbed().load(options))
    failures = [*ended["breaches"]]
    if ended["partial"]:
        failures.append("the test ended early, and its results are partial")
    if ended["flaws"] and not allow_invalid:
        failures.append(f"the test is not valid (--allow-invalid accepts that): {'; '.join(ended['flaws'])}")
    if failures:
        raise EmulationError("; ".join(failures))


def _show(events: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Show what happens, and the summary at the end; give how it ended."""
    from eloquent.records.run_directory import RunDirectory
    from eloquent.report.figures import compute
    from eloquent.report.html import write_report
    from eloquent.report.table import render

    ended: dict[str, Any] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[users]} users"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        bar: TaskID | None = None
        for event in events:
            match event:
                case {"event": "stage", "text": text}:
                    console.print(f"{escape(text)} ...", highlight=False)
                case {"event": "load_started", "seconds": seconds, "url": url}:
                    console.print(f"Locust's page, while it runs: {url}", highlight=False, soft_wrap=True)
                    bar = progress.add_task("chatting", total=seconds, users=0)
                case {"event": "users", "elapsed": elapsed, "users": count} if bar is not None:
                    progress.update(bar, completed=elapsed, users=count)
                case {"event": "ride", "stage": stage, "scenario": scenario}:
                    console.print(f"the train reaches the {stage} ({scenario})", highlight=False)
                case {"event": "warning", "text": text}:
                    console.print("[bold red]warning:[/]", escape(text), highlight=False, soft_wrap=True)
                case {"event": "load_ended"}:
                    ended = event
    folder = Path(ended["folder"])
    console.print()
    console.print(render(compute(RunDirectory(folder))))
    console.print(f"\nload directory: {folder}", highlight=False, soft_wrap=True)
    console.print(f"report:         {write_report(folder)}", highlight=False, soft_wrap=True)
    console.print(f"Locust's own:   {folder / 'locust.html'}", highlight=False, soft_wrap=True)
    return ended


@needs("testbed")
def load_capacity(
    *,
    schemes: Annotated[str, typer.Option(help="Comma-separated; each is searched alone.")] = "grpc,sse,eloquent",
    via: Annotated[str, typer.Option(help="Where datagrams end: edge (the relay) or library (the user).")] = "edge",
    first: Annotated[int, typer.Option(min=1, help="Streams of the first step.")] = 16,
    most: Annotated[int, typer.Option(min=1, help="Streams that are not exceeded.")] = 400,
    duration: Annotated[float, typer.Option(help="Length of a step in seconds.")] = 20.0,
    token_rate: Annotated[float, typer.Option(help="Tokens a second of each answer.")] = 10.0,
) -> None:
    """Find how many concurrent streams this machine sustains, scheme by scheme, and write the table."""
    from eloquent.emulation.testbed import Testbed
    from eloquent.load import capacity
    from eloquent.load.options import parse_load_options
    from eloquent.records.run_directory import write_whole
    from eloquent.report.validity import BUSY_BOUND, LAG_BOUND, LATENESS_BOUND, STEAL_WARNING

    testbed, steps = Testbed(), list[capacity.Step]()
    bounds = capacity.Bounds(
        lag_s=LAG_BOUND,
        lateness_s=LATENESS_BOUND,
        stolen=STEAL_WARNING,
        processors=BUSY_BOUND * (os.cpu_count() or 1),
    )

    def run(scheme: str, streams: int) -> capacity.Step:
        options = parse_load_options(
            users=streams,
            duration_s=duration,
            schemes=(scheme,),
            via=via,
            think_s=0,
            answer_tokens=600,
            token_rate=token_rate,
            allow_lag=True,
        )
        *events, ended = testbed.load(options)
        for event in events:
            if event["event"] == "warning":
                console.print("[bold red]warning:[/]", escape(event["text"]), highlight=False, soft_wrap=True)
        folder = Path(ended["folder"])
        summary, manifest = (json.loads((folder / name).read_bytes()) for name in ("summary.json", "manifest.json"))
        steps.append(capacity.Step.read(scheme, streams, summary, manifest, bounds=bounds))
        write_whole(folder.parent / "capacity.md", capacity.markdown(steps))
        if ended["partial"]:
            raise EmulationError(f"a step ended early, and with it the search; see {folder.parent / 'capacity.md'}")
        return steps[-1]

    for scheme in parse_load_options(schemes=tuple(name for name in schemes.split(",") if name)).schemes:
        for step in capacity.search(partial(run, scheme), first=first, most=most):
            verdict = "[red]" + ", ".join(step.refusals) + "[/]" if step.refusals else "[green]sustained[/]"
            console.print(f"{scheme}: {step.streams} streams: {verdict}", highlight=False)
    console.print(capacity.markdown(steps), highlight=False, markup=False, soft_wrap=True)
