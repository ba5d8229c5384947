"""Figures with a point for each scheme: stall ratio or late tokens against what a scheme sends.

Each family of schemes has a marker and the colour of its registry entry, the same in all figures; members of a ladder
(duplication with two to five copies) are joined by a line and numbered. A hollow point had failed sessions, which enter no
ratio and flatter it. Whiskers are 95 % intervals.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter, ScalarFormatter

from eloquent import schemes
from eloquent.channel.scenario import Scenario
from eloquent.report import styles
from eloquent.sim.engine.bound import stall_ratio_bound
from eloquent.sim.engine.experiment import Results
from eloquent.sim.paper import modern
from eloquent.sim.paper.settings import OURS, in_series

_MARKERS = "osv^Pph<X>dH8"
_STAR, _DIAMOND = "*", "D"
_SIZES = {_STAR: 13.0, _DIAMOND: 5.0}
_BOUND = "#444444"


def redundancy_figure(panels: Mapping[str, Sequence[Results]], settings: Sequence[str]) -> Figure:
    """Draw the stall ratio against the redundancy rate, one panel a setting (Eloquent Fig. 5 and 6)."""
    figure = Figure(figsize=(7.2, 4.3))
    axes = figure.subplots(1, len(settings), sharey=True)
    for place, setting in zip(axes, settings, strict=True):
        _points(place, panels[setting], across="redundancy_rate", up="stall_ratio")
        _name_link(place, panels[setting][0].point.scenario)
        _draw_bound(place, panels[setting][0].point.scenario)
        _name_redundancy(place)
    axes[0].set_ylabel("stall ratio")
    _legend(figure, panels[settings[0]], bound=True)
    return figure


def frontier_figure(panels: Mapping[str, Sequence[Results]]) -> Figure:
    """Draw the stall ratio against what a token costs on the wire, with the exact bound, for every setting."""
    figure = Figure(figsize=(7.2, 6.6))
    axes = figure.subplots(2, 2)
    for place, (_, results) in zip(axes.flat, panels.items(), strict=True):
        _points(place, results, across="wire_bytes_per_token", up="stall_ratio")
        _name_link(place, results[0].point.scenario)
        _draw_bound(place, results[0].point.scenario)
        place.set_xlabel("bytes on the wire per token")
    for place in axes[:, 0]:
        place.set_ylabel("stall ratio")
    _legend(figure, next(iter(panels.values())), bound=True)
    return figure


def modern_figure(found: modern.Found) -> Figure:
    """Draw the stall ratio against the bytes of a token at today's rates, a panel a setting.

    A dotted line leads from each scheme to the bound of its own packets; the grey steps are the frontier.

    Args:
        found: The settings of one rate and content.
    """
    columns = len({setting.scenario.removesuffix("-rtt100") for setting in found})
    figure = Figure(figsize=(max(7.2, 3.2 * columns), 1.6 + 2.6 * (len(found) // columns)))
    axes = figure.subplots(len(found) // columns, columns, squeeze=False)
    for place, results in zip(axes.flat, found.values(), strict=True):
        _points(place, results, across="wire_bytes_per_token", up="stall_ratio")
        _draw_own_bounds(place, results)
        _draw_frontier(place, modern.frontier(results))
        place.set_xlim(auto=True)
        place.set_xscale("log")
        place.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        place.xaxis.set_major_formatter(ScalarFormatter())
        place.xaxis.set_minor_locator(NullLocator())
        _name_link(place, results[0].point.scenario)
        place.set_xlabel("bytes on the wire per token")
    for place in axes[:, 0]:
        place.set_ylabel("stall ratio")
    _legend(figure, next(iter(found.values())), bound=False)
    return figure


def replay_figure(results: Sequence[Results]) -> Figure:
    """Draw stall ratio and late tokens over recorded losses against the redundancy rate (Eloquent Fig. 7)."""
    figure = Figure(figsize=(7.2, 4.3))
    axes = figure.subplots(1, 2)
    for place, up, title in zip(axes, ("stall_ratio", "late_ratio"), ("stall ratio", "late tokens"), strict=True):
        _points(place, results, across="redundancy_rate", up=up)
        place.set_title(f"{title}, RTT {results[0].point.scenario.rtt * 1e3:g} ms", fontsize=9)
        place.set_ylabel(title)
        _name_redundancy(place)
    _legend(figure, results, bound=False)
    return figure


def markers(names: Sequence[str]) -> list[str]:
    """Return a marker for each series of the schemes, in their order; ours and the bound have their own.

    Args:
        names: Schemes.
    """
    free = iter(_MARKERS * (1 + len(names) // len(_MARKERS)))
    chosen = []
    for series in in_series(names):
        is_bound = schemes.get(series.names[0]).kind == "bound"
        chosen.append(_STAR if series.names[0] == OURS else _DIAMOND if is_bound else next(free))
    return chosen


def _points(place: Axes, results: Sequence[Results], *, across: str, up: str) -> None:
    by_name = {result.point.scheme: result for result in results}
    series = in_series(list(by_name))
    for ladder, marker in zip(series, markers(list(by_name)), strict=True):
        colour = styles.colour(ladder.names[0])
        path: list[tuple[float, float]] = []
        for name, step in zip(ladder.names, ladder.steps, strict=True):
            if name not in by_name:
                continue
            figures = by_name[name].figures()
            at, height = getattr(figures, across), getattr(figures, up)
            if at is None or height is None:
                continue
            path.append((at, height))
            low, high = (figures.stall_ratio_ci95 if up == "stall_ratio" else None) or (height, height)
            place.errorbar(
                at,
                height,
                yerr=[[max(0.0, height - low)], [max(0.0, high - height)]],
                color=colour,
                marker=marker,
                markersize=_SIZES.get(marker, 5.5),
                markerfacecolor="white" if figures.failed else colour,
                capsize=1.5,
                linewidth=0.7,
                linestyle="none",
                zorder=2.5 if marker == _STAR else 3,
            )
            place.annotate(step, (at, height), (5, 4), textcoords="offset points", fontsize=6.5, color=colour, zorder=5)
        if len(path) > 1:
            place.plot(*zip(*path, strict=True), color=colour, linewidth=0.8, zorder=2)
    place.set_ylim(bottom=0)
    place.set_xlim(left=0)
    place.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _name_link(place: Axes, link: Scenario) -> None:
    place.set_title(f"{link.name.removesuffix('-rtt100')}, RTT {link.rtt * 1e3:g} ms", fontsize=9)


def _name_redundancy(place: Axes) -> None:
    place.set_xlabel("redundancy rate")
    place.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _draw_bound(place: Axes, link: Scenario) -> None:
    place.axhline(stall_ratio_bound(link.loss_down), color=_BOUND, linewidth=0.8, linestyle=":", zorder=1)


def _draw_own_bounds(place: Axes, results: Sequence[Results]) -> None:
    for result in results:
        figures, bound = result.figures(), result.own_bound()
        at, height = figures.wire_bytes_per_token, figures.stall_ratio
        if bound is not None and at is not None and height is not None:
            colour = styles.colour(result.point.scheme)
            place.plot([at, at], [height, bound], color=colour, linewidth=0.5, linestyle=":", zorder=1)
            place.plot([at], [bound], color=colour, marker="_", markersize=5, zorder=1)


def _draw_frontier(place: Axes, best: Sequence[Results]) -> None:
    ends = [(result.figures().wire_bytes_per_token, result.figures().stall_ratio) for result in best]
    if ends:
        across, up = zip(*ends, strict=True)
        place.step(across, up, where="post", color="#cccccc", linewidth=2.5, zorder=0.5)


def _legend(figure: Figure, results: Iterable[Results], *, bound: bool) -> None:
    """Put one entry for each series below all panels."""
    names = [result.point.scheme for result in results]
    handles: list[Any] = [
        Line2D(
            [],
            [],
            color=styles.colour(ladder.names[0]),
            marker=marker,
            markersize=_SIZES.get(marker, 5.5),
            linestyle="-" if len(ladder.names) > 1 else "none",
            linewidth=0.8,
            label=ladder.label,
        )
        for ladder, marker in zip(in_series(names), markers(names), strict=True)
    ]
    if bound:
        line = Line2D([], [], color=_BOUND, linewidth=0.8, linestyle=":", label="bound, exact value")
        handles.append(line)
    hollow = Line2D(
        [], [], color=_BOUND, marker="o", markerfacecolor="white", linestyle="none", label="hollow: sessions failed"
    )
    figure.legend(handles=[*handles, hollow], loc="outside lower center", ncols=4, fontsize=7.5, columnspacing=1.2)
