"""Figure 4 of the paper: when the packets of a session arrived, and when its tokens were rendered.

Left, each packet that arrived: red rings are retransmissions that later packets had waited for, blue rings are those
packets. Right, the tokens on the screen; without a per-token log, the bytes that were in order.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from eloquent.measure.losses import StreamFates
from eloquent.measure.transmissions import Transmission

_DOT, _RED, _BLUE, _LINE = "#4d4d4d", "#d62728", "#1f77b4", "#009e73"
_STYLE: Any = {
    "svg.hashsalt": "eloquent",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(stream: StreamFates, rendered_s: Sequence[float] | None = None, *, title: str = "") -> Figure:
    """Draw a session (Eloquent §2.2, figure 4).

    Args:
        stream: Its packets.
        rendered_s: When each token was rendered, in seconds of the capture's clock; None where there is no log.
        title: What stands above it.
    """
    arrived = [packet for packet in stream.transmissions if packet.arrived_s is not None]
    origin = min((packet.arrived_s for packet in arrived if packet.arrived_s is not None), default=0.0)
    if rendered_s:
        origin = min(origin, rendered_s[0])
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.0, 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        packets, tokens = figure.subplots(1, 2, sharex=True)
        _draw_packets(packets, arrived, origin)
        if rendered_s:
            tokens.step([at - origin for at in rendered_s], range(1, len(rendered_s) + 1), where="post", color=_LINE)
            tokens.plot([at - origin for at in rendered_s], range(1, len(rendered_s) + 1), ".", color=_LINE, ms=3)
            tokens.set(xlabel="time (s)", ylabel="tokens rendered", title="Token rendering")
        else:
            times = [at - origin for at, _ in stream.delivered]
            tokens.step(times, [offset / 1e3 for _, offset in stream.delivered], where="post", color=_LINE)
            tokens.set(xlabel="time (s)", ylabel="bytes in order (kB)", title="Delivery in order")
        if title:
            figure.suptitle(title)
    return figure


def _draw_packets(axes: Any, arrived: Sequence[Transmission], origin: float) -> None:
    kinds = (
        (arrived, {"marker": ".", "s": 10, "color": _DOT, "label": "packet"}),
        (
            [packet for packet in arrived if packet.blocked],
            {"marker": "o", "s": 36, "facecolors": "none", "edgecolors": _BLUE, "label": "blocked"},
        ),
        (
            [packet for packet in arrived if packet.blocking],
            {"marker": "o", "s": 70, "facecolors": "none", "edgecolors": _RED, "label": "blocking retransmission"},
        ),
    )
    for packets, look in kinds:
        times = [packet.arrived_s - origin for packet in packets if packet.arrived_s is not None]
        axes.scatter(times, [packet.end / 1e3 for packet in packets], **look)
    axes.set(xlabel="time (s)", ylabel="sequence number (kB)", title="Packet arrival")
    axes.legend(loc="lower right", fontsize=7, frameon=False)


def save(figure: Figure, out: Path, name: str = "figure4") -> list[Path]:
    """Write a figure as PNG and as SVG; the same figure gives the same bytes.

    Args:
        figure: What `draw` made.
        out: Folder; made where it is missing.
        name: Name of the files, without their suffix.

    Returns:
        The files.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"{name}.png", out / f"{name}.svg"]
    with mpl.rc_context(_STYLE):
        figure.savefig(paths[0], dpi=150, metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None})
    return paths
