"""Traces: losses that were measured, as a loss model, and the delivery traces of Mahimahi.

Rules of this file:

- A loss trace is text: the line `eloquent loss trace 1`, then one line a packet, `SECONDS arrived` or `SECONDS lost`, in
  the order of sending, and last `SECONDS end`: the length of the trace, where it begins anew. Seconds count from the begin
  of the trace. Lines that begin with `#` are comments, before the packets or among them (docs/measurement.md).
- As a model a trace is a probability of loss for each slot of time, not for the i-th packet (Eloquent §4.3 speaks of
  the i-th): a scheme that sends more packets crosses the same channel. A slot has the share of its packets that were
  lost; a slot without packets has the fate of the packet nearest to its middle.
- A Mahimahi trace is text: one line is the millisecond at which one packet of 1500 bytes may leave; it repeats at its
  last timestamp. It has rates and outages, no random loss: as a model it loses everything in its outages.
- Text comes in as an argument: who reads files is `eloquent.scenarios`, which calls `expand_traces`.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, pairwise
from random import Random
from typing import Any

from eloquent.errors import ConfigurationError
from eloquent.units import parse_duration

HEADER = "eloquent loss trace 1"
DEFAULT_SLOT = 0.100  # seconds; the length of the paper's slots (Eloquent §4.2)
DEFAULT_OUTAGE = 0.500  # seconds without an opportunity that make an outage of a Mahimahi trace
OPPORTUNITY_BYTES = 1500  # what one line of a Mahimahi trace delivers
_STEPS = 200  # shares are kept to half a percent, so that a schedule's states fit a byte


def _write_slot(seconds: float) -> str:
    return f"{round(seconds * 1e3)}ms"


def parse_shares(text: str) -> tuple[float, ...]:
    """Read the slots of a trace, such as `0*12;1*3;0.5`: losses of 0, twelve times, then of 1, three times, then of 0.5.

    Raises:
        ConfigurationError: A part is not such a number, or there is none.
    """
    shares: list[float] = []
    for part in text.split(";"):
        share, _, times = part.strip().partition("*")
        try:
            shares += [float(share)] * int(times or 1)
        except ValueError:
            raise ConfigurationError(f"'{part}' is not a share and how often it is repeated, such as 0.5*3") from None
    return tuple(shares)


def format_shares(shares: Sequence[float]) -> str:
    """Write the slots of a trace the way `parse_shares` reads them."""
    runs = ((share, len(list(run))) for share, run in groupby(shares))
    return ";".join(f"{share:g}*{times}" if times > 1 else f"{share:g}" for share, times in runs)


def _parse_start(text: str) -> bool:
    if text not in {"begin", "random"}:
        raise ConfigurationError(f"'{text}' is not a start: write begin or random")
    return text == "random"


_SLOT: Mapping[str, Callable[..., Any]] = {"parse": parse_duration, "format": _write_slot}
_SHARES: Mapping[str, Callable[..., Any]] = {"parse": parse_shares, "format": format_shares}
_START: Mapping[str, Callable[..., Any]] = {
    "parse": _parse_start,
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
        if not all(0 <= share <= 1 for share in self.shares):
            raise ConfigurationError("shares of a trace are probabilities: they lie between 0 and 1")
        if round(self.slot * 1e3) < 1 or abs(self.slot * 1e3 - round(self.slot * 1e3)) > 1e-6:
            raise ConfigurationError(f"slot: {self.slot!r} s is not a whole number of milliseconds, 1 or more")
        object.__setattr__(self, "shares", tuple(round(share * _STEPS) / _STEPS for share in self.shares))

    @cached_property
    def _levels(self) -> tuple[float, ...]:
        return tuple(sorted(set(self.shares)))

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
        numbers = {share: number for number, share in enumerate(self._levels)}
        first = int(rng.random() * len(self.shares)) if self.start else 0
        states = [numbers[share] for share in self.shares]
        yield from states[first:]
        while True:
            yield from states


@dataclass(frozen=True, slots=True)
class PacketFate:
    """What became of one packet.

    Attributes:
        sent_s: When it was sent, in seconds from the begin of the trace.
        lost: Whether it was lost.
    """

    sent_s: float
    lost: bool


@dataclass(frozen=True, slots=True)
class LossTrace:
    """Which packet was lost when.

    Attributes:
        packets: The packets in the order of sending.
        length_s: Length of the trace in seconds; it repeats from there.
    """

    packets: tuple[PacketFate, ...]
    length_s: float

    def __post_init__(self) -> None:
        if not self.packets:
            raise ConfigurationError("a loss trace needs at least one packet")
        if self.packets[0].sent_s < 0 or any(one.sent_s > two.sent_s for one, two in pairwise(self.packets)):
            raise ConfigurationError("the packets of a loss trace stand in the order of sending, from 0 s on")
        if self.length_s <= 0 or self.length_s < self.packets[-1].sent_s:
            raise ConfigurationError(f"a loss trace cannot end at {self.length_s} s, before its last packet")

    @property
    def loss_rate(self) -> float:
        """The share of the packets that were lost, 0..1."""
        return sum(packet.lost for packet in self.packets) / len(self.packets)

    def bursts(self) -> list[int]:
        """Return how many packets each run of consecutive losses holds."""
        runs = ((lost, len(list(run))) for lost, run in groupby(self.packets, key=lambda packet: packet.lost))
        return [length for lost, length in runs if lost]

    def to_text(self, comment: str = "") -> str:
        """Write the file; `parse_loss_trace` gives back an equal trace, to the microsecond.

        Args:
            comment: Where the trace comes from, in words.
        """
        lines = [HEADER, *(f"# {line}" for line in comment.splitlines())]
        lines += [f"{packet.sent_s:.6f} {'lost' if packet.lost else 'arrived'}" for packet in self.packets]
        return "\n".join([*lines, f"{self.length_s:.6f} end"]) + "\n"

    def to_model(self, *, slot: float = DEFAULT_SLOT, start: bool = False) -> TraceLoss:
        """Return the loss model that replays this trace.

        Args:
            slot: Length of a slot in seconds; the time between two packets, or shorter.
            start: Whether a schedule begins at a slot that its seed chooses.
        """
        times = [packet.sent_s for packet in self.packets]
        count = max(1, -(-round(self.length_s * 1e6) // round(slot * 1e6)))
        fates: list[list[bool]] = [[] for _ in range(count)]
        for packet in self.packets:
            fates[min(round(packet.sent_s * 1e6) // round(slot * 1e6), count - 1)].append(packet.lost)
        shares = [
            sum(inside) / len(inside) if inside else float(self._nearest(times, (number + 0.5) * slot).lost)
            for number, inside in enumerate(fates)
        ]
        return TraceLoss(slot=slot, shares=tuple(shares), start=start)

    def _nearest(self, times: Sequence[float], at_s: float) -> PacketFate:
        after = bisect_left(times, at_s)
        candidates = self.packets[max(0, after - 1) : after + 1]
        return min(candidates, key=lambda packet: abs(packet.sent_s - at_s))


def parse_loss_trace(text: str) -> LossTrace:
    """Read a loss trace.

    Args:
        text: Content of the file; the head of this module tells its form.

    Raises:
        ConfigurationError: It is not such a file; the message names the line.
    """
    lines = text.splitlines()
    if not lines or lines[0].strip() != HEADER:
        raise ConfigurationError(f"this is not a loss trace: its first line is not '{HEADER}'")
    packets: list[PacketFate] = []
    length_s: float | None = None
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip() or line.startswith("#"):
            continue
        seconds, _, fate = line.strip().partition(" ")
        if length_s is not None or fate not in {"arrived", "lost", "end"} or not re.fullmatch(r"\d+(\.\d+)?", seconds):
            raise ConfigurationError(
                f"loss trace, line {number}: '{line}' is not SECONDS arrived|lost, with one end last"
            )
        if fate == "end":
            length_s = float(seconds)
        else:
            packets.append(PacketFate(float(seconds), lost=fate == "lost"))
    if length_s is None:
        raise ConfigurationError("this loss trace is cut off: its last line is not 'SECONDS end'")
    return LossTrace(tuple(packets), length_s)


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which a link carries nothing.

    Attributes:
        start_s: Its begin, in seconds from the begin of the trace.
        end_s: Its end; beyond the length of the trace where it goes on at the trace's begin.
    """

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Its length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class DeliveryTrace:
    """A Mahimahi trace.

    Attributes:
        at_ms: The milliseconds at which one packet of 1500 bytes may leave, in rising order; one may stand there often.
    """

    at_ms: tuple[int, ...]

    @property
    def length_s(self) -> float:
        """Its length in seconds: its last timestamp, where it begins anew."""
        return self.at_ms[-1] / 1e3

    @property
    def mean_rate(self) -> float:
        """Its mean rate in bytes per second."""
        return len(self.at_ms) * OPPORTUNITY_BYTES / self.length_s

    def rates(self, window: float) -> list[float]:
        """Return the rate in bytes per second in each window of so many seconds; the last, cut-off one is left out."""
        counts = [0] * int(self.length_s / window + 1e-9)
        for at_ms in self.at_ms:
            number = int(at_ms / 1e3 / window + 1e-9)
            if number < len(counts):
                counts[number] += 1
        return [count * OPPORTUNITY_BYTES / window for count in counts]

    def outages(self, threshold: float = DEFAULT_OUTAGE) -> list[Outage]:
        """Return the gaps between two opportunities that last longer than a threshold.

        The gap from the last opportunity to the first of the next cycle is the trace's first timestamp long; where it is
        an outage it stands at the begin of the trace.

        Args:
            threshold: Longest gap that is no outage, in seconds.
        """
        times = (0, *self.at_ms)
        return [Outage(one / 1e3, two / 1e3) for one, two in pairwise(times) if (two - one) / 1e3 > threshold]

    def to_model(
        self, *, threshold: float = DEFAULT_OUTAGE, slot: float = DEFAULT_SLOT, start: bool = False
    ) -> TraceLoss:
        """Return the loss model that loses every packet in an outage and none outside: a schedule of outages.

        A slot has the share of its time that lies in an outage.

        Args:
            threshold: Longest gap that is no outage, in seconds.
            slot: Length of a slot in seconds.
            start: Whether a schedule begins at a slot that its seed chooses.
        """
        count = max(1, int(self.length_s / slot + 1e-9))
        dark = [0.0] * count
        for outage in self.outages(threshold):
            for number in range(int(outage.start_s / slot + 1e-9), min(count, int(outage.end_s / slot + 1e-9) + 1)):
                inside = min(outage.end_s, (number + 1) * slot) - max(outage.start_s, number * slot)
                dark[number] += max(0.0, inside) / slot
        return TraceLoss(slot=slot, shares=tuple(min(1.0, share) for share in dark), start=start)


