"""Seconds, bytes per second and 0..1 inside; milliseconds, bit rates and percent only at the edges, converted here."""

import re

from eloquent.errors import ConfigurationError

TO_WHOLE = (
    1.5 * 2**52
)  # added and taken away again, it leaves the nearest whole number: floats of that size have no fractions

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|min|h)")
_DURATION_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_RATE = re.compile(r"(\d+(?:\.\d+)?)(bit|kbit|mbit|gbit)")
_RATE_BITS = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")


def parse_duration(text: str) -> float:
    """Convert a duration with its unit, such as `400ms`, to seconds.

    Args:
        text: A non-negative number followed by `us`, `ms`, `s`, `min` or `h`; a bare `0` is accepted.

    Raises:
        ConfigurationError: The text is not such a duration.
    """
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text.strip())
    if match is None or float(match[1]) == float("inf"):
        raise ConfigurationError(f"'{text}' is not a duration: write a number and a unit, such as 400ms or 1.5s")
    return round(float(match[1]) * _DURATION_SECONDS[match[2]], 9)


def parse_rate(text: str) -> float:
    """Convert a bit rate with its unit, such as `10mbit`, to bytes per second.

    Args:
        text: A non-negative number followed by `bit`, `kbit`, `mbit` or `gbit` (per second), as `tc` writes it.

    Raises:
        ConfigurationError: The text is not such a rate.
    """
    match = _RATE.fullmatch(text.strip())
    if match is None or float(match[1]) == float("inf"):
        raise ConfigurationError(f"'{text}' is not a rate: write a number and a unit, such as 10mbit or 512kbit")
    return float(match[1]) * _RATE_BITS[match[2]] / 8


def parse_probability(text: str) -> float:
    """Convert a probability, written as `0.15` or as `15%`, to a number from 0 to 1.

    Raises:
        ConfigurationError: The text is not a number from 0 to 1 or from 0% to 100%.
    """
    match = _PERCENT.fullmatch(text.strip())
    try:
        value = float(match[1]) / 100 if match else float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise ConfigurationError(
            f"'{text}' is not a probability: write a number from 0 to 1, or a percentage such as 15%"
        )
    return value


def format_duration(seconds: float) -> str:
    """Write a duration the way `parse_duration` reads it, in milliseconds below one second."""
    return f"{seconds * 1e3:g}ms" if seconds < 1 else f"{seconds:g}s"


def format_rate(bytes_per_second: float) -> str:
    """Write a rate the way `parse_rate` reads it, in the largest unit that keeps it at 1 or above."""
    bits = bytes_per_second * 8
    unit = next((unit for unit in ("gbit", "mbit", "kbit") if bits >= _RATE_BITS[unit]), "bit")
    return f"{bits / _RATE_BITS[unit]:g}{unit}"


def format_percent(fraction: float) -> str:
    """Write a number from 0 to 1 as a percentage with one decimal, for tables."""
    return f"{fraction * 100:.1f}%"
