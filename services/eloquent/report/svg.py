"""From a matplotlib figure to SVG inside a page: no fonts, colours or identifiers of its own.

Rules of this file:

- Text stays text and takes the page's font; colours become the page's variables, so that one drawing serves a light page and a
  dark one.
- Identifiers get the drawing's name in front: several drawings share one page.
- What a run calls its clients and schemes is text, never markup and never mathematics.
"""

import io
import re
import warnings
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from markupsafe import Markup
from matplotlib.figure import Figure

INK, FAINT, GRID, BAD = "#010101", "#020202", "#030303", "#040404"
"""What stands for the page's own colours while a figure is drawn."""

PAGE_COLOURS = {INK: "var(--ink)", FAINT: "var(--faint)", GRID: "var(--grid)", BAD: "var(--bad)"}

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.color": INK,
    "text.parse_math": False,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "eloquent",
}

_NAMESPACE = re.compile(r"\{[^}]*\}")
_FONT = re.compile(r"font: (?:(\d+) )?([\d.]+px)[^;]*|font-family: [^;]*;?\s*")
_REFERENCE = re.compile(r"#(?![0-9a-f]{6}\b)([A-Za-z_][\w.-]*)")


def inline(figure: Figure, *, name: str, title: str, colours: Mapping[str, str]) -> Markup:
    """Write a figure as an SVG element.

    Args:
        figure: The figure, drawn under `STYLE`.
        name: Letters and dashes; no other drawing of the page has it.
        title: What it shows, for those who cannot see it.
        colours: CSS colour for each `#rrggbb` that is not to be taken as it is.
    """
    body = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the page's font draws the text, not ours
        warnings.filterwarnings("ignore", message="constrained_layout not applied")  # names too long for a plot
        figure.savefig(body, format="svg", metadata={"Date": None, "Creator": None})
    root = ET.fromstring(body.getvalue())  # noqa: S314 - matplotlib wrote it a moment ago
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        _make_native(element, name, {**PAGE_COLOURS, **colours})
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": title}
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 - a serialised tree is escaped


def _make_native(element: ET.Element, name: str, colours: Mapping[str, str]) -> None:
    element.tag = _NAMESPACE.sub("", element.tag)
    attributes = {_NAMESPACE.sub("", key): value for key, value in element.attrib.items()}
    for key, value in attributes.items():
        if key == "id":
            attributes[key] = f"{name}-{value}"
        elif key in {"style", "fill", "stroke"}:
            painted = re.sub(r"#[0-9a-f]{6}\b", lambda match: colours.get(match[0], match[0]), value)
            attributes[key] = _FONT.sub(_size_only, painted)
        if key in {"href", "clip-path", "style"}:
            attributes[key] = _REFERENCE.sub(rf"#{name}-\1", attributes[key])
    element.attrib = attributes


def _size_only(match: re.Match[str]) -> str:
    if match[2] is None:
        return ""
    weight = f"font-weight: {match[1]}; " if match[1] else ""
    return f"{weight}font-size: {match[2]}"
