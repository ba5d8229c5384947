"""The printed reductions beside ours, what each TCP and each other choice gives, and what is left to the exact bound."""

from collections.abc import Mapping, Sequence

from eloquent import scenarios
from eloquent.qoe.ratios import ratio
from eloquent.report import styles
from eloquent.sim.engine.batch import Point
from eloquent.sim.engine.bound import stall_ratio_bound
from eloquent.sim.engine.experiment import Results
from eloquent.sim.engine.tables import Cell, Table
from eloquent.sim.paper.settings import (
    DUPLICATES,
    OURS,
    PANELS,
    PAPER,
    PRINTED,
    TCP,
    VARIATIONS,
    Variation,
    baseline_of,
)

TCPS = (TCP, "tcp", "tcp-bbr")


def points_of(variation: Variation) -> list[Point]:
    """Return what a variation compares: TCP, the duplications and ours, on both settings of figure 5."""
    names = (TCP, *(name + variation.spacing for name in DUPLICATES), OURS)
    return [Point(name, scenarios.load(setting), variation.choices) for setting in PANELS["figure-5"] for name in names]


def printed_table(done: Mapping[Point, Results]) -> Table:
    """Return the printed reductions beside ours; the other duplications stand there too, without a printed number.

    Args:
        done: The results of every point.
    """
    rows: list[tuple[Cell, ...]] = []
    for printed in PRINTED:
        scenario = scenarios.load(printed.scenario)
        ours = done[Point(OURS, scenario, PAPER)]
        compared = baseline_of(printed, ours.figures().redundancy_rate or 0.0)
        for name in printed.baselines:
            baseline = done[Point(name, scenario, PAPER)]
            reduction, low, high = reduction_of(ours, baseline)
            is_near = reduction is not None and abs(reduction - printed.reduction) <= printed.tolerance
            is_compared = name == compared
            rows.append(
                (
                    f"{scenario.rtt * 1e3:g} ms",
                    styles.label(name),
                    printed.reduction if is_compared else None,
                    reduction,
                    low,
                    high,
                    ("yes" if is_near else "no") if is_compared else None,
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


def reduction_of(
    ours: Results, baseline: Results, measure: str = "stall_s", per: str = "stream_s"
) -> tuple[float | None, float | None, float | None]:
    """Return by how much a ratio differs from the baseline's, in percent, and the ends of its 95 % interval.

    Args:
        ours: What is compared.
        baseline: With what.
        measure: The upper quantity of the ratio, by default what makes the stall ratio.
        per: The lower one.
    """
    relative = ours.relative_to(baseline, measure, per)
    if relative is None:
        return None, None, None
    low, high = (None, None) if relative.ci95 is None else relative.ci95
    return (
        (relative.ratio - 1) * 100,
        None if low is None else (low - 1) * 100,
        None if high is None else (high - 1) * 100,
    )


def tcp_table(done: Mapping[Point, Results]) -> Table:
    """Return, for each setting of the figures, the stall ratio of each model of TCP, and the reduction by Eloquent.

    Args:
        done: The results of every point.
    """
    rows: list[tuple[Cell, ...]] = []
    for setting in (setting for panel in PANELS.values() for setting in panel):
        scenario = scenarios.load(setting)
        ours = done.get(Point(OURS, scenario, PAPER))
        for name in TCPS:
            tcp = done.get(Point(name, scenario, PAPER))
            if ours is None or tcp is None:
                continue
            figures = tcp.figures()
            cells = (setting, name, figures.stall_ratio, figures.stall_ratio_210, *reduction_of(ours, tcp))
            rows.append((*cells, figures.failed, figures.sessions))
    headings = ("scenario", "tcp", "stall_ratio", "stall_ratio_210", "eloquent_percent", "low", "high")
    return Table(
        "tcp", "Which TCP: reductions by Eloquent against each model", (*headings, "failed", "sessions"), tuple(rows)
    )


def bound_table(panels: Mapping[str, Sequence[Results]]) -> Table:
    """Return the exact bound of each setting beside what the schemes reach.

    Args:
        panels: The results of each setting.
    """
    rows: list[tuple[Cell, ...]] = []
    for scenario, results in panels.items():
        exact = stall_ratio_bound(scenarios.load(scenario).loss_down)
        for result in results:
            reached = result.figures().stall_ratio
            rows.append((scenario, result.point.scheme, exact, reached, None if reached is None else reached / exact))
    headings = ("scenario", "scheme", "exact_bound", "stall_ratio", "over_bound")
    return Table("bound", "The exact bound at one packet a token", headings, tuple(rows))


def choices_table(done: Mapping[Point, Results]) -> Table:
    """Return the reductions by Eloquent under each variation.

    Args:
        done: The results of every point.
    """
    rows: list[tuple[Cell, ...]] = []
    for variation in VARIATIONS:
        points = points_of(variation)
        for start in range(0, len(points), len(points) // 2):
            *baselines, ours = (done[point] for point in points[start : start + len(points) // 2])
            rows.append(
                (
                    variation.name,
                    f"{ours.point.scenario.rtt * 1e3:g} ms",
                    *(
                        ratio(result.column(variation.measure), result.column("stream_s"))
                        for result in (baselines[0], ours)
                    ),
                    *(reduction_of(ours, baseline, variation.measure)[0] for baseline in baselines),
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
