"""The figures of a reproduction, as they would stand in a paper: PNG and SVG, the same bytes from the same numbers."""

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from itertools import chain, groupby
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from eloquent.channel.schedule import Direction
from eloquent.qoe.session import STALL_THRESHOLD
from eloquent.report import styles
from eloquent.sim.engine.experiment import Results
from eloquent.sim.paper import figure7, limit, modern
from eloquent.sim.paper.reproduction import Reproduction
from eloquent.sim.paper.scatter import frontier_figure, modern_figure, redundancy_figure, replay_figure
from eloquent.sim.paper.settings import PANELS, in_series
from eloquent.sim.paper.timeline import WORDS, Column

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
_COLUMNS = 4  # panels in a row


class _Job(NamedTuple):
    name: str
    figure: Callable[..., Figure]
    shown: tuple[Any, ...]


def draw(reproduction: Reproduction, executor: Executor | None = None) -> Iterator[tuple[str, bytes]]:
    """Draw every figure.

    Args:
        reproduction: What was computed.
        executor: Who draws, and begins at once; None for this process, when the files are asked for.

    Returns:
        The name of each file, and what is in it.
    """
    panels = reproduction.panels
    jobs = [  # those that take longest first
        _Job("stall-lengths", lengths_figure, (panels["paper-default"],)),
        _Job("frontier", frontier_figure, (panels,)),
        *_modern_jobs(reproduction.modern),
        *(_Job(name, redundancy_figure, (panels, settings)) for name, settings in PANELS.items()),
        _Job("figure-7", replay_figure, (reproduction.replayed[figure7.POOLED],)),
        _Job("figure-2", timeline_figure, (reproduction.timeline,)),
        _Job("limit", limit_figure, (reproduction.limits,)),
    ]
    return chain.from_iterable(map(_draw, jobs) if executor is None else executor.map(_draw, jobs))


def _modern_jobs(found: modern.Found) -> Iterator[_Job]:
    """Yield a figure for each rate and content."""
    for (rate, content), group in groupby(found.items(), key=lambda item: item[0][:2]):
        yield _Job(f"frontier-modern-{rate}-{content}", modern_figure, (dict(group),))


def _draw(job: _Job) -> list[tuple[str, bytes]]:
    with mpl.rc_context(STYLE):
        return _render(job.figure(*job.shown), job.name)


def lengths_figure(results: Sequence[Results]) -> Figure:
    """Draw how much of the time is spent in gaps longer than any length: a panel for each scheme, the others in grey."""
    shown = [
        result
        for series in in_series([result.point.scheme for result in results])
        for result in results
        if result.point.scheme == series.names[0]
    ]
    curves = [_lengths(result) for result in shown]
    rows = -(-len(shown) // _COLUMNS)
    figure = Figure(figsize=(7.2, 1.35 * rows + 0.7))
    axes = figure.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False)
    for place, result, curve in zip(axes.flat, shown, curves, strict=False):
        name = result.point.scheme
        for other in curves:
            place.step(*other, where="post", color="#d0d0d0", linewidth=0.6)
        place.step(*curve, where="post", color=styles.colour(name), linewidth=1.6)
        place.set_title(styles.label(name), fontsize=7.5, pad=3)
        place.axvline(STALL_THRESHOLD * 1e3, color="black", linewidth=0.6, linestyle=":")
        place.set(xlim=(90, 5000), xscale="log", yscale="log", ylim=(1e-3, 1.3))
        place.set_xticks([100, 1000], ["100 ms", "1 s"])
        place.minorticks_off()
        place.tick_params(labelsize=7)
    for place in axes.flat[len(shown) :]:
        place.set_axis_off()
    figure.supxlabel("length of a gap between two tokens (dotted: 200 ms)", fontsize=9)
    figure.supylabel("share of the time in longer gaps", fontsize=9)
    return figure


def _lengths(result: Results) -> tuple[list[float], list[float]]:
    """Return the lengths of gaps in milliseconds, and the share of the time in longer ones."""
    total = left = sum(length * count for length, count in result.gaps_ms.items())
    lengths, shares = [0.0], [1.0]
    for length, count in sorted(result.gaps_ms.items()):
        left -= length * count
        lengths.append(length)
        shares.append(left / total)
    return lengths, shares


def limit_figure(found: Sequence[limit.Found]) -> Figure:
    """Draw the limit of §3.3: left the tokens that a packet has to hold, right where ten are too few."""
    figure = Figure(figsize=(7.2, 4.2))
    left, right = figure.subplots(1, 2)
    _draw_need(left, [item for item in found if not item.case.limit])
    _draw_map(right, [item for item in found if item.case.limit])
    return figure


