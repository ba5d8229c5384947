"""The plots of a report: what the schemes did, over all sessions. Each is a small figure that a phone can show."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from eloquent.channel.scenario import parse_line
from eloquent.channel.schedule import Direction
from eloquent.qoe.session import STALL_THRESHOLD
from eloquent.report.run_data import RenderedSession, RunData
from eloquent.report.styles import colours, label, printable
from eloquent.report.svg import FAINT, INK, STYLE, inline

WIDTH = 400 / 72  # inches; one unit of the drawing is a pixel on a phone
STEPS = 300  # of a distribution's curve, beyond which no eye sees more
SHORTEST_GAP_MS = 10.0  # where the axis of gaps begins; tokens that come together have gaps of 0


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing, and what is said with it.

    Attributes:
        name: Letters and dashes.
        title: What one sees, in words.
        caption: How to read it.
        svg: The drawing.
    """

    name: str
    title: str
    caption: str
    svg: Markup


def variables(names: Sequence[str]) -> dict[str, str]:
    """Return for the colour of each scheme the page's variable."""
    return {colour: f"var(--s{number})" for number, colour in enumerate(colours(names).values())}


def draw(run: RunData) -> list[Plot]:
    """Draw every plot that the run has data for."""
    plots: list[tuple[str, str, str, Callable[[RunData], Figure | None]]] = [
        (
            "stall-ratio",
            "Share of the time spent in stalls",
            "Whiskers: 95 % interval over the sessions. A stall is a gap of more than 200 ms between two tokens.",
            stall_ratios,
        ),
        (
            "redundancy",
            "What it cost",
            "Token bytes sent beyond one copy of each, against the stall ratio. Down and to the left is better.",
            redundancy,
        ),
        (
            "pairs",
            "The same link in the same seconds",
            "A dot: one client's session against that of {baseline} at the same time. Below the line it stalled less.",
            paired_ratios,
        ),
        (
            "gaps",
            "Gaps between tokens (1 − CDF)",
            "Share of all gaps that are longer than a length. Beyond 200 ms a gap is a stall.",
            gap_distribution,
        ),
        (
            "stalls",
            "Lengths of stalls (CDF)",
            "Share of a scheme's stalls that are no longer than a length.",
            stall_distribution,
        ),
        (
            "loss",
            "Loss of each link",
            "Dots: lost link probes on the way to the client. Bars: what the link's schedule had in store for these probes.",
            link_losses,
        ),
    ]
    drawn = []
    baseline = label(next(iter(run.summary.schemes), ""))
    shades = variables(list(run.summary.schemes))
    for name, title, caption, make in plots:
        with mpl.rc_context(STYLE):
            figure = make(run)
            if figure is not None:
                text = caption.replace("{baseline}", baseline)
                drawn.append(Plot(name, title, text, inline(figure, name=name, title=title, colours=shades)))
    return drawn


def stall_ratios(run: RunData) -> Figure | None:
    """Draw the stall ratio of each scheme with its interval."""
    found = [(name, one) for name, one in run.summary.schemes.items() if one.stall_ratio is not None]
    if not found:
        return None
    figure = Figure(figsize=(WIDTH, max(2.3, 0.65 + 0.42 * len(found))))
    place = figure.subplots()
    shades, most = colours(run.summary.schemes), 0.0
    for row, (name, one) in enumerate(found):
        ratio = one.stall_ratio or 0.0
        low, high = one.stall_ratio_ci95 or (ratio, ratio)
        most = max(most, high)
        place.barh(row, ratio, height=0.62, color=shades[name])
        place.plot([low, high], [row, row], color=INK, linewidth=1.6, solid_capstyle="butt")
        for end in (low, high) if high > low else ():
            place.plot([end, end], [row - 0.14, row + 0.14], color=INK, linewidth=1.6)
        place.annotate(
            f"{ratio * 100:.1f} %", (high, row), (6, 0), textcoords="offset points", va="center", fontsize=11
        )
    place.set_yticks(range(len(found)), [label(name) for name, _ in found], color=INK)
    place.invert_yaxis()
    place.set_xlim(0, max(0.05, most) * 1.17)
    place.tick_params(length=0)
    place.grid(visible=False, axis="y")
    place.spines["bottom"].set_visible(False)
    _percent_axis(place.xaxis)
    return figure


