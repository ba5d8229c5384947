"""Tables of a simulation: rows of cells, written as CSV and as Markdown, the same on every run."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO

from eloquent.records.run_directory import write_whole
from eloquent.report.figures import SchemeFigures
from eloquent.sim.engine.batch import Point, SessionSums
from eloquent.sim.engine.experiment import Results

SESSION_FIELDS = tuple(name for name in SessionSums._fields if name != "gaps_ms")

Cell = str | int | float | None

FIGURE_HEADINGS = (
    "scenario",
    "choices",
    "scheme",
    "sessions",
    "failed",
    "tokens",
    "stall_ratio",
    "stall_ratio_low",
    "stall_ratio_high",
    "stall_ratio_210",
    "stall_excess_ratio",
    "stalls",
    "redundancy_rate",
    "wire_bytes_per_token",
    "late_ratio",
    "ttft_p50_s",
    "gap_p95_s",
    "gap_p99_s",
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of results.

    Attributes:
        name: Its file's name, without an ending.
        title: What stands above it.
        headings: One a column.
        rows: The cells; numbers are numbers, and None was not measured.
    """

    name: str
    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_csv(self) -> str:
        """Return the table as CSV, numbers to six decimals."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.headings)
        writer.writerows([f"{cell:.6f}" if isinstance(cell, float) else cell for cell in row] for row in self.rows)
        return text.getvalue()

    def to_markdown(self) -> str:
        """Return the table as Markdown below its title, numbers to three decimals."""
        numeric = [any(isinstance(row[place], int | float) for row in self.rows) for place in range(len(self.headings))]
        lines = [
            _line(heading.replace("_", " ") for heading in self.headings),
            _line("---:" if is_number else "---" for is_number in numeric),
            *(_line(show(cell) for cell in row) for row in self.rows),
        ]
        return f"### {self.title}\n\n" + "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """Write the table as CSV into a folder."""
        write_whole(folder / f"{self.name}.csv", self.to_csv())


class SessionsFile:
    """`sessions.csv`: one line a session, written while the run goes on, so that no run is too long for it.

    Args:
        folder: Where to; None to write nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file: TextIO | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "sessions.csv").open("w", encoding="utf-8", newline="")
            self._csv = csv.writer(self._file, lineterminator="\n")
            self._csv.writerow(("scenario", "choices", "scheme", *SESSION_FIELDS))

    def add(self, point: Point, sums: SessionSums) -> None:
        """Write one session."""
        if self._file is not None:
            values = (getattr(sums, name) for name in SESSION_FIELDS)
            self._csv.writerow((point.scenario.name, point.choices.to_line(), point.scheme, *values))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def figures_table(results: Sequence[Results], *, name: str, title: str) -> Table:
    """Return the figures of each point, one row each.

    Args:
        results: What was simulated.
        name: The file's name.
        title: What stands above the table.
    """
    return Table(name, title, FIGURE_HEADINGS, tuple(_row(result, result.figures()) for result in results))


def gaps_table(results: Sequence[Results], *, name: str, title: str) -> Table:
    """Return how often each length of a gap occurred, in whole milliseconds."""
    rows = tuple(
        (result.point.scenario.name, result.point.scheme, length, count)
        for result in results
        for length, count in sorted(result.gaps_ms.items())
    )
    return Table(name, title, ("scenario", "scheme", "gap_ms", "count"), rows)


def show(cell: Cell) -> str:
    """Return a cell as people read it."""
    if cell is None:
        return "-"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _row(result: Results, figures: SchemeFigures) -> tuple[Cell, ...]:
    low, high = figures.stall_ratio_ci95 or (None, None)
    return (
        result.point.scenario.name,
        result.point.choices.to_line(),
        result.point.scheme,
        figures.sessions,
        figures.failed,
        figures.tokens,
        figures.stall_ratio,
        low,
        high,
        figures.stall_ratio_210,
        figures.stall_excess_ratio,
        figures.stalls,
        figures.redundancy_rate,
        figures.wire_bytes_per_token,
        figures.late_ratio,
        figures.ttft_p50_s,
        figures.gap_p95_s,
        figures.gap_p99_s,
    )


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