def _draw_need(place: Axes, found: Sequence[limit.Found]) -> None:
    for gap, colour, marker in zip(limit.GAPS, ("#0072b2", "#009e73", "#e69f00", "#cc79a7"), "osv^", strict=True):
        cases = [item for item in found if item.case.gap == gap]
        needed = [item.needed for item in cases]
        label = f"{1 / gap:g} tokens/s"
        place.plot([limit.printed_need(item.case) for item in cases], needed, marker, color=colour, ms=4, label=label)
    ends = [2, 150]
    place.plot(ends, ends, color="black", linewidth=0.8, linestyle=":", label="equal")
    place.set(xscale="log", yscale="log", xlabel="T by the printed formula", ylabel="T that was needed")
    place.set_title("least T that does not overflow", fontsize=9)
    for axis in (place.xaxis, place.yaxis):
        axis.set_major_formatter(ScalarFormatter())
    place.legend(fontsize=7.5, loc="upper left")


def _draw_map(place: Axes, found: Sequence[limit.Found]) -> None:
    kinds = {
        "all fit": ([item for item in found if item.needed <= limit.LIMIT], "#0072b2", "o", "none"),
        "overflow, nobody waits": (
            [item for item in found if item.needed > limit.LIMIT and not item.is_held_up],
            "#e69f00",
            "s",
            "none",
        ),
        "overflow, tokens wait": ([item for item in found if item.is_held_up], "#d55e00", "s", "#d55e00"),
    }
    for label, (items, colour, marker, face) in kinds.items():
        across = [item.case.rtt * 1e3 for item in items]
        up = [item.case.outage * 1e3 for item in items]
        place.plot(across, up, marker, color=colour, markerfacecolor=face, markersize=4, label=label)
    edge = (limit.LIMIT - 1) * limit.GAP * 1e3
    rtts = [0.0, 650.0]
    place.plot(rtts, [edge - 2 * rtt for rtt in rtts], "-", color="black", linewidth=0.9, label="G (T − 1) = 2 RTT + L")
    place.plot(
        rtts, [edge + limit.GAP * 1e3 - rtt for rtt in rtts], "--", color="black", linewidth=0.9, label="G T = RTT + L"
    )
    place.set(xlim=(0, 650), ylim=(0, 1300), xlabel="RTT in ms", ylabel="outage L in ms")
    place.set_title(f"T = {limit.LIMIT}, a token every {limit.GAP * 1e3:g} ms", fontsize=9)
    place.grid(visible=False)
    place.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, columnspacing=1.0)


def timeline_figure(columns: Sequence[Column]) -> Figure:
    """Draw the packets and the rendered words of each scheme, time running down (Eloquent Fig. 2)."""
    figure = Figure(figsize=(7.0, 4.2))
    axes = figure.subplots(1, len(columns), sharey=True)
    for place, column in zip(axes, columns, strict=True):
        _timeline(place, column)
    axes[0].set_ylabel("ms since the first word was generated")
    return figure


def _timeline(place: Axes, column: Column) -> None:
    last = 900.0
    for row in column.trace.packets:
        at = (row.sent_s - column.start_s) * 1e3
        shown = [token for token in row.tokens if token >= column.first]
        if row.direction is Direction.UP or not shown or at > last:
            continue
        colour = "#d55e00" if row.is_retransmission else styles.colour(column.scheme)
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
    place.set(
        title=styles.label(column.scheme),
        xlim=(-0.6, 2.1),
        ylim=(last, -30),
        xticks=[0, 1],
        xticklabels=["sent", "shown"],
    )
    place.grid(visible=False)
    place.spines[["bottom", "left"]].set_visible(False)
    place.axvline(0, color="black", linewidth=0.8)
    place.axvline(1, color="black", linewidth=0.8)


def _render(figure: Figure, name: str) -> list[tuple[str, bytes]]:
    """Return a figure in both forms, without a date or a version."""
    png, svg = io.BytesIO(), io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)  # whose functions are without types; `savefig` would draw each form twice
    figure.set_dpi(_DPI)
    canvas.print_png(png, metadata={"Software": None})
    figure.set_layout_engine("none")  # it stays as it has been laid out for the first form
    canvas = FigureCanvasSVG(figure)
    canvas.print_svg(svg, metadata={"Date": None, "Creator": None})
    return [(f"{name}.png", png.getvalue()), (f"{name}.svg", svg.getvalue())]
