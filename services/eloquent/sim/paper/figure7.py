"""Figure 7 of the paper: sessions over recorded losses, with the stall ratio and the tokens that come too late (§4.3).

The paper applies the fate of a TCP stream's i-th packet to the i-th packet of the simulation. Here a trace is read by time, so
that a scheme which sends more meets the same channel (docs/measurement.md). Sessions of all traces are one sample.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from eloquent import scenarios
from eloquent.channel.scenario import Scenario
from eloquent.errors import ConfigurationError
from eloquent.report import styles
from eloquent.sim.engine.batch import Point, SessionSums
from eloquent.sim.engine.experiment import Results, run, tell_nobody
from eloquent.sim.engine.tables import Cell, Table
from eloquent.sim.paper.reductions import reduction_of
from eloquent.sim.paper.settings import DUPLICATES, OURS, PAPER, TCP

SHIPPED = ("trace-walk", "trace-wifi", "trace-lift")
RTT = 0.400  # seconds (§4.3)
SLOT = 0.020  # seconds; as `eloquent measure` makes of a loss trace
POOLED = "all-traces"
PRINTED = (
    ("stall_s", "stream_s", TCP, -27.4),
    ("stall_s", "stream_s", "", -18.0),
    ("late_tokens", "tokens", TCP, -40.4),
)
"""Measure, over what, against whom (nothing: a duplication), and the printed reduction in percent (§4.3)."""


def read_traces(folder: Path | None) -> list[Scenario]:
    """Return the links of the figure.

    Args:
        folder: The user's traces: the scenarios (`*.yaml`) in it or below, as `eloquent measure` leaves them; without any,
            all its files, each a loss trace or a Mahimahi trace, at RTT 400 ms. None for the shipped traces.

    Raises:
        ConfigurationError: There is nothing in it, or a file is no trace.
    """
    if folder is None:
        return [scenarios.load(name) for name in SHIPPED]
    files = sorted(folder.rglob("*.yaml"))
    if files:
        return [replace(scenarios.load(path, random_start=True), name=_name(path)) for path in files]
    files = sorted(path for path in folder.glob("*") if path.is_file())
    if not files:
        raise ConfigurationError(f"{folder} holds no traces")
    return [_from_trace(path) for path in files]


def _name(path: Path) -> str:
    """Return the file's own name, or for a run's `scenario.yaml` that of the run."""
    return path.parent.name if path.stem == "scenario" else path.stem


def _from_trace(path: Path) -> Scenario:
    return replace(scenarios.load_trace(path, rtt=RTT, slot=SLOT), name=path.stem)


def replay(
    names: Sequence[str],
    links: Sequence[Scenario],
    *,
    sessions: int,
    generated_s: tuple[float, ...],
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = tell_nobody,
) -> dict[str, list[Results]]:
    """Simulate every scheme on every trace.

    Args:
        names: Schemes.
        links: The traces.
        sessions: Sessions of each scheme, shared out among the traces.
        generated_s: When the tokens of a session are generated, in seconds.
        seed: Seed of the run.
        executor: Who computes; None for this process.
        progress: Called with the number of sessions that have just been done.

    Returns:
        The results of each scheme over all traces (`POOLED`), and on each of them.
    """
    pooled = {name: Results(Point(name, replace(links[0], name=POOLED), PAPER)) for name in names}
    numbers = {link.name: number for number, link in enumerate(links)}
    each_has = sessions_each(sessions, links)

    def add(point: Point, sums: SessionSums) -> None:
        number = numbers[point.scenario.name] * each_has + sums.session
        pooled[point.scheme].add(sums._replace(session=number))

    points = [Point(name, link, PAPER) for link in links for name in names]
    results = run(
        points,
        sessions=each_has,
        generated_s=generated_s,
        seed=seed,
        executor=executor,
        progress=progress,
        each=add,
    )
    found = {POOLED: [pooled[name] for name in names]}
    for result in results:
        found.setdefault(result.point.scenario.name, []).append(result)
    return found


def sessions_each(sessions: int, links: Sequence[Scenario]) -> int:
    """Return how many sessions each trace gets of those of a scheme, one at least."""
    return -(-sessions // len(links))


def printed_table(replayed: Mapping[str, Sequence[Results]]) -> Table:
    """Return what the paper prints of its own trace beside what comes out on these.

    Args:
        replayed: What `replay` gave.
    """
    rows: list[tuple[Cell, ...]] = []
    for trace, results in replayed.items():
        by_name = {result.point.scheme: result for result in results}
        for measure, per, against, printed in PRINTED:
            for name in (against,) if against else DUPLICATES:
                if name in by_name and OURS in by_name:
                    ours, baseline = by_name[OURS], by_name[name]
                    rows.append(
                        (
                            trace,
                            "late tokens" if measure == "late_tokens" else "stall ratio",
                            styles.label(name),
                            printed,
                            *reduction_of(ours, baseline, measure, per),
                            ours.figures().redundancy_rate,
                            baseline.figures().redundancy_rate,
                            baseline.figures().failed,
                        )
                    )
    headings = (
        "trace",
        "measure",
        "against",
        "printed_percent",
        "ours_percent",
        "low",
        "high",
        "redundancy_eloquent",
        "redundancy_baseline",
        "failed_baseline",
    )
    title = "Figure 7: reductions by Eloquent on traces; the printed ones are of the paper's own trace"
    return Table("figure-7-reductions", title, headings, tuple(rows))
