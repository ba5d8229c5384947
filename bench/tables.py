"""What is done with measurements: medians of rounds, ratios to a baseline, tables."""

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

Row = Mapping[str, float]
"""Figures of one case, by their names."""

Rows = dict[str, Row]
"""Figures of a part, by the names of its cases."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: Of the figure.
        label: Its heading.
        digits: Decimal places.
    """

    name: str
    label: str
    digits: int = 0


@dataclass(frozen=True)
class Table:
    """How the figures of a part are shown.

    Attributes:
        title: What it is about.
        about: A sentence or two for who reads it.
        case: Heading of the first column.
        columns: Those after that.
        compared: Name of the figure that is set against the baseline.
        derive: Makes of the medians what is computed of several.
    """

    title: str
    about: str
    case: str
    columns: tuple[Column, ...]
    compared: str
    derive: Callable[[Rows], Rows] = lambda rows: rows


def medians(rounds: Iterable[Rows]) -> Rows:
    """Return the median of each figure over all rounds that have it."""
    samples: dict[str, dict[str, list[float]]] = {}
    for rows in rounds:
        for case, row in rows.items():
            for name, value in row.items():
                samples.setdefault(case, {}).setdefault(name, []).append(value)
    return {case: {name: statistics.median(values) for name, values in row.items()} for case, row in samples.items()}


def render(table: Table, rows: Rows, baseline: Rows) -> str:
    """Return a table in Markdown, with its heading.

    Args:
        table: How it is shown.
        rows: The medians.
        baseline: Those that were committed last.
    """
    label = next(column.label for column in table.columns if column.name == table.compared)
    heads = [table.case, *(column.label for column in table.columns), f"{label}: of the baseline's"]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    before = table.derive(baseline)
    for case, row in table.derive(rows).items():
        cells = [_number(row.get(column.name), column.digits) for column in table.columns]
        now, then = row.get(table.compared), before.get(case, {}).get(table.compared)
        cells.append(f"× {now / then:.2f}" if now is not None and then else "")
        lines.append(f"| {' | '.join([case, *cells])} |")
    return "\n".join([f"## {table.title}", "", table.about, "", *lines, ""])


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
