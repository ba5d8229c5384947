"""The comparison on the screen and in Markdown: one row a scheme, and below it whether the run can be believed."""

from rich.console import Group
from rich.table import Table

from eloquent.errors import ConfigurationError
from eloquent.protocol import schemes
from eloquent.report.figures import SchemeFigures, Summary
from eloquent.units import format_percent

_HEADINGS = (
    "scheme",
    "sessions",
    "tokens",
    "stall ratio [95 %]",
    "stalls",
    "redundancy",
    "late tokens",
    "TTFT p50/p95",
    "gap p95/p99",
)
_NOT_MEASURED = "-"


def render(summary: Summary, *, title: str | None = None) -> Group:
    """Make the table for the terminal.

    Args:
        summary: The figures of a run.
        title: What stands above it.
    """
    table = Table(title=title, title_justify="left")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "scheme" else "right", no_wrap=True)
    for name, figures in summary.schemes.items():
        table.add_row(*_cells(name, figures))
    return Group(table, *_remarks(summary))


def markdown(summary: Summary, *, title: str) -> str:
    """Write the table as a page of Markdown.

    Args:
        summary: The figures of a run.
        title: The page's heading.
    """
    rows = [_HEADINGS, ("---", *("---:" for _ in _HEADINGS[1:]))]
    rows += [_cells(name, figures) for name, figures in summary.schemes.items()]
    lines = [
        f"# {title}",
        "",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        *(f"- {line}" for line in _remarks(summary)),
    ]
    return "\n".join(lines) + "\n"


def _cells(name: str, figures: SchemeFigures) -> tuple[str, ...]:
    failed = f" (+{figures.failed} failed)" if figures.failed else ""
    low, high = figures.stall_ratio_ci95 or (None, None)
    interval = f" [{_percent(low)}, {_percent(high)}]" if figures.stall_ratio_ci95 else ""
    return (
        _label(name),
        f"{figures.sessions}{failed}",
        str(figures.tokens),
        f"{_percent(figures.stall_ratio)}{interval}",
        str(figures.stalls),
        _percent(figures.redundancy_rate),
        _percent(figures.late_ratio),
        f"{_milliseconds(figures.ttft_p50_s)} / {_milliseconds(figures.ttft_p95_s)}",
        f"{_milliseconds(figures.gap_p95_s)} / {_milliseconds(figures.gap_p99_s)}",
    )


def _remarks(summary: Summary) -> list[str]:
    measured, scheduled = _percent(summary.loss_rate), _percent(summary.scheduled_loss_rate)
    remarks = [
        f"loss measured by the link probes: {measured}; the schedule's own: {scheduled}",
        f"lag of the viewers' event loops, p99: {_milliseconds(summary.load_lag_p99_s)}",
    ]
    failed = {_label(name): figures.failed for name, figures in summary.schemes.items() if figures.failed}
    if failed:
        counts = ", ".join(f"{label} {count}" for label, count in failed.items())
        remarks.append(f"failed sessions enter no figure, which flatters a scheme that has some: {counts}")
    return remarks


def _label(name: str) -> str:
    try:
        return schemes.get(name).label
    except ConfigurationError:  # a run of another version, whose scheme this one does not know
        return name


def _percent(value: float | None) -> str:
    return _NOT_MEASURED if value is None else format_percent(value)


def _milliseconds(seconds: float | None) -> str:
    return _NOT_MEASURED if seconds is None else f"{seconds * 1e3:.0f} ms"
