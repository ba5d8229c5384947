"""The figures of a reproduction, as they would stand in a paper: PNG and SVG, the same bytes from the same numbers."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eloquent.channel.schedule import Direction
from eloquent.protocol import schemes
from eloquent.sim.bound import stall_ratio_bound
from eloquent.sim.experiment import Results
from eloquent.sim.reproduction import PANELS, Reproduction
from eloquent.sim.timeline import WORDS, Column

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "eloquent",  # identifiers in the file follow from it alone
    "svg.fonttype": "none",
    "figure.constrained_layout.use": True,
}
_GREY = "#777777"
_DPI = 200


def draw(reproduction: Reproduction, folder: Path) -> list[Path]:
    """Draw every figure.

    Args:
        reproduction: What was computed.
        folder: Where to put the files.

    Returns:
        The files.
    """
    with mpl.rc_context(STYLE):
        figures = {name: redundancy_figure(reproduction.panels, settings) for name, settings in PANELS.items()}
        figures["figure-2"] = timeline_figure(reproduction.timeline)
        figures["frontier"] = frontier_figure(reproduction.panels)
        figures["stall-lengths"] = stalls_figure(reproduction.panels["paper-default"])
        return [path for name, figure in sorted(figures.items()) for path in _save(figure, folder / name)]


def redundancy_figure(panels: Mapping[str, Sequence[Results]], settings: Sequence[str]) -> Figure:
    """Draw the stall ratio against the redundancy rate, one panel a setting (Eloquent Fig. 5 and 6)."""
    figure = Figure(figsize=(7.0, 3.1))
    axes = figure.subplots(1, len(settings), sharey=True)
    for place, setting in zip(axes, settings, strict=True):
        _scatter(place, panels[setting], horizontal="redundancy_rate")
        place.set_xlabel("redundancy rate")
        place.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes[0].set_ylabel("stall ratio")
    figure.legend(*_unique(axes), loc="outside lower center", ncols=4)
    return figure


def frontier_figure(panels: Mapping[str, Sequence[Results]]) -> Figure:
    """Draw the stall ratio against what a token costs on the wire, with the exact bound, for every setting."""
    figure = Figure(figsize=(7.0, 5.6))
    axes = figure.subplots(2, 2)
    for place, setting in zip(axes.flat, panels, strict=True):
        _scatter(place, panels[setting], horizontal="wire_bytes_per_token")
        place.set_xlabel("bytes on the wire per token")
        place.set_ylabel("stall ratio")
    figure.legend(*_unique(axes.flat), loc="outside lower center", ncols=4)
    return figure


def stalls_figure(results: Sequence[Results]) -> Figure:
    """Draw how much of the time is spent in gaps longer than any length."""
    figure = Figure(figsize=(3.6, 3.1))
    place = figure.subplots()
    for result in results:
        scheme = schemes.get(result.point.scheme)
        total = sum(length * count for length, count in result.gaps_ms.items())
        left, steps = total, [(0, 1.0)]
        for length, count in sorted(result.gaps_ms.items()):
            left -= length * count
            steps.append((length, left / total))
        place.step(*zip(*steps, strict=True), where="post", color=scheme.colour, label=scheme.label, linewidth=1.2)
    place.set(
        xlabel="gap in ms", ylabel="share of the time in longer gaps", xlim=(90, 4000), xscale="log", yscale="log"
    )
    place.set_ylim(1e-3, 1.1)
    place.legend(fontsize=7, handlelength=1.2)
    return figure


def timeline_figure(columns: Sequence[Column]) -> Figure:
    """Draw the packets and the rendered words of each scheme, time running down (Eloquent Fig. 2)."""
    figure = Figure(figsize=(7.0, 4.2))
    axes = figure.subplots(1, len(columns), sharey=True)
    for place, column in zip(axes, columns, strict=True):
        _timeline(place, column)
    axes[0].set_ylabel("ms since the first word was generated")
    return figure


def _timeline(place: Axes, column: Column) -> None:
    scheme, last = schemes.get(column.scheme), 900.0
    for row in column.trace.packets:
        at = (row.sent_s - column.start_s) * 1e3
        shown = [token for token in row.tokens if token >= column.first]
        if row.direction is Direction.UP or not shown or at > last:
            continue
        colour = "#d55e00" if row.is_retransmission else scheme.colour
        if row.arrived_s is None:
            place.plot([0, 0.45], [at, at + 45], linestyle=(0, (2, 2)), color=_GREY, linewidth=1)
            place.plot(0.45, at + 45, marker="x", color=_GREY, markersize=5)
        else:
            place.plot([0, 1], [at, (row.arrived_s - column.start_s) * 1e3], linestyle="-", color=colour, linewidth=1)
    together: dict[float, list[str]] = {}
    for number, word in enumerate(WORDS):
        made = (column.trace.generated_s[column.first + number] - column.start_s) * 1e3
        place.annotate(word, (0, made), (-4, 0), textcoords="offset points", ha="right", va="center", fontsize=7)
        seen = (column.trace.rendered_s[column.first + number] - column.start_s) * 1e3
        together.setdefault(seen, []).append(word)
    for seen, words in together.items():
        text = " ".join(words)
        place.annotate(text, (1, seen), (4, 0), textcoords="offset points", ha="left", va="center", fontsize=7)
    place.set(title=scheme.label, xlim=(-0.6, 2.1), ylim=(last, -30), xticks=[0, 1], xticklabels=["sent", "shown"])
    place.grid(visible=False)
    place.spines[["bottom", "left"]].set_visible(False)
    place.axvline(0, color="black", linewidth=0.8)
    place.axvline(1, color="black", linewidth=0.8)


def _scatter(place: Axes, results: Sequence[Results], *, horizontal: str) -> None:
    setting = results[0].point.scenario
    for result in results:
        scheme, figures = schemes.get(result.point.scheme), result.figures()
        across, ratio = getattr(figures, horizontal), figures.stall_ratio
        if across is None or ratio is None:
            continue
        low, high = figures.stall_ratio_ci95 or (ratio, ratio)
        marker = "*" if scheme.name == "eloquent" else "D" if scheme.kind == "bound" else "o"
        place.errorbar(
            across,
            ratio,
            yerr=[[ratio - low], [high - ratio]],
            color=scheme.colour,
            label=scheme.label,
            marker=marker,
            markersize=9 if marker == "*" else 5,
            capsize=2,
            linewidth=1,
            linestyle="none",
        )
    place.axhline(stall_ratio_bound(setting.loss_down), color="black", linewidth=0.8, linestyle=":")
    place.set_title(f"{setting.name}, RTT {setting.rtt * 1e3:g} ms", fontsize=9)
    place.set_ylim(bottom=0)
    place.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _unique(axes: Sequence[Axes] | Iterator[Axes]) -> tuple[list[Any], list[str]]:
    """Return one handle for each label of all axes."""
    found: dict[str, Any] = {}
    for place in axes:
        for handle, label in zip(*place.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)


def _save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure in both forms, without a date or a version."""
    metadata: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    paths = [stem.with_suffix(f".{form}") for form in metadata]
    for path, values in zip(paths, metadata.values(), strict=True):
        figure.savefig(path, dpi=_DPI, metadata=values)
    return paths
