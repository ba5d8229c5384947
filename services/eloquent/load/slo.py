"""Objectives of a load test: bounds of the summary's figures, and which of them were broken."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eloquent.errors import ConfigurationError

FIGURES = (
    "stall_ratio",
    "stall_ratio_210",
    "stall_excess_ratio",
    "late_ratio",
    "redundancy_rate",
    "ttft_p50",
    "ttft_p95",
    "gap_p95",
    "gap_p99",
    "failed",
)
"""What can be bounded: figures of a scheme in `summary.json`, those in seconds without their `_s`."""


@dataclass(frozen=True, slots=True)
class Breach:
    """An objective that one scheme did not meet.

    Attributes:
        scheme: Name of the scheme.
        figure: What was bounded.
        bound: The largest value allowed.
        value: What was measured; None where nothing was, which meets no objective.
    """

    scheme: str
    figure: str
    bound: float
    value: float | None

    def __str__(self) -> str:
        """Return it in a sentence."""
        measured = "was not measured" if self.value is None else f"is {self.value:.3g}"
        return f"{self.figure} of {self.scheme} {measured}, and should be at most {self.bound:g}"


def parse_slo(text: str) -> dict[str, float]:
    """Read objectives.

    Args:
        text: Such as `stall_ratio=0.2,ttft_p95=2.0`; ratios as 0..1, times in seconds. Empty for none.

    Raises:
        ConfigurationError: A word is not of that form, or no such figure is measured.
    """
    bounds: dict[str, float] = {}
    for word in filter(None, text.split(",")):
        name, _, value = word.partition("=")
        if name not in FIGURES:
            raise ConfigurationError(f"SLO: '{name}' is not measured: bound some of {', '.join(FIGURES)}")
        try:
            bounds[name] = float(value)
        except ValueError:
            raise ConfigurationError(f"SLO: write {name}=NUMBER, not '{word}'") from None
        if not bounds[name] >= 0:
            raise ConfigurationError(f"SLO: {name} is 0 or more, so a bound of {value} cannot be met")
    return bounds


def breaches(bounds: Mapping[str, float], schemes: Mapping[str, Mapping[str, Any]]) -> list[Breach]:
    """Return the objectives that were not met, scheme by scheme.

    Args:
        bounds: What `parse_slo` read.
        schemes: The figures of each scheme, as in `summary.json`.
    """
    found = []
    for scheme, figures in schemes.items():
        for figure, bound in bounds.items():
            value = figures.get(figure, figures.get(f"{figure}_s"))
            if value is None or value > bound:
                found.append(Breach(scheme, figure, bound, value))
    return found
