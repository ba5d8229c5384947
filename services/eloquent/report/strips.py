"""One strip a client: the link's good and bad states, and over them the stalls of each scheme.

A row shows the share of a scheme's sessions that were stalled at an instant: with one session at a time, as in the rounds, that is
a bar from the token before the stall to the one after it. A loss shows at the client half a round trip later.
"""

from collections.abc import Iterable, Iterator, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eloquent.channel.scenario import parse_line
from eloquent.channel.schedule import Direction
from eloquent.qoe.ratios import ratio
from eloquent.qoe.session import STALL_THRESHOLD
from eloquent.report.plots import WIDTH, Plot, variables
from eloquent.report.run_data import RenderedSession, RunData
from eloquent.report.styles import colours, label, printable
from eloquent.report.svg import BAD, FAINT, INK, STYLE, inline

MOST_CLIENTS = 16
LONGEST = 120.0  # seconds that a strip shows at most
SHADES = 4  # by which the share of stalled sessions is told apart


def draw_strips(run: RunData) -> list[Plot]:
    """Draw the strips of the first clients that have an answer."""
    with_answers = {answer.row.client for answer in run.answers}
    clients = [client for client in run.clients if client in with_answers][:MOST_CLIENTS]
    start, end = window(run)
    shades = variables(list(run.summary.schemes))
    plots = []
    for number, client in enumerate(clients):
        title = f"Stalls of client {printable(client)} over its link's states"
        with mpl.rc_context(STYLE):
            figure = strip(run, client, start, end)
            svg = inline(figure, name=f"strip-{number}", title=title, colours=shades)
        plots.append(Plot(f"strip-{number}", printable(client), title, svg))
    return plots


def window(run: RunData) -> tuple[float, float]:
    """Return the seconds since the run's origin that strips show: the first round, and not more than can be read."""
    first = min((answer.rendered_s[0] for answer in run.answers if answer.rendered_s), default=run.origin_s)
    last = max((answer.rendered_s[-1] for answer in run.answers if answer.rendered_s), default=run.origin_s)
    start = 0.0 if first - run.origin_s < LONGEST / 2 else first - run.origin_s
    lengths = [last - run.origin_s - start, LONGEST]
    rounds_s = run.note("rounds_s")
    if isinstance(rounds_s, int | float) and run.summary.rounds > 1:
        lengths.append(rounds_s / run.summary.rounds)
    return start, start + max(1.0, min(lengths))


def strip(run: RunData, client: str, start: float, end: float) -> Figure:
    """Draw one client's strip.

    Args:
        run: The run.
        client: Its name.
        start: Begin of the time axis, in seconds since the run's origin.
        end: Its end.
    """
    names = list(run.summary.schemes)
    figure = Figure(figsize=(WIDTH, 0.5 + 0.25 * len(names)))
    place = figure.subplots()
    by_loss: dict[float, list[tuple[float, float]]] = {}
    for from_s, to_s, loss in bad_stretches(run, client, end):
        if from_s < end and to_s > start:
            by_loss.setdefault(round(0.08 + 0.32 * loss, 2), []).append((from_s, to_s - from_s))
    for alpha, bars in by_loss.items():
        place.broken_barh(bars, (-0.55, len(names) + 0.1), color=BAD, alpha=alpha, linewidth=0)
    shades = colours(names)
    for row, name in enumerate(names):
        answers = [answer for answer in run.of(name) if answer.row.client == client]
        _row(place, row, answers, shades[name], run.origin_s)
        share = ratio([one.measures.stall_s for one in answers], [one.measures.stream_s for one in answers])
        text = "-" if share is None else f"{share * 100:.0f}\N{NO-BREAK SPACE}%"
        place.annotate(
            text, (1, row), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center"
        )
    place.set_yticks(range(len(names)), [label(name) for name in names], color=INK)
    place.set_ylim(len(names) - 0.45, -0.55)
    place.set_xlim(start, end)
    place.xaxis.set_major_formatter(lambda value, _: f"{value:g} s")
    place.tick_params(length=0)
    place.grid(visible=False)
    place.spines[:].set_visible(False)
    return figure


def bad_stretches(run: RunData, client: str, end: float = LONGEST) -> Iterator[tuple[float, float, float]]:
    """Yield begin and end in seconds since the epoch, and loss, of each stretch in which the client's downlink loses.

    They are the manifest's own, noted when the run began; where it notes none but an epoch, as of a load, they follow from the
    scenario and the seed.

    Args:
        run: The run.
        client: Name of the client.
        end: Where to stop, in seconds since the epoch.
    """
    links = run.note("links")
    if links is None and run.manifest.epoch_s is not None and end > 0:
        schedule = parse_line(run.manifest.scenario.line).schedule(Direction.DOWN, seed=run.manifest.seed, link=client)
        yield from ((one.start_s, one.end_s, one.loss) for one in schedule.states(0.0, end) if one.loss > 0)
    for link in links if isinstance(links, list) else []:
        if not isinstance(link, dict) or link.get("name") != client:
            continue
        at = 0.0
        for loss, length in ((link.get("schedule") or {}).get("down") or {}).get("stretches", []):
            if loss > 0:
                yield at, at + length, loss
            at += length


def stalled_shares(answers: Iterable[RenderedSession]) -> Iterator[tuple[float, float, float]]:
    """Yield begin, end and the share of the running sessions that were stalled, for each time in which one was."""
    changes: list[tuple[float, int, int]] = []
    for answer in answers:
        times = answer.rendered_s
        if times:
            changes += [(times[0], 1, 0), (times[-1], -1, 0)]
        for number, gap in enumerate(answer.gaps()):
            if gap > STALL_THRESHOLD:
                changes += [(times[number], 0, 1), (times[number + 1], 0, -1)]
    running = stalled = 0
    before = 0.0
    for at, more_running, more_stalled in sorted(changes):
        if stalled and running and at > before:
            yield before, at, stalled / running
        running, stalled, before = running + more_running, stalled + more_stalled, at


def _row(place: Axes, row: int, answers: Sequence[RenderedSession], colour: str, origin_s: float) -> None:
    for answer in answers:
        if answer.rendered_s:
            ends = answer.rendered_s[0] - origin_s, answer.rendered_s[-1] - origin_s
            place.plot(ends, (row, row), color=FAINT, linewidth=0.8, zorder=1.5)
    by_shade: dict[float, list[tuple[float, float]]] = {}
    for from_s, to_s, share in stalled_shares(answers):
        by_shade.setdefault(-(-share * SHADES // 1) / SHADES, []).append((from_s - origin_s, to_s - from_s))
    for shade, bars in by_shade.items():
        place.broken_barh(bars, (row - 0.34, 0.68), color=colour, alpha=shade, linewidth=0, zorder=2)