def parse_mahimahi(lines: Iterable[str]) -> DeliveryTrace:
    """Read a Mahimahi packet-delivery trace.

    Args:
        lines: The lines of the file.

    Raises:
        ConfigurationError: A line is not a number of milliseconds, or they do not rise, or all are 0.
    """
    words = [line.strip() for line in lines if line.strip()]
    if not all(word.isdecimal() for word in words):
        raise ConfigurationError("a Mahimahi trace has one number of milliseconds on each line")
    at_ms = tuple(map(int, words))
    if not at_ms or at_ms[-1] == 0 or any(one > two for one, two in pairwise(at_ms)):
        raise ConfigurationError("the milliseconds of a Mahimahi trace rise, and end above 0")
    return DeliveryTrace(at_ms)


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
        start = _parse_start(values.get("start", "begin"))
        content = read(values["file"])
        if content.startswith(HEADER):
            model = parse_loss_trace(content).to_model(slot=slot, start=start)
        else:
            threshold = parse_duration(values["outage"]) if "outage" in values else DEFAULT_OUTAGE
            model = parse_mahimahi(content.splitlines()).to_model(threshold=threshold, slot=slot, start=start)
        begin = ",start=random" if start else ""
        return f"trace(slot={_write_slot(model.slot)},shares={format_shares(model.shares)}{begin})"

    return _FROM_FILE.sub(expand, text)
