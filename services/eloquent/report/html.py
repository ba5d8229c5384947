"""The report of a run: `report.html`, one file that needs nothing else, neither a network nor a script."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from eloquent.errors import ConfigurationError
from eloquent.records.run_directory import write_whole
from eloquent.report.agreement import NAME as AGREEMENT
from eloquent.report.agreement import read_agreement
from eloquent.report.figures import SchemeFigures
from eloquent.report.run_data import RunData, load
from eloquent.report.story import facts, headline, milliseconds, self_tests, shortcomings, warnings
from eloquent.report.styles import colours, label, printable
from eloquent.units import format_percent

REPORT = "report.html"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the table.

    Attributes:
        text: As it is shown.
        key: Its key in `summary.json`; nothing for a remark.
        value: As `summary.json` has it; None where nothing was measured.
    """

    text: str
    key: str = ""
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One scheme of the table.

    Attributes:
        label: What it is called.
        shade: Its colour on a light page, `#rrggbb`.
        shade_in_the_dark: Its colour on a dark page.
        stall_ratio: Its stall ratio, and its interval.
        cells: Its figures, one column after the other, the lines of each cell from above.
    """

    label: str
    shade: str
    shade_in_the_dark: str
    stall_ratio: tuple[Figure, ...]
    cells: list[tuple[Figure, ...]]


@dataclass(frozen=True, slots=True)
class InnerRun:
    """A run inside the run's directory, with a report of its own: a load, or a lab of a fleet.

    Attributes:
        name: Name of its folder.
        sentence: Its headline, or why there is none.
        files: Its pages, relative to the run's directory.
    """

    name: str
    sentence: str
    files: list[str]


HEADINGS = (
    ("sessions",),
    ("tokens",),
    ("stall ratio", "95 % CI"),
    ("against the first", "95 % CI"),
    ("stalls",),
    ("at 210 ms",),
    ("redundancy",),
    ("bytes", "a token"),
    ("late tokens",),
    ("TTFT p50", "p95"),
    ("gap p95", "p99"),
)


def write_report(run_dir: Path) -> Path:
    """Write a run's `report.html`, and those of the loads and labs in it.

    Args:
        run_dir: The run's directory, with a manifest.

    Returns:
        The file.

    Raises:
        ConfigurationError: The directory holds no run, or a log cannot be read.
    """
    run = load(run_dir)
    inner = list(_write_inner(run_dir))
    path = run_dir / REPORT
    write_whole(path, page(run, inner))
    return path


def page(run: RunData, inner: list[InnerRun] | None = None) -> str:
    """Return the page of a run.

    Args:
        run: The run.
        inner: The runs inside it.
    """
    from eloquent.report.plots import draw  # Matplotlib, which takes its time, only when something is drawn
    from eloquent.report.strips import MOST_CLIENTS, draw_strips

    environment = Environment(
        loader=PackageLoader("eloquent", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        name=printable(run.manifest.run),
        headline=headline(run),
        flaws=[printable(flaw) for flaw in run.summary.flaws],
        warnings=warnings(run),
        shortcomings=shortcomings(run),
        rows=list(rows(run)),
        headings=HEADINGS,
        baseline=label(next(iter(run.summary.schemes), "")),
        plots=draw(run),
        strips=draw_strips(run),
        strips_left_out=max(0, len(run.clients) - MOST_CLIENTS),
        facts=facts(run),
        self_tests=self_tests(run),
        agreement=read_agreement(run.path / AGREEMENT),
        inner=inner or [],
    )


def rows(run: RunData) -> Iterator[Row]:
    """Yield the table's rows: the figures of `summary.json`."""
    shades = colours(run.summary.schemes)
    for name, one in run.summary.schemes.items():
        stall_ratio = (_share("stall_ratio", one), *_interval(one.stall_ratio_ci95))
        relative = one.relative_stall_ratio
        against: tuple[Figure, ...] = (Figure("-"),)
        if relative is not None:
            ends = () if relative.ci95 is None else (Figure(" … ".join(map(_change, relative.ci95))),)
            against = (Figure(_change(relative.ratio), "relative_stall_ratio", relative.ratio), *ends)
        known = one.redundancy_rate is not None and one.accounted < one.sessions
        cells: list[tuple[Figure, ...]] = [
            (_count("sessions", one), *((_count("failed", one, " failed"),) if one.failed else ())),
            (_count("tokens", one),),
            stall_ratio,
            against,
            (_count("stalls", one),),
            (_share("stall_ratio_210", one),),
            (_share("redundancy_rate", one), *((Figure(f"of {one.accounted} sessions"),) if known else ())),
            (_number("wire_bytes_per_token", one),),
            (_share("late_ratio", one),),
            (_time("ttft_p50_s", one), _time("ttft_p95_s", one)),
            (_time("gap_p95_s", one), _time("gap_p99_s", one)),
        ]
        yield Row(label(name), shades[name], lightened(shades[name]), stall_ratio, cells)


def lightened(colour: str) -> str:
    """Return a colour that a dark page can show as well as a light one shows the given one, `#rrggbb`."""
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    luminance = (0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]) / 255
    white = max(0.0, min(0.6, 0.62 - luminance))
    return "#" + "".join(f"{round(part + (255 - part) * white):02x}" for part in parts)


def _write_inner(run_dir: Path) -> Iterator[InnerRun]:
    folders = [*run_dir.glob("load-*"), *run_dir.glob("lab-*")]
    for folder in sorted(folders, key=lambda path: (len(path.name), path.name)):
        if not (folder / "manifest.json").exists():
            continue
        try:
            run, inside = load(folder), list(_write_inner(folder))
            write_whole(folder / REPORT, page(run, inside))
        except ConfigurationError as error:
            yield InnerRun(printable(folder.name), f"cannot be reported: {printable(str(error))}", [])
            continue
        files = [name for name in (REPORT, "locust.html") if (folder / name).exists()]
        yield InnerRun(printable(folder.name), headline(run), [f"{folder.name}/{name}" for name in files])


def _share(key: str, figures: SchemeFigures) -> Figure:
    value: float | None = getattr(figures, key)
    return Figure("-" if value is None else _percent(value), key, value)


def _time(key: str, figures: SchemeFigures) -> Figure:
    value: float | None = getattr(figures, key)
    return Figure(milliseconds(value), key, value)


def _count(key: str, figures: SchemeFigures, noun: str = "") -> Figure:
    value: int = getattr(figures, key)
    return Figure(f"{value:,}{noun}".replace(",", "\N{NARROW NO-BREAK SPACE}"), key, value)


def _number(key: str, figures: SchemeFigures) -> Figure:
    value: float | None = getattr(figures, key)
    return Figure("-" if value is None else f"{value:.0f}", key, value)


def _interval(ends: tuple[float, float] | None) -> tuple[Figure, ...]:
    return () if ends is None else (Figure(f"{ends[0] * 100:.1f} … {_percent(ends[1])}"),)


def _percent(value: float) -> str:
    return format_percent(value).replace("%", "\N{NO-BREAK SPACE}%")


def _change(relative: float) -> str:
    return f"{(relative - 1) * 100:+.0f}\N{NO-BREAK SPACE}%".replace("-", "\N{MINUS SIGN}")