def redundancy(run: RunData) -> Figure | None:
    """Draw the stall ratio against the redundancy rate."""
    found = [
        (name, one.redundancy_rate, one.stall_ratio, one.stall_ratio_ci95)
        for name, one in run.summary.schemes.items()
        if one.redundancy_rate is not None and one.stall_ratio is not None
    ]
    if not found:
        return None
    figure = Figure(figsize=(WIDTH, 3.1))
    place = figure.subplots()
    shades = colours(run.summary.schemes)
    widest = max(cost for _, cost, _, _ in found) or 1.0
    for name, cost, ratio, interval in found:
        low, high = interval or (ratio, ratio)
        place.plot([cost, cost], [low, high], color=shades[name], linewidth=1.8)
        place.plot(cost, ratio, marker="o", markersize=8, color=shades[name], linestyle="none")
        right = cost < 0.6 * widest
        place.annotate(
            label(name),
            (cost, ratio),
            (8 if right else -8, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
        )
    place.set_xlim(-0.05 * widest, 1.1 * widest)
    place.set_ylim(0, 1.08 * place.get_ylim()[1])
    place.set_xlabel("redundancy")
    place.set_ylabel("stall ratio")
    _percent_axis(place.xaxis)
    _percent_axis(place.yaxis)
    place.tick_params(length=0)
    return figure


def paired_ratios(run: RunData) -> Figure | None:
    """Draw each session's stall ratio against that of the baseline's session of the same client in the same round."""
    baseline, *others = run.summary.schemes
    theirs = {(one.row.client, one.row.round): _ratio(one) for one in run.of(baseline)}
    points = {
        name: [(theirs[key], _ratio(one)) for one in run.of(name) if (key := (one.row.client, one.row.round)) in theirs]
        for name in others
    }
    if not any(points.values()):
        return None
    most = max(0.05, *(max(point) for found in points.values() for point in found)) * 1.08
    figure = Figure(figsize=(WIDTH, 3.1))
    place = figure.subplots()
    place.plot([0, most], [0, most], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    shades = colours(run.summary.schemes)
    for name, found in points.items():
        if found:
            place.plot(*zip(*found, strict=True), "o", color=shades[name], markersize=6, alpha=0.85, label=label(name))
    place.set(xlim=(0, most), ylim=(0, most), ylabel="stall ratio", xlabel=f"stall ratio of {label(baseline)}")
    _percent_axis(place.xaxis)
    _percent_axis(place.yaxis)
    place.tick_params(length=0)
    _legend(figure)
    return figure


def gap_distribution(run: RunData) -> Figure | None:
    """Draw for each scheme the share of its gaps that are longer than a length."""
    samples = {
        name: [max(gap * 1e3, SHORTEST_GAP_MS) for answer in run.of(name) for gap in answer.gaps()]
        for name in run.summary.schemes
    }
    figure = _distribution(run, samples, falling=True)
    if figure is not None:
        place = figure.axes[0]
        place.axvline(STALL_THRESHOLD * 1e3, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        place.annotate(
            "200 ms",
            (STALL_THRESHOLD * 1e3, 1),
            (4, -2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="top",
            color=FAINT,
            fontsize=10,
        )
        most = max(map(len, samples.values()))
        place.set_ylim(0.5 / most, 1.1)  # first, for of a single gap no share is above 0
        place.set_yscale("log")
        place.yaxis.set_major_formatter(FuncFormatter(_percent))
        place.yaxis.set_minor_formatter(NullFormatter())
        place.set_xlabel("gap")
    return figure


def stall_distribution(run: RunData) -> Figure | None:
    """Draw for each scheme the share of its stalls that are no longer than a length."""
    samples = {
        name: [gap * 1e3 for answer in run.of(name) for gap in answer.gaps() if gap > STALL_THRESHOLD]
        for name in run.summary.schemes
    }
    figure = _distribution(run, samples, falling=False)
    if figure is not None:
        place = figure.axes[0]
        place.set_ylim(0, 1.03)
        _percent_axis(place.yaxis)
        place.set_xlabel("stall")
    return figure


def link_losses(run: RunData) -> Figure | None:
    """Draw the measured loss of each link beside what its schedule had in store."""
    rows = list(measured_losses(run))
    if not rows:
        return None
    figure = Figure(figsize=(WIDTH, min(12.0, 0.75 + 0.24 * len(rows))))
    place = figure.subplots()
    for row, (_, lost, scheduled) in enumerate(rows):
        if scheduled is not None:
            place.barh(row, scheduled, height=0.55, color=FAINT, alpha=0.28)
        place.plot(lost, row, marker="o", markersize=6, color=INK)
    every = -(-len(rows) // 40)
    place.set_yticks(range(0, len(rows), every), [printable(client) for client, _, _ in rows[::every]], color=INK)
    place.invert_yaxis()
    place.set_xlim(left=0, right=max(0.02, place.get_xlim()[1]))
    place.tick_params(length=0)
    place.grid(visible=False, axis="y")
    _percent_axis(place.xaxis)
    return figure


def measured_losses(run: RunData) -> Iterator[tuple[str, float, float | None]]:
    """Yield for each link its client, the share of its probes that was lost, and what its schedule had in store for them."""
    epoch = run.manifest.epoch_s
    scenario = None if epoch is None else parse_line(run.manifest.scenario.line)  # a real network has none
    for client, probes in sorted(run.probes.items(), key=lambda item: (len(item[0]), item[0])):
        lost = sum(probe.received_s is None for probe in probes) / len(probes)
        scheduled = None
        if epoch is not None and scenario is not None:
            downlink = scenario.schedule(Direction.DOWN, seed=run.manifest.seed, link=client)
            expected = [downlink.loss_at(probe.sent_s - epoch) for probe in probes if probe.sent_s >= epoch]
            scheduled = sum(expected) / len(expected) if expected else None
        yield client, lost, scheduled


def _distribution(run: RunData, samples: Mapping[str, Sequence[float]], *, falling: bool) -> Figure | None:
    """Draw the distribution of samples in milliseconds, on a logarithmic axis."""
    if not any(samples.values()):
        return None
    figure = Figure(figsize=(WIDTH, 3.1))
    place = figure.subplots()
    shades = colours(run.summary.schemes)
    for name, values in samples.items():
        if values:
            place.step(
                *_curve(sorted(values), falling=falling), where="post", color=shades[name], label=label(name), lw=2
            )
    place.set_xscale("log")
    shortest, longest = place.get_xlim()
    place.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if longest < 30 * shortest else (1.0,)))
    place.xaxis.set_major_formatter(FuncFormatter(_length))
    place.xaxis.set_minor_formatter(NullFormatter())
    place.tick_params(length=0, which="both")
    _legend(figure)
    return figure


def _ratio(answer: RenderedSession) -> float:
    return answer.measures.stall_s / answer.measures.stream_s if answer.measures.stream_s > 0 else 0.0


def _legend(figure: Figure) -> None:
    figure.legend(loc="outside upper left", ncols=3, fontsize=10, handlelength=1.2, columnspacing=1.2, borderpad=0)


def _curve(ordered: Sequence[float], *, falling: bool) -> tuple[list[float], list[float]]:
    """Return lengths and the share of the values no longer (or longer) than each, thinned but true at every point."""
    count = len(ordered)
    last = {value: place + 1 for place, value in enumerate(ordered)}  # of equal values, the last one's place
    points = list(last.items())
    kept = [point for number, point in enumerate(points[:-1]) if number % -(-len(points) // STEPS) == 0]
    kept.append(points[-1])
    across, share = [value for value, _ in kept], [place / count for _, place in kept]
    if not falling:
        return [ordered[0], *across], [0.0, *share]
    if across[0] > SHORTEST_GAP_MS:
        across, share = [SHORTEST_GAP_MS, *across], [0.0, *share]
    return across, [1 - value for value in share]


def _length(milliseconds: float, _: Any) -> str:
    return f"{milliseconds / 1e3:g} s" if milliseconds >= 1e3 else f"{milliseconds:g} ms"


def _percent(share: float, _: Any) -> str:
    return f"{share * 100:g} %"


def _percent_axis(axis: Any) -> None:
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(_percent))
