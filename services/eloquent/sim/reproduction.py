"""The paper's results from seeds: figures 2, 5 and 6, the printed reductions beside ours, and what other choices give.

What is printed in the paper stands in this file, and nothing of it enters a simulation.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

from eloquent import scenarios
from eloquent.protocol import schemes
from eloquent.qoe.ratios import ratio
from eloquent.report.run_directory import write_whole
from eloquent.sim import timeline
from eloquent.sim.batch import Point
from eloquent.sim.bound import stall_ratio_bound
from eloquent.sim.choices import Choices
from eloquent.sim.experiment import Results, run
from eloquent.sim.session import constant_rate
from eloquent.sim.tables import Cell, Table, figures_table, gaps_table, show

SESSION = 30.0  # seconds (Eloquent §4.1)
SESSIONS = 30  # of each setting (§4.1)
TCP = "tcp-simple"
OURS = "eloquent"
DUPLICATES = ("duplicate-2", "duplicate-3", "duplicate-4", "duplicate-5")
SCHEMES = (TCP, *DUPLICATES, OURS, "bound")
PANELS = {
    "figure-5": ("paper-default", "paper-default-rtt100"),
    "figure-6": ("paper-frequent", "paper-long"),
}
PAPER = Choices(phase="random")
"""The choices of the figures: those under which the printed reductions come out best (docs/reproduction.md)."""


@dataclass(frozen=True, slots=True)
class Printed:
    """A reduction of the stall ratio that the paper prints (§4.2).

    Attributes:
        scenario: The setting.
        baselines: Against which scheme; where the paper does not say which, all that it may be.
        reduction: What is printed, in percent.
        tolerance: How far ours may be from it, in points.
    """

    scenario: str
    baselines: tuple[str, ...]
    reduction: float
    tolerance: float


PRINTED = (
    Printed("paper-default", (TCP,), -71.0, 3.0),
    Printed("paper-default-rtt100", (TCP,), -60.0, 3.0),
    Printed("paper-default", DUPLICATES, -31.6, 5.0),
    Printed("paper-default-rtt100", DUPLICATES, -31.3, 5.0),
)


@dataclass(frozen=True, slots=True)
class Variation:
    """One other choice.

    Attributes:
        name: What it is called in the table.
        choices: What the simulation assumes.
        spacing: Time between copies, as in the names of schemes.
        measure: Which stall seconds count.
    """

    name: str
    choices: Choices = PAPER
    spacing: str = ""
    measure: str = "stall_s"


VARIATIONS = (
    Variation("as in the figures"),
    Variation("slots aligned with tokens", replace(PAPER, phase="aligned")),
    Variation("acknowledgements are lost too", replace(PAPER, ack_loss=True)),
    Variation("copies back to back", spacing="-0ms"),
    Variation("copies 60 ms apart", spacing="-60ms"),
    Variation("threshold 210 ms", measure="stall_210_s"),
    Variation("excess over 200 ms instead of the whole gap", measure="excess_s"),
    Variation("1 ms of jitter", replace(PAPER, jitter=0.001)),
    Variation("1 ms of jitter, threshold 210 ms", replace(PAPER, jitter=0.001), measure="stall_210_s"),
    Variation("packets take time to send (10 Mbit/s)", replace(PAPER, rate_limited=True)),
)


@dataclass(frozen=True, slots=True)
class Reproduction:
    """All that was computed.

    Attributes:
        panels: The results of each panel of figures 5 and 6, by scenario.
        timeline: The runs of figure 2.
        tables: Every table, in the order of the report.
    """

    panels: Mapping[str, Sequence[Results]]
    timeline: Sequence[timeline.Column]
    tables: Sequence[Table]


class Plan:
    """What has to be simulated, each point once and with as many sessions as its most demanding use.

    Args:
        names: Schemes of the figures.
        sessions: Sessions of a point in the figures.
        headline: Sessions of a point of the printed reductions.
        varied: Sessions of a point of the table of choices.
    """

    def __init__(self, names: Sequence[str], *, sessions: int, headline: int, varied: int) -> None:
        self.names, self.figure, self.headline, self.varied = tuple(names), sessions, headline, varied
        self.wanted: dict[Point, int] = {}
        for scenario in (scenario for panel in PANELS.values() for scenario in panel):
            for name in self.names:
                self._want(Point(name, scenarios.load(scenario), PAPER), sessions)
        for printed in PRINTED:
            for name in (*printed.baselines, OURS):
                self._want(Point(name, scenarios.load(printed.scenario), PAPER), headline)
        for variation in VARIATIONS:
            for point in points_of(variation):
                self._want(point, varied)

    @property
    def total(self) -> int:
        """Sessions in all."""
        return sum(self.wanted.values())

    def _want(self, point: Point, sessions: int) -> None:
        self.wanted[point] = max(sessions, self.wanted.get(point, 0))


def points_of(variation: Variation) -> list[Point]:
    """Return what a variation compares: TCP, the duplications and ours, on both settings of figure 5."""
    names = (TCP, *(name + variation.spacing for name in DUPLICATES), OURS)
    return [Point(name, scenarios.load(setting), variation.choices) for setting in PANELS["figure-5"] for name in names]


def reproduce(
    plan: Plan,
    *,
    seed: int,
    session_s: float = SESSION,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda done: None,  # noqa: ARG005
) -> Reproduction:
    """Compute everything.

    Args:
        plan: What to simulate.
        seed: Seed of the run.
        session_s: Length of a session in seconds.
        executor: Who computes; None for this process.
        progress: Called with the number of sessions that have just been done.
    """
    done: dict[Point, Results] = {}
    for sessions in sorted(set(plan.wanted.values()), reverse=True):
        points = [point for point, count in plan.wanted.items() if count == sessions]
        results = run(
            points,
            sessions=sessions,
            generated_s=constant_rate(session_s),
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
    runs = timeline.columns()
    tables = [
        printed_table(done),
        *(
            figures_table(
                [result for scenario in panel for result in panels[scenario]],
                name=figure,
                title=f"{figure.capitalize().replace('-', ' ')}: stall ratio and redundancy",
            )
            for figure, panel in PANELS.items()
        ),
        bound_table(panels),
        choices_table(done),
        timeline.table(runs),
        gaps_table(panels["paper-default"], name="gaps", title="Gaps on paper-default"),
    ]
    return Reproduction(panels, runs, tables)


def printed_table(done: Mapping[Point, Results]) -> Table:
    """Return the printed reductions beside ours."""
    rows: list[tuple[Cell, ...]] = []
    for printed in PRINTED:
        scenario = scenarios.load(printed.scenario)
        ours = done[Point(OURS, scenario, PAPER)]
        for name in printed.baselines:
            baseline = done[Point(name, scenario, PAPER)]
            relative = ours.relative_to(baseline)
            reduction = None if relative is None else (relative.ratio - 1) * 100
            low, high = (None, None) if relative is None or relative.ci95 is None else relative.ci95
            rows.append(
                (
                    f"{scenario.rtt * 1e3:g} ms",
                    schemes.get(name).label,
                    printed.reduction,
                    reduction,
                    None if low is None else (low - 1) * 100,
                    None if high is None else (high - 1) * 100,
                    "yes"
                    if reduction is not None and abs(reduction - printed.reduction) <= printed.tolerance
                    else "no",
                    ours.figures().redundancy_rate,
                    baseline.figures().redundancy_rate,
                    ours.figures().sessions,
                )
            )
    headings = (
        "RTT",
        "against",
        "printed_percent",
        "ours_percent",
        "low",
        "high",
        "within_tolerance",
        "redundancy_eloquent",
        "redundancy_baseline",
        "sessions",
    )
    return Table("reductions", "Reduction of the stall ratio by Eloquent, printed and ours", headings, tuple(rows))


def bound_table(panels: Mapping[str, Sequence[Results]]) -> Table:
    """Return the exact bound of each panel beside what the schemes reach."""
    rows: list[tuple[Cell, ...]] = []
    for scenario, results in panels.items():
        exact = stall_ratio_bound(scenarios.load(scenario).loss_down)
        for result in results:
            reached = result.figures().stall_ratio
            rows.append((scenario, result.point.scheme, exact, reached, None if reached is None else reached / exact))
    headings = ("scenario", "scheme", "exact_bound", "stall_ratio", "over_bound")
    return Table("bound", "The exact bound at one packet a token", headings, tuple(rows))


def choices_table(done: Mapping[Point, Results]) -> Table:
    """Return the reductions by Eloquent under each variation."""
    rows: list[tuple[Cell, ...]] = []
    for variation in VARIATIONS:
        points = points_of(variation)
        for start in range(0, len(points), len(points) // 2):
            *baselines, ours = (done[point] for point in points[start : start + len(points) // 2])
            relatives = [ours.relative_to(baseline, variation.measure) for baseline in baselines]
            rows.append(
                (
                    variation.name,
                    f"{ours.point.scenario.rtt * 1e3:g} ms",
                    *(
                        ratio(result.column(variation.measure), result.column("stream_s"))
                        for result in (baselines[0], ours)
                    ),
                    *(None if relative is None else (relative.ratio - 1) * 100 for relative in relatives),
                    ours.figures().sessions,
                )
            )
    headings = (
        "choice",
        "RTT",
        "TCP_stall_ratio",
        "Eloquent_stall_ratio",
        *(f"{label}_percent" for label in ("TCP", "×2", "×3", "×4", "×5")),
        "sessions",
    )
    return Table(
        "choices", "What other choices give: reductions by Eloquent against each baseline", headings, tuple(rows)
    )


def write(reproduction: Reproduction, folder: Path) -> None:
    """Write every table as CSV, and all but the long ones as one page of Markdown.

    Args:
        reproduction: What was computed.
        folder: Where to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for table in reproduction.tables:
        table.write(folder)
    page = [table.to_markdown() for table in reproduction.tables if table.name != "gaps"]
    write_whole(folder / "reproduction.md", "# The paper's results, from seeds\n\n" + "\n".join(page))


def summary_lines(reproduction: Reproduction) -> list[tuple[str, ...]]:
    """Return a heading and rows of the printed and our reductions, for the screen."""
    table = reproduction.tables[0]
    wanted = ("RTT", "against", "printed_percent", "ours_percent", "low", "high", "redundancy_baseline", "sessions")
    places = [table.headings.index(name) for name in wanted]
    headings = ("RTT", "against", "printed", "ours", "95 %\nfrom", "\nto", "its redun-\ndancy", "sessions")
    return [headings, *(tuple(_short(row[place]) for place in places) for row in table.rows)]


def _short(cell: Cell) -> str:
    return f"{cell:.1f}" if isinstance(cell, float) else show(cell)
