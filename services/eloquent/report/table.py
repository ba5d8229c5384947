"""The comparison on the screen and in Markdown: one row a scheme, and below it whether the run can be believed.

Headings and cells are written in lines of their own, below each other, so that the table fits into 80 columns.
"""

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from eloquent.report.figures import SchemeFigures, Summary
from eloquent.report.styles import label
from eloquent.units import format_percent

_HEADINGS = (
    "scheme",
    "sessions",
    "tokens",
    "stall\nratio\n95 % CI",
    "stalls",
    "redundancy",
    "late\ntokens",
    "TTFT\np50 ms\np95 ms",
    "gap\np95 ms\np99 ms",
)
_NOT_MEASURED = "-"
NOTHING_COMPARED = "The figures are partly the machine's own, so nothing is compared."


def render(summary: Summary, *, title: str | None = None) -> Group:
    """Make the table for the terminal.

    Args:
        summary: The figures of a run.
        title: What stands above it.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "scheme" else "right", no_wrap=True)
    for name, figures in summary.schemes.items():
        table.add_row(*(Text(cell) for cell in _cells(name, figures)))
    flaws = [Text(f"not valid: {flaw}", style="bold red") for flaw in summary.flaws]
    if flaws:
        flaws += [Text(NOTHING_COMPARED, style="bold red"), Text()]
    return Group(*flaws, table, *(Text(line) for line in _remarks(summary)))


def markdown(summary: Summary, *, title: str, warnings: Sequence[str] = ()) -> str:
    """Write the table as a page of Markdown.

    Args:
        summary: The figures of a run.
        title: The page's heading.
        warnings: What makes the figures less than they claim to be; shown in red where Markdown knows cautions.
    """
    flaws = [f"Not valid: {flaw}" for flaw in summary.flaws] + [NOTHING_COMPARED] * (not summary.is_valid)
    cautions = [line for text in (*flaws, *warnings) for line in ("> [!CAUTION]", f"> {' '.join(text.split())}", "")]
    rows = [
        tuple(heading.replace("\n", " ") for heading in _HEADINGS),
        ("---", *("---:" for _ in _HEADINGS[1:])),
        *(tuple(cell.replace("\n", " / ") for cell in _cells(*item)) for item in summary.schemes.items()),
    ]
    table = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"# {title}", "", *cautions, *table, "", *(f"- {line}" for line in _remarks(summary))]) + "\n"


def _cells(name: str, figures: SchemeFigures) -> tuple[str, ...]:
    failed = f"\n+{figures.failed} failed" if figures.failed else ""
    low, high = (_percent(end) for end in figures.stall_ratio_ci95 or (None, None))
    interval = f"\n{low.rstrip('%')}–{high}" if figures.stall_ratio_ci95 else ""
    return (
        label(name),
        f"{figures.sessions}{failed}",
        str(figures.tokens),
        f"{_percent(figures.stall_ratio)}{interval}",
        str(figures.stalls),
        _percent(figures.redundancy_rate),
        _percent(figures.late_ratio),
        f"{_milliseconds(figures.ttft_p50_s)}\n{_milliseconds(figures.ttft_p95_s)}",
        f"{_milliseconds(figures.gap_p95_s)}\n{_milliseconds(figures.gap_p99_s)}",
    )


def _remarks(summary: Summary) -> list[str]:
    measured, scheduled = _percent(summary.loss_rate), _percent(summary.scheduled_loss_rate)
    nodes = f"of relays and servers: {_milliseconds(summary.node_lag_p99_s)}"
    remarks = [
        f"loss measured by the link probes: {measured}; the schedule's own: {scheduled}",
        f"lag of those who render, p99, in ms: {_milliseconds(summary.load_lag_p99_s)}; {nodes}",
    ]
    if (found := summary.concurrency) is not None:
        remarks.append(
            f"sessions at once: {found.mean:.1f} on average, {found.peak} at most; tokens a second: {found.tokens_per_s:.0f}"
        )
    for name, figures in summary.schemes.items():
        if (relative := figures.relative_stall_ratio) is not None:
            ends = f" [{', '.join(map(_change, relative.ci95))}]" if relative.ci95 else ""
            change = f"{_change(relative.ratio)}%{ends}"
            remarks.append(f"stall ratio of {label(name)} against {label(relative.baseline)}: {change}")
    controls = {label(name): one.congestion_control for name, one in summary.schemes.items() if one.congestion_control}
    if controls:
        said = "; ".join(f"{one} {control}" for one, control in controls.items())
        remarks.append(f"TCP's congestion control, as the sockets said: {said}")
    partly = {
        label(name): f"{figures.accounted} of {figures.sessions}"
        for name, figures in summary.schemes.items()
        if figures.accounted < figures.sessions
    }
    if partly:
        counts = ", ".join(f"{one} {count}" for one, count in partly.items())
        remarks.append(f"sessions whose redundancy is known: {counts}")
    failed = {label(name): figures.failed for name, figures in summary.schemes.items() if figures.failed}
    if failed:
        counts = ", ".join(f"{one} {count}" for one, count in failed.items())
        remarks.append(f"failed sessions enter no figure, which flatters a scheme that has some: {counts}")
    return remarks


def _percent(value: float | None) -> str:
    return _NOT_MEASURED if value is None else format_percent(value)


def _change(relative: float) -> str:
    return f"{(relative - 1) * 100:+.0f}"


def _milliseconds(seconds: float | None) -> str:
    return _NOT_MEASURED if seconds is None else f"{seconds * 1e3:.0f}"
