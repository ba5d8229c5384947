"""Which packet was lost, told by a capture near the receiver, which never saw the lost ones: an estimate.

Rules of this file:

- A hole in the sequence numbers, filled later by a packet with a later timestamp than the packet that revealed the hole, was
  a lost packet, or as many as fit it by the median size. Their times lie evenly between the packets before and after it.
- What no later packet overtook (the last packet of a burst), and a retransmission that was lost itself, leave no hole; a lost
  packet that was larger than most counts as several. So the loss rate is an estimate, and mostly too low.
"""

from dataclasses import dataclass, field
from statistics import median

from eloquent.measure.flows import DataPacket, Direction
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


def near_receiver(direction: Direction) -> list[Transmission]:
    """Return the packets that arrived, and those that are missing, with their fates.

    Args:
        direction: What a capture near the receiver saw.
    """
    one_way = (direction.rtt_s or 0.0) / 2
    patience = (direction.rtt_s or _ASSUMED_RTT) / 2
    holes: list[_Hole] = []
    found: list[Transmission] = []
    highest, latest_s = 0, direction.data[0].at_s if direction.data else 0.0
    for packet in direction.data:
        is_late = packet.start < highest
        if packet.start > highest:
            holes.append(_Hole(highest, packet.start, latest_s, packet))
        was_reordered = False
        for hole in holes:
            if (
                is_late
                and packet.start < hole.end
                and packet.end > hole.start
                and _overtaken(packet, hole.after, patience)
            ):
                hole.reordered.add(max(packet.start, hole.start), min(packet.end, hole.end))
                was_reordered = True
        found.append(
            Transmission(
                start=packet.start,
                end=packet.end,
                sent_s=packet.at_s - one_way,
                arrived_s=packet.at_s,
                fate=Fate.ARRIVED,
                is_retransmission=is_late and not was_reordered,
            )
        )
        highest, latest_s = max(highest, packet.end), packet.at_s
    typical = median(packet.end - packet.start for packet in direction.data) if direction.data else 1
    return found + [lost for hole in holes for lost in _lost_in(hole, typical, one_way)]


def _overtaken(packet: DataPacket, revealing: DataPacket, patience: float) -> bool:
    """Tell whether a packet was sent before the one that revealed its absence: reordered, not lost and sent again."""
    if packet.ts_value is None or revealing.ts_value is None:
        return packet.at_s - revealing.at_s < patience
    return (revealing.ts_value - packet.ts_value) % (1 << 32) < 1 << 31  # the timestamps wrap


def _lost_in(hole: _Hole, typical: float, one_way: float) -> list[Transmission]:
    """Return the packets that were lost in a hole, evenly in its bytes and its time."""
    came = sum(end - start for start, end in hole.reordered)
    missing = hole.end - hole.start - came
    if missing <= 0:
        return []
    count = max(1, round(missing / typical))
    size, pause = missing / count, (hole.after.at_s - hole.before_s) / (count + 1)
    return [
        Transmission(
            start=hole.start + round(size * place),
            end=hole.start + round(size * (place + 1)),
            sent_s=hole.before_s + pause * (place + 1) - one_way,
            arrived_s=None,
            fate=Fate.LOST,
            is_retransmission=False,
        )
        for place in range(count)
    ]
