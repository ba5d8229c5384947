"""The paper's results from seeds: what is simulated for which table and figure, and the files that come of it.

Figures 2, 5, 6 and 7, the printed reductions beside ours, what other choices give, the limit of §3.3, and the exact bound; and
what the paper has not, the frontier at today's rates.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from eloquent import scenarios, schemes
from eloquent.records.run_directory import write_whole
from eloquent.sim.engine.batch import Point
from eloquent.sim.engine.experiment import Results, run, tell_nobody
from eloquent.sim.engine.session import constant_rate
from eloquent.sim.engine.tables import Cell, Table, figures_table, gaps_table, show
from eloquent.sim.paper import figure7, limit, modern, reductions, timeline
from eloquent.sim.paper.settings import OURS, PANELS, PAPER, PRINTED, SESSION, VARIATIONS

_LONG = {"gaps", "limit", "limit-map", "modern"}  # tables that are only written as CSV
_OWN_PAGE = {"frontier_modern"}  # tables with a page of Markdown of their own


@dataclass(frozen=True, slots=True)
class Reproduction:
    """All that was computed.

    Attributes:
        panels: The results of each panel of figures 5 and 6, by scenario.
        replayed: The results of figure 7, by trace, those of all traces first.
        limits: The sweep of §3.3.
        timeline: The runs of figure 2.
        modern: The results at today's rates.
        tables: Every table, in the order of the report.
    """

    panels: Mapping[str, Sequence[Results]]
    replayed: Mapping[str, Sequence[Results]]
    limits: Sequence[limit.Found]
    timeline: Sequence[timeline.Column]
    modern: modern.Found
    tables: Sequence[Table]


class Plan:
    """What has to be simulated, each point once and with as many sessions as its most demanding use.

    Args:
        names: Schemes of the figures.
        sessions: Sessions of a point in the figures; in figure 7 of a scheme over all traces.
        headline: Sessions of a point of the printed reductions.
        varied: Sessions of a point of the table of choices.
        modern: Sessions of each setting of the frontier at today's rates; 0 for one session of two of them.
        extra: Schemes of that frontier beside `names`.
        traces: Folder of the traces of figure 7; None for the shipped ones.

    Raises:
        ConfigurationError: The folder holds something else, or a scheme is unknown or cannot be simulated.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        sessions: int,
        headline: int,
        varied: int,
        modern: int = 0,
        extra: Sequence[str] = (),
        traces: Path | None = None,
    ) -> None:
        self.modern, self.modern_names = modern, (*names, *extra)
        for name in self.modern_names:
            schemes.get(name).make_receiver()  # refuses one that is unknown, or has no endpoints, before anything runs
        self.names, self.figure, self.headline, self.varied = tuple(names), sessions, headline, varied
        self.traces = figure7.read_traces(traces)
        self.wanted: dict[Point, int] = {}
        for scenario in (scenario for panel in PANELS.values() for scenario in panel):
            for name in self.names:
                self._want(Point(name, scenarios.load(scenario), PAPER), sessions)
        for printed in PRINTED:
            for name in (*printed.baselines, *reductions.TCPS, OURS):
                self._want(Point(name, scenarios.load(printed.scenario), PAPER), headline)
        for variation in VARIATIONS:
            for point in reductions.points_of(variation):
                self._want(point, varied)

    @property
    def total(self) -> int:
        """Sessions in all."""
        replayed = figure7.sessions_each(self.figure, self.traces) * len(self.traces) * len(self.names)
        settings, each = modern.settings_of(self.modern)
        return sum(self.wanted.values()) + replayed + len(settings) * each * len(self.modern_names)

    def _want(self, point: Point, sessions: int) -> None:
        self.wanted[point] = max(sessions, self.wanted.get(point, 0))


