"""A measured channel as a loss model: the share lost in each slot of time, replayed and begun anew (Eloquent §4.3).

Rules of this file:

- A trace is a probability of loss for each slot of time, not for the i-th packet (Eloquent §4.3 speaks of the i-th): a
  scheme that sends more packets crosses the same channel.
- What makes one of a recording is `loss_trace.py` and `mahimahi.py`; `trace_files.py` puts it into a scenario.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from random import Random
from typing import Any

from eloquent.errors import ConfigurationError
from eloquent.units import parse_duration

DEFAULT_SLOT = 0.100  # seconds; the length of the paper's slots (Eloquent §4.2)
LONGEST = 86_400.0  # seconds of a trace; what counts from 1970 is no trace of fifty years
MOST_SLOTS = 5_000_000  # a day of slots of 20 ms, with room to spare
_STEPS = 200  # shares are kept to half a percent, so that a schedule's states fit a byte


_RUN = re.compile(r"(\d+(?:\.\d*)?(?:e-?\d{1,3})?|\.\d+)(?:\*(\d{1,9}))?", re.ASCII)


def check_slots(count: float) -> None:
    """Refuse a trace of more slots than memory should hold.

    Raises:
        ConfigurationError: There are more than MOST_SLOTS.
    """
    if count > MOST_SLOTS:
        raise ConfigurationError(f"a trace has {MOST_SLOTS} slots at most, not {count:.0f}: choose a longer slot")


def check_slot(slot: float) -> None:
    """Refuse a slot that is no whole number of milliseconds.

    Raises:
        ConfigurationError: It is not, or is 0.
    """
    if round(slot * 1e3) < 1 or abs(slot * 1e3 - round(slot * 1e3)) > 1e-6:
        raise ConfigurationError(f"slot: {slot!r} s is not a whole number of milliseconds, 1 or more")


def _write_slot(seconds: float) -> str:
    return f"{round(seconds * 1e3)}ms"


def parse_shares(text: str) -> tuple[float, ...]:
    """Read the slots of a trace, such as `0*12;1*3;0.5`: losses of 0, twelve times, then of 1, three times, then of 0.5.

    Raises:
        ConfigurationError: A part is not such a number, or there is none.
    """
    shares: list[float] = []
    for part in text.split(";"):
        match = _RUN.fullmatch(part.strip())
        if match is None or int(match[2] or 1) == 0:
            raise ConfigurationError(f"'{part}' is not a share and how often it is repeated, such as 0.5*3")
        check_slots(len(shares) + int(match[2] or 1))
        shares += [float(match[1])] * int(match[2] or 1)
    return tuple(shares)


def format_shares(shares: Sequence[float]) -> str:
    """Write the slots of a trace the way `parse_shares` reads them."""
    runs = ((share, len(list(run))) for share, run in groupby(shares))
    return ";".join(f"{share:g}*{times}" if times > 1 else f"{share:g}" for share, times in runs)


def parse_start(text: str) -> bool:
    """Read where a schedule begins: `random` is true, `begin` is false.

    Raises:
        ConfigurationError: It is another word.
    """
    if text not in {"begin", "random"}:
        raise ConfigurationError(f"'{text}' is not a start: write begin or random")
    return text == "random"


_SLOT: Mapping[str, Callable[..., Any]] = {"parse": parse_duration, "format": _write_slot}
_SHARES: Mapping[str, Callable[..., Any]] = {"parse": parse_shares, "format": format_shares}
_START: Mapping[str, Callable[..., Any]] = {
    "parse": parse_start,
    "format": lambda is_random: "random" if is_random else "begin",
}


@dataclass(frozen=True, kw_only=True)
class TraceLoss:
    """A loss model that replays measured losses, slot by slot, and begins anew at the end (Eloquent §4.3).

    Args:
        slot: Length of a slot in seconds, a whole number of milliseconds.
        shares: Probability of loss, 0..1, of each slot in turn; kept to half a percent.
        start: Whether a schedule begins at a slot that its seed chooses, rather than at the trace's first.
    """

    slot: float = field(metadata=_SLOT)
    shares: tuple[float, ...] = field(metadata=_SHARES)
    start: bool = field(default=False, metadata=_START)

    def __post_init__(self) -> None:
        if not self.shares:
            raise ConfigurationError("a trace needs at least one slot")
        occurring = set(self.shares)  # few, where a trace has many slots
        if not all(0 <= share <= 1 for share in occurring):
            raise ConfigurationError("shares of a trace are probabilities: they lie between 0 and 1")
        check_slot(self.slot)
        check_slots(len(self.shares))
        kept = {share: round(share * _STEPS) / _STEPS for share in occurring}
        object.__setattr__(self, "shares", tuple(map(kept.__getitem__, self.shares)))

    @cached_property
    def _levels(self) -> tuple[float, ...]:
        return tuple(sorted(set(self.shares)))

    @cached_property
    def _states(self) -> bytes:
        numbers = {share: number for number, share in enumerate(self._levels)}
        return bytes(map(numbers.__getitem__, self.shares))

    @property
    def loss_by_state(self) -> tuple[float, ...]:
        """The shares that occur, in rising order."""
        return self._levels

    @property
    def stationary_loss(self) -> float:
        """The mean over the slots."""
        return sum(self.shares) / len(self.shares)

    @property
    def best_loss(self) -> float:
        """The share of the best slot."""
        return self._levels[0]

    @property
    def worst_loss(self) -> float:
        """The share of the worst slot."""
        return self._levels[-1]

    def states(self, rng: Random) -> Iterator[int]:
        """Yield the state of each slot in turn, for ever; the first number drawn decides about the start."""
        first = int(rng.random() * len(self.shares)) if self.start else 0
        yield from self._states[first:]
        while True:
            yield from self._states
