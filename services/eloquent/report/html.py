"""The report of a run: `report.html`, one file that needs nothing else, neither a network nor a script."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from eloquent.errors import ConfigurationError
from eloquent.report.figures import SchemeFigures
from eloquent.report.plots import draw
from eloquent.report.run_data import RunData, colours, label, load, printable
from eloquent.report.run_directory import write_whole
from eloquent.report.story import facts, headline, milliseconds, pairs, self_tests, shortcomings, warnings
from eloquent.report.strips import MOST_CLIENTS, draw_strips
from eloquent.units import format_percent

REPORT = "report.html"
AGREEMENT = "agreement.csv"
MOST_ROWS = 500  # of the agreement that are shown


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of the table.

    Attributes:
        text: As it is shown.
        value: As `summary.json` has it; None where nothing was measured or it is no single number.
        interval: Its 95 % interval as it is shown.
    """

    text: str
    value: float | None = None
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One scheme of the table.

    Attributes:
        label: What it is called.
        shade: Its colour on a light page, `#rrggbb`.
        shade_in_the_dark: Its colour on a dark page.
        cells: Its figures, by the keys of `summary.json`.
    """

    label: str
    shade: str
    shade_in_the_dark: str
    cells: dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Load:
    """A load's own run inside the run's directory.

    Attributes:
        name: Name of its folder.
        sentence: Its headline, or why there is none.
        files: Its pages, relative to the run's directory.
    """

    name: str
    sentence: str
    files: list[str]


HEADINGS = {
    "sessions": "sessions",
    "tokens": "tokens",
    "stall_ratio": "stall ratio",
    "relative_stall_ratio": "against the first",
    "stalls": "stalls",
    "stall_ratio_210": "at 210 ms",
    "redundancy_rate": "redundancy",
    "wire_bytes_per_token": "bytes a token",
    "late_ratio": "late tokens",
    "ttft_p50_s": "TTFT p50",
    "ttft_p95_s": "p95",
    "gap_p95_s": "gap p95",
    "gap_p99_s": "p99",
    "failed": "failed",
}


def write_report(run_dir: Path) -> Path:
    """Write a run's `report.html`, and those of the loads in it.

    Args:
        run_dir: The run's directory, with a manifest.

    Returns:
        The file.

    Raises:
        ConfigurationError: The directory holds no run, or a log cannot be read.
    """
    run = load(run_dir)
    loads = list(_write_loads(run_dir))
    path = run_dir / REPORT
    write_whole(path, page(run, loads))
    return path


def page(run: RunData, loads: list[Load] | None = None) -> str:
    """Return the page of a run.

    Args:
        run: The run.
        loads: The loads inside it.
    """
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
        agreement=agreement(run.path / AGREEMENT),
        loads=loads or [],
    )


def rows(run: RunData) -> Iterator[Row]:
    """Yield the table's rows: the figures of `summary.json`."""
    shades = colours(run.summary.schemes)
    for name, figures in run.summary.schemes.items():
        cells = {key: _cell(key, figures) for key in HEADINGS}
        relative = figures.relative_stall_ratio
        if relative is not None:
            ends = relative.ci95 and f"{_change(relative.ci95[0])} … {_change(relative.ci95[1])}, {pairs(run, name)} pairs"
            cells["relative_stall_ratio"] = Cell(_change(relative.ratio), relative.ratio, ends or "")
        yield Row(label(name), shades[name], lightened(shades[name]), cells)


def lightened(colour: str) -> str:
    """Return a colour that a dark page can show as well as a light one shows the given one, `#rrggbb`."""
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    luminance = (0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]) / 255
    white = max(0.0, min(0.6, 0.62 - luminance))
    return "#" + "".join(f"{round(part + (255 - part) * white):02x}" for part in parts)


def agreement(path: Path) -> list[list[str]]:
    """Return heading and rows of the table lab against simulator; nothing where there is none.

    Raises:
        ConfigurationError: It cannot be read.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = [[_short(cell) for cell in line] for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from None
    return table[: MOST_ROWS + 1]


def _write_loads(run_dir: Path) -> Iterator[Load]:
    for folder in sorted(run_dir.glob("load-*"), key=lambda path: (len(path.name), path.name)):
        if not (folder / "manifest.json").exists():
            continue
        try:
            run = load(folder)
            write_whole(folder / REPORT, page(run))
        except ConfigurationError as error:
            yield Load(printable(folder.name), f"cannot be reported: {printable(str(error))}", [])
            continue
        files = [name for name in (REPORT, "locust.html") if (folder / name).exists()]
        yield Load(printable(folder.name), headline(run), [f"{folder.name}/{name}" for name in files])


def _cell(key: str, figures: SchemeFigures) -> Cell:
    value = getattr(figures, key)
    if value is None or key == "relative_stall_ratio":
        return Cell("-")
    if key.endswith("_s"):
        return Cell(milliseconds(value), value)
    if key == "wire_bytes_per_token":
        return Cell(f"{value:.0f}", value)
    if isinstance(value, int):
        return Cell(f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"), value)
    text = format_percent(value)
    if key == "stall_ratio" and figures.stall_ratio_ci95 is not None:
        low, high = map(format_percent, figures.stall_ratio_ci95)
        return Cell(text, value, f"{low.rstrip('%')} … {high}")
    if key == "redundancy_rate" and figures.accounted < figures.sessions:
        return Cell(text, value, f"of {figures.accounted} sessions")
    return Cell(text, value)


def _change(relative: float) -> str:
    return f"{(relative - 1) * 100:+.0f}%".replace("-", "\N{MINUS SIGN}")


def _short(cell: str) -> str:
    """Shorten a number to what one reads; leave everything else as it is."""
    try:
        number = float(cell)
    except ValueError:
        return printable(cell)
    return cell if number == int(number) or len(cell) < 7 else f"{number:.4g}"