def reproduce(
    plan: Plan,
    *,
    seed: int,
    session_s: float = SESSION,
    executor: Executor | None = None,
    progress: Callable[[int], None] = tell_nobody,
) -> Reproduction:
    """Compute everything.

    Args:
        plan: What to simulate.
        seed: Seed of the run.
        session_s: Length of a session in seconds.
        executor: Who computes; None for this process.
        progress: Called with the number of sessions that have just been done.
    """
    generated_s = constant_rate(session_s)
    done: dict[Point, Results] = {}
    for sessions in sorted(set(plan.wanted.values()), reverse=True):
        points = [point for point, count in plan.wanted.items() if count == sessions]
        results = run(
            points,
            sessions=sessions,
            generated_s=generated_s,
            seed=seed,
            keep=plan.figure,
            executor=executor,
            progress=progress,
        )
        done.update(zip(points, results, strict=True))
    panels = {
        scenario: [done[Point(name, scenarios.load(scenario), PAPER)].first(plan.figure) for name in plan.names]
        for panel in PANELS.values()
        for scenario in panel
    }
    replayed = figure7.replay(
        plan.names,
        plan.traces,
        sessions=plan.figure,
        generated_s=generated_s,
        seed=seed,
        executor=executor,
        progress=progress,
    )
    limits, runs = limit.sweep(executor), timeline.columns()
    at_todays_rates = modern.simulate(
        plan.modern_names,
        sessions=plan.modern,
        seed=seed,
        session_s=min(session_s, modern.SESSION),
        executor=executor,
        progress=progress,
    )
    tables = _tables(done, panels, replayed, limits, runs)
    tables += [modern.points_table(at_todays_rates), modern.frontier_table(at_todays_rates)]
    return Reproduction(panels, replayed, limits, runs, at_todays_rates, tables)


def _tables(
    done: Mapping[Point, Results],
    panels: Mapping[str, Sequence[Results]],
    replayed: Mapping[str, Sequence[Results]],
    limits: list[limit.Found],
    runs: list[timeline.Column],
) -> list[Table]:
    """Return every table, in the order of the report."""
    return [
        reductions.printed_table(done),
        reductions.tcp_table(done),
        *(
            figures_table(
                [result for scenario in panel for result in panels[scenario]],
                name=figure,
                title=f"{figure.capitalize().replace('-', ' ')}: stall ratio and redundancy",
            )
            for figure, panel in PANELS.items()
        ),
        figures_table(
            [result for results in replayed.values() for result in results],
            name="figure-7",
            title="Figure 7: recorded losses",
        ),
        figure7.printed_table(replayed),
        reductions.bound_table(panels),
        reductions.choices_table(done),
        timeline.table(runs),
        limit.need_table(limits),
        limit.map_table(limits),
        gaps_table(panels["paper-default"], name="gaps", title="Gaps on paper-default"),
    ]


def write(tables: Sequence[Table], folder: Path, *, name: str = "reproduction", title: str) -> None:
    """Write every table as CSV, and all but the long ones as Markdown, most of them on one page.

    Args:
        tables: What was computed.
        folder: Where to.
        name: Name of the page, without an ending.
        title: Its heading.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        table.write(folder)
        if table.name in _OWN_PAGE:
            write_whole(folder / f"{table.name}.md", table.to_markdown())
    page = [table.to_markdown() for table in tables if table.name not in _LONG | _OWN_PAGE]
    write_whole(folder / f"{name}.md", f"# {title}\n\n" + "\n".join(page))


def summary_lines(table: Table) -> list[tuple[str, ...]]:
    """Return a heading and rows of the printed and our reductions, for the screen.

    Args:
        table: That of the printed reductions.
    """
    wanted = ("RTT", "against", "printed_percent", "ours_percent", "low", "high", "redundancy_baseline", "sessions")
    places = [table.headings.index(name) for name in wanted]
    headings = ("RTT", "against", "printed", "ours", "95 %\nfrom", "\nto", "its redun-\ndancy", "sessions")
    return [headings, *(tuple(_short(row[place]) for place in places) for row in table.rows)]


def _short(cell: Cell) -> str:
    return f"{cell:.1f}" if isinstance(cell, float) else show(cell)
