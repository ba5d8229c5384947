"""Traces that a scenario names by their files: each becomes the losses that it holds.

Text comes in as an argument: who reads files is `eloquent.scenarios`.
"""

import re
from collections.abc import Callable

from eloquent.channel.loss import format_loss
from eloquent.channel.loss_trace import HEADER, parse_loss_trace
from eloquent.channel.mahimahi import DEFAULT_OUTAGE, parse_mahimahi
from eloquent.channel.trace import DEFAULT_SLOT, parse_start
from eloquent.errors import ConfigurationError
from eloquent.units import parse_duration

_FROM_FILE = re.compile(r"trace\(([^()]*\bfile\s*=[^()]*)\)")
_OPTIONS = ("file", "slot", "start", "outage")


def expand_traces(text: str, read: Callable[[str], str]) -> str:
    """Replace each `trace(file=F,slot=100ms,start=begin,outage=500ms)` by the losses that the file holds.

    The result says all that the file said, so a scenario can be handed to another process or another machine.

    Args:
        text: A scenario's line, or the value of one of its keys.
        read: Gives the content of a file; called with F.

    Returns:
        The text with `trace(slot=...,shares=...)` in place of each file.

    Raises:
        ConfigurationError: A file or an option is unusable.
    """

    def expand(match: re.Match[str]) -> str:
        values: dict[str, str] = {}
        for word in filter(None, (word.strip() for word in match[1].split(","))):
            key, _, value = (part.strip() for part in word.partition("="))
            if key not in _OPTIONS or key in values:
                raise ConfigurationError(f"trace(file=...): '{word}' is not one of {', '.join(_OPTIONS)}, each once")
            values[key] = value
        slot = parse_duration(values["slot"]) if "slot" in values else DEFAULT_SLOT
        start = parse_start(values.get("start", "begin"))
        content = read(values["file"])
        if content.startswith(HEADER):
            model = parse_loss_trace(content).to_model(slot=slot, start=start)
        else:
            threshold = parse_duration(values["outage"]) if "outage" in values else DEFAULT_OUTAGE
            model = parse_mahimahi(content.splitlines()).to_model(threshold=threshold, slot=slot, start=start)
        return format_loss(model)

    return _FROM_FILE.sub(expand, text)
