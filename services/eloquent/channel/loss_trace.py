"""Loss traces: which packet was lost when, as text and as a loss model.

Rules of this file:

- The text is the line `eloquent loss trace 1`, then one line a packet, `SECONDS arrived` or `SECONDS lost`, in the order of
  sending, and last `SECONDS end`: the length of the trace, where it begins anew. Seconds count from the begin of the trace.
  Lines that begin with `#` are comments, before the packets or among them (docs/measurement.md). Times that count from 1970, or
  from when a machine was started, are taken from the first packet on.
- As a model, a slot has the share of its packets that were lost; a slot without packets has the fate of the packet nearest
  to its middle.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from eloquent.channel.trace import DEFAULT_SLOT, LONGEST, TraceLoss, check_slot, check_slots
from eloquent.errors import ConfigurationError

HEADER = "eloquent loss trace 1"
_SECONDS = re.compile(r"\d{1,15}(\.\d{1,15})?", re.ASCII)


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
        check_slot(slot)
        check_slots(self.length_s / slot)
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
    lines = text.split("\n")  # a comment may hold any other separator
    if lines[0].strip() != HEADER:
        raise ConfigurationError(f"line 1: this is not a loss trace: its first line is not '{HEADER}'")
    packets: list[PacketFate] = []
    origin_s: float | None = None
    length_s: float | None = None
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip() or line.startswith("#"):
            continue
        seconds, _, fate = line.strip().partition(" ")
        if length_s is not None or fate not in {"arrived", "lost", "end"} or not _SECONDS.fullmatch(seconds):
            raise ConfigurationError(f"line {number}: '{line.strip()}' is not SECONDS arrived|lost, with one end last")
        if origin_s is None:
            origin_s = float(seconds) if float(seconds) > LONGEST else 0.0
        at_s = round(float(seconds) - origin_s, 9)
        if at_s > LONGEST:
            raise ConfigurationError(f"line {number}: {seconds} s is more than a day after the first packet")
        is_before = bool(packets) and at_s < packets[-1].sent_s
        if fate == "end":
            if is_before:
                raise ConfigurationError(
                    f"line {number}: a loss trace cannot end at {seconds} s, before its last packet"
                )
            length_s = at_s
        elif is_before:
            raise ConfigurationError(
                f"line {number}: packets stand in the order of sending, and {seconds} s is before the one above"
            )
        else:
            packets.append(PacketFate(at_s, lost=fate == "lost"))
    if length_s is None:
        raise ConfigurationError(f"line {len(lines)}: this loss trace is cut off: its last line is not 'SECONDS end'")
    return LossTrace(tuple(packets), length_s)
