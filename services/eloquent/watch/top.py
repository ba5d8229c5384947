"""The terminal view: schemes, clients, alerts and the load, in tables that fit an ssh session.

Rules of this file: what Prometheus does not know is a dash, never a 0. Colours follow the thresholds of the board's panels.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from eloquent.watch.naming import describe_scheme, natural_place, scheme_place
from eloquent.watch.panels import ANYTHING, LOAD, NETWORK, STALLS, Dashboard, Query, Threshold
from eloquent.watch.prometheus import Alert, Prometheus, Series

WINDOW = "1m"
DASH = "–"
_COLOURS = {"good": "green", "warning": "yellow", "bad": "bold red"}

Values = dict[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Frame:
    """What is seen at one instant.

    Attributes:
        by_scheme: Values of each scheme, by the heading of their column.
        by_client: Stall ratio, by client and scheme.
        links: Loss probability in force towards each client.
        measured: Loss that the probes measured towards each client.
        users: Users of a load test, by scheme; empty while none runs.
        lag: Lag of the load's processes at the 99th percentile, in seconds, by client.
        alerts: What is pending or fires.
    """

    by_scheme: dict[str, Values]
    by_client: Values
    links: Values
    measured: Values
    users: Values
    lag: Values
    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the table of schemes: a query of a panel, and how its values are written."""

    heading: str
    query: Query
    unit: str
    thresholds: tuple[Threshold, ...] = ()


def _query(dashboard: Dashboard, title: str, number: int = 0) -> Query:
    """Find a panel's query, so that the terminal asks what the board asks."""
    return next(panel for panel in dashboard.panels if panel.title == title).queries[number]


def _thresholds(dashboard: Dashboard, title: str) -> tuple[Threshold, ...]:
    return next(panel for panel in dashboard.panels if panel.title == title).thresholds


_STALL_LEVELS = _thresholds(STALLS, "Stall ratio by scheme")
_LAG_LEVELS = _thresholds(LOAD, "Lag of the load processes")
COLUMNS = (
    _Column("stall ratio", _query(STALLS, "Stall ratio by scheme"), "%", _STALL_LEVELS),
    _Column("gap p95", _query(STALLS, "Gaps between tokens"), "ms", _thresholds(STALLS, "Gaps between tokens")),
    _Column("TTFT p95", _query(STALLS, "Time to the first token", 1), "ms"),
    _Column("tokens/s", _query(STALLS, "Tokens rendered"), ""),
    _Column("streams", _query(LOAD, "Streams being rendered"), "n"),
)


async def read_frame(prometheus: Prometheus) -> Frame:
    """Ask for everything that a frame shows.

    Args:
        prometheus: Whom to ask.

    Raises:
        PrometheusError: It does not answer.
    """

    async def values(query: Query, *labels: str, client: str = ANYTHING) -> Values:
        return _by(await prometheus.instant(query.fill(window=WINDOW, client=client)), labels)

    clients = _query(STALLS, "Clients' stall ratio")
    columns = await asyncio.gather(*(values(column.query, "scheme") for column in COLUMNS))
    by_client, links, measured, users, lag, alerts = await asyncio.gather(
        values(clients, "client", "scheme"),
        values(_query(NETWORK, "State of the links"), "client", "direction"),
        values(_query(NETWORK, "Measured loss"), "client", "direction"),
        values(_query(LOAD, "Users"), "scheme"),
        values(_query(LOAD, "Lag of the load processes"), "client"),
        prometheus.alerts(),
    )
    by_scheme = {column.heading: found for column, found in zip(COLUMNS, columns, strict=True)}
    return Frame(by_scheme, by_client, links, measured, users, lag, tuple(alerts))


def _by(found: Iterable[Series], labels: tuple[str, ...]) -> Values:
    return {
        tuple(series.labels.get(label, "") for label in labels): series.latest
        for series in found
        if series.latest is not None
    }


def render(frame: Frame, *, title: str, flaws: Mapping[str, Sequence[str]]) -> RenderableType:
    """Draw a frame.

    Args:
        frame: What is seen.
        title: The first line.
        flaws: Why the rounds, or the latest load test, are not valid.
    """
    invalid = [Text(f"{what}, not valid: {flaw}", style="bold red") for what, lines in flaws.items() for flaw in lines]
    tables: list[RenderableType] = [_schemes(frame), _clients(frame), *([_load(frame)] if frame.users else [])]
    parts: list[RenderableType] = [Text(title, style="bold"), *invalid]
    for part in (*tables, _alerts(frame.alerts)):
        parts += [Text(), part]
    return Group(*parts)


def _schemes(frame: Frame) -> Table:
    names = sorted({name for values in frame.by_scheme.values() for (name,) in values}, key=scheme_place)
    table = _table("scheme", *(column.heading for column in COLUMNS))
    for name in names:
        cells = [_cell(frame.by_scheme[one.heading].get((name,)), one.unit, one.thresholds) for one in COLUMNS]
        table.add_row(_label(name), *cells)
    return table


def _clients(frame: Frame) -> Table:
    clients = sorted(
        {client for client, _ in frame.by_client} | {client for client, _ in frame.links}, key=natural_place
    )
    names = sorted({scheme for _, scheme in frame.by_client}, key=scheme_place)
    table = _table("client", "link", f"loss {WINDOW}", *(_label(name).plain for name in names))
    for client in clients:
        told = frame.links.get((client, "down"))
        link = (
            Text(DASH) if told is None else Text("bad", style="bold red") if told > 0 else Text("good", style="green")
        )
        ratios = [_cell(frame.by_client.get((client, name)), "%", _STALL_LEVELS) for name in names]
        table.add_row(client, link, _cell(frame.measured.get((client, "down")), "%"), *ratios)
    return table


def _load(frame: Frame) -> Table:
    table = _table("load", "users", "lag p99")
    worst = max(frame.lag.values(), default=None)
    for (name,), users in sorted(frame.users.items(), key=lambda one: scheme_place(one[0][0])):
        table.add_row(_label(name), _cell(users, "n"), "")
    table.add_row("all", _cell(sum(frame.users.values()), "n"), _cell(worst, "ms", _LAG_LEVELS))
    return table


def _alerts(alerts: tuple[Alert, ...]) -> Text:
    firing = [alert for alert in alerts if alert.state == "firing"]
    if not firing:
        return Text("no alert fires", style="green")
    lines = []
    for alert in sorted(firing, key=lambda alert: (alert.name, natural_place(alert.summary))):
        name = Text(alert.name, style="bold red" if alert.severity == "critical" else "bold yellow")
        lines.append(name.append(f"  {alert.summary}", style="not bold default"))
    return Text("\n").join(lines)


def _table(first: str, *headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _cell(value: float | None, unit: str, thresholds: tuple[Threshold, ...] = ()) -> Text:
    if value is None:
        return Text(DASH, style="dim")
    match unit:
        case "%":
            text = f"{value:.1%}"
        case "ms":
            text = f"{value * 1e3:.0f} ms"
        case "n":
            text = f"{value:.0f}"
        case _:
            text = f"{value:.1f}"
    reached = [threshold.level for threshold in thresholds if value >= threshold.value]
    style = _COLOURS[reached[-1] if reached else "good"] if thresholds else ""
    return Text(text, style=style)


def _label(name: str) -> Text:
    scheme = describe_scheme(name)
    return Text(scheme["label"], style=scheme["colour"])
