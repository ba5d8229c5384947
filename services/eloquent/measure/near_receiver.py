"""Which packet was lost, told by a capture near the receiver, which never saw the lost ones: an estimate.

Rules of this file:

- A hole in the sequence numbers, filled later by a packet with a later timestamp than the packet that revealed the hole, was
  a lost packet, or as many as fit it by the median size. Their times lie evenly between the packets before and after it.
- What nothing in the capture fills is unknown: the capture has missed it, or ends before it was sent again.
- What no later packet overtook (the last packet of a burst), and a retransmission that was lost itself, leave no hole; a lost
  packet that was larger than most counts as several. So the loss rate is an estimate, and mostly too low.
"""

from dataclasses import dataclass, field
from statistics import median

from eloquent.measure.flows import DataPacket, FlowDirection
from eloquent.measure.transmissions import Fate, Transmission
from eloquent.protocol.ranges import RangeSet

_ASSUMED_RTT = (
    0.020  # seconds; where no handshake was seen, what tells reordering from retransmission without timestamps
)


@dataclass(slots=True)
class _Hole:
    """Bytes that a later packet overtook."""

    start: int
    end: int
    before_s: float
    after: DataPacket
    reordered: RangeSet = field(default_factory=RangeSet)
    filled: RangeSet = field(default_factory=RangeSet)  # by either

    @property
    def is_filled(self) -> bool:
        """Whether all of it has come."""
        return list(self.filled) == [(self.start, self.end)]

    def fill(self, packet: DataPacket, reordering_window: float) -> bool:
        """Enter what a late packet brings; tell whether it was only overtaken."""
        start, end = max(packet.start, self.start), min(packet.end, self.end)
        if start >= end:
            return False
        was_overtaken = _overtaken(packet, self.after, reordering_window)
        if was_overtaken:
            self.reordered.add(start, end)
        self.filled.add(start, end)
        return was_overtaken


def near_receiver(direction: FlowDirection) -> list[Transmission]:
    """Return the packets that arrived, and those that are missing, with their fates, in the order of sending.

    Args:
        direction: What a capture near the receiver saw.
    """
    one_way = (direction.rtt_s or 0.0) / 2
    reordering_window = (direction.rtt_s or _ASSUMED_RTT) / 2
    open_holes: list[_Hole] = []
    found: list[tuple[_Hole | None, Transmission]] = []
    highest, latest_s = 0, direction.data[0].at_s if direction.data else 0.0
    for packet in direction.data:
        is_late = packet.start < highest
        hole = None
        if packet.start > highest:
            hole = _Hole(highest, packet.start, latest_s, packet)
            open_holes.append(hole)
        overtaken = [one.fill(packet, reordering_window) for one in open_holes] if is_late else []
        if is_late:
            open_holes = [one for one in open_holes if not one.is_filled]
        arrival = Transmission(
            start=packet.start,
            end=packet.end,
            sent_s=packet.at_s - one_way,
            arrived_s=packet.at_s,
            fate=Fate.ARRIVED,
            is_retransmission=is_late and not any(overtaken),
            number=packet.number,
        )
        found.append((hole, arrival))
        highest, latest_s = max(highest, packet.end), packet.at_s
    typical = median(packet.end - packet.start for packet in direction.data) if direction.data else 1
    transmissions = []
    for hole, arrival in found:
        if hole is not None:
            transmissions += _lost_in(hole, typical, one_way)
        transmissions.append(arrival)
    return transmissions


def _overtaken(packet: DataPacket, revealing: DataPacket, reordering_window: float) -> bool:
    """Return whether a packet was sent before the one that revealed its absence: reordered, not lost and sent again."""
    if packet.ts_value is None or revealing.ts_value is None:
        return packet.at_s - revealing.at_s < reordering_window
    return (revealing.ts_value - packet.ts_value) % (1 << 32) < 1 << 31  # the timestamps wrap


def _lost_in(hole: _Hole, typical: float, one_way: float) -> list[Transmission]:
    """Return the packets that were lost in a hole, evenly in its bytes and its time; what was never filled is one of them."""
    size = hole.end - hole.start
    filled, reordered = (sum(end - start for start, end in ranges) for ranges in (hole.filled, hole.reordered))
    lost = filled - reordered
    fates = [Fate.LOST] * (max(1, round(lost / typical)) if lost > 0 else 0) + [Fate.UNKNOWN] * (filled < size)
    if not fates:
        return []
    each, pause = (size - reordered) / len(fates), (hole.after.at_s - hole.before_s) / (len(fates) + 1)
    return [
        Transmission(
            start=hole.start + round(each * place),
            end=hole.start + round(each * (place + 1)),
            sent_s=hole.before_s + pause * (place + 1) - one_way,
            arrived_s=None,
            fate=fate,
            is_retransmission=False,
            number=hole.after.number,
        )
        for place, fate in enumerate(fates)
    ]
