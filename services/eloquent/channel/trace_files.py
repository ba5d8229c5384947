"""Traces that a scenario names by their files: each becomes the losses that it holds.

Rules of this file:

- Text comes in as an argument: who reads files is `eloquent.scenarios`.
- The name of a file goes up to the next option or the closing bracket: it may hold commas, spaces, and brackets in pairs. In
  quotes it may hold anything but that quote.
"""

import re
from collections.abc import Callable

from eloquent.channel.loss import format_loss
from eloquent.channel.loss_trace import HEADER, parse_loss_trace
from eloquent.channel.mahimahi import DEFAULT_OUTAGE, parse_mahimahi
from eloquent.channel.trace import DEFAULT_SLOT, TraceLoss, parse_start
from eloquent.errors import ConfigurationError
from eloquent.units import parse_duration

_OPTIONS = ("file", "slot", "start", "outage")
_BEGIN = re.compile(r"\btrace\(")
_OPTION = re.compile(r"\s*([A-Za-z_]+)\s*=\s*")
_QUOTES = "\"'"


def expand_traces(text: str, read: Callable[[str], str], *, random_start: bool = False) -> str:
    """Replace each `trace(file=F,slot=100ms,start=begin,outage=500ms)` by the losses that the file holds.

    The result says all that the file said, so a scenario can be handed to another process or another machine.

    Args:
        text: A scenario's line, or the value of one of its keys.
        read: Gives the content of a file; called with F.
        random_start: Whether a schedule begins at a slot that its seed chooses, where the text does not say.

    Returns:
        The text with `trace(slot=...,shares=...)` in place of each file.

    Raises:
        ConfigurationError: A file or an option is unusable; the message names the file and the line.
    """
    pieces: list[str] = []
    place = 0
    for match in _BEGIN.finditer(text):
        end = _closing(text, match.end())
        if match.start() < place or end is None:
            continue
        options = _read_options(text[match.end() : end])
        if "file" not in options:
            continue
        start = parse_start(options["start"]) if "start" in options else random_start
        model = read_trace(
            read(options["file"]),
            name=options["file"],
            slot=parse_duration(options["slot"]) if "slot" in options else DEFAULT_SLOT,
            outage=parse_duration(options["outage"]) if "outage" in options else DEFAULT_OUTAGE,
            start=start,
        )
        pieces += [text[place : match.start()], format_loss(model)]
        place = end + 1
    return "".join([*pieces, text[place:]])


def read_trace(
    content: str, *, name: str, slot: float, outage: float = DEFAULT_OUTAGE, start: bool = False
) -> TraceLoss:
    """Return the losses that a file holds.

    Args:
        content: Of the file: a loss trace, or a Mahimahi trace.
        name: Its name, for messages.
        slot: Length of a slot in seconds.
        outage: Longest time without a packet that is no outage, in seconds; of a Mahimahi trace.
        start: Whether a schedule begins at a slot that its seed chooses.

    Raises:
        ConfigurationError: The file is unusable; the message names it and the line.
    """
    try:
        if content.startswith(HEADER):
            return parse_loss_trace(content).to_model(slot=slot, start=start)
        return parse_mahimahi(content.split("\n")).to_model(threshold=outage, slot=slot, start=start)
    except ConfigurationError as error:
        raise ConfigurationError(f"the trace {name}, {error}") from None


def _closing(text: str, place: int) -> int | None:
    """Return where the bracket closes that was opened before a place; None where it does not."""
    depth = 1
    while place < len(text):
        if text[place] in _QUOTES and text[:place].rstrip().endswith("="):
            closing = text.find(text[place], place + 1)
            if closing < 0:
                return None
            place = closing
        elif text[place] in "()":
            depth += 1 if text[place] == "(" else -1
            if depth == 0:
                return place
        place += 1
    return None


def _read_options(inside: str) -> dict[str, str]:
    """Read `file=F,slot=100ms`; without a file, nothing: these are the fields of a loss model.

    Raises:
        ConfigurationError: There is a file, and something that is none of the options, or one of them twice.
    """
    found: list[tuple[str, str]] = []
    place = 0
    while place < len(inside) and (match := _OPTION.match(inside, place)) is not None:
        key, place = match[1], match.end()
        if inside[place : place + 1] and inside[place] in _QUOTES and inside.find(inside[place], place + 1) > 0:
            end = inside.index(inside[place], place + 1)
            value, place = inside[place + 1 : end], end + 1
        else:
            end = next(
                (one.start() for one in re.finditer(r",\s*[A-Za-z_]+\s*=", inside) if one.start() >= place), len(inside)
            )
            value, place = inside[place:end].strip().removesuffix(",").rstrip(), end
        found.append((key, value))
        place += len(inside[place:]) - len(inside[place:].lstrip(" ,"))
    options = dict(found)
    if "file" not in options:
        return {}
    wrong = [key for key, _ in found if key not in _OPTIONS] or [inside[place:]] * bool(inside[place:].strip())
    if wrong or len(options) < len(found):
        raise ConfigurationError(
            f"trace(file=...): '{wrong[0] if wrong else inside}' is not one of {', '.join(_OPTIONS)}, each once"
        )
    return options
