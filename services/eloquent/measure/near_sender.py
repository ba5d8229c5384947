"""Which packet was lost, told by a capture near the sender, which holds every packet, the lost ones too.

Rules of this file:

- Bytes are followed in pieces that no packet divides. Of the packets that carried a piece, the one that arrived is the one
  whose timestamp the acknowledgement of the piece echoes (RFC 7323); without that, the last one sent a round trip or more
  before the acknowledgement. Each DSACK of the piece (RFC 2883) tells of one more arrival. The others were lost.
- Where a piece was never acknowledged, what was sent less than a round trip before its last packet is unknown.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from eloquent.measure.flows import DataPacket, Direction
from eloquent.measure.transmissions import Fate, Transmission

_ASSUMED_RTT = 0.020  # seconds; where neither the handshake nor an acknowledgement tells it
_TOLERANCE = 0.9  # share of the shortest round trip that an acknowledgement must be apart from what it acknowledges


@dataclass(slots=True)
class _Piece:
    """Bytes that no packet divides."""

    carriers: list[int] = field(default_factory=list)  # packets, by number, in the order of sending
    acknowledged_s: float | None = None
    ts_echo: int | None = None
    duplicates: int = 0

    def arrived(self, data: Sequence[DataPacket], rtt_s: float) -> set[int]:
        """Return the carriers that arrived."""
        if self.acknowledged_s is None:
            return set()
        acknowledged_s = self.acknowledged_s
        echoed = [number for number in self.carriers if data[number].ts_value == self.ts_echo is not None]
        in_time = [number for number in self.carriers if data[number].at_s <= acknowledged_s - _TOLERANCE * rtt_s]
        chosen = echoed[0] if echoed else in_time[-1] if in_time else self.carriers[0]
        others = [number for number in self.carriers if number != chosen]
        return {chosen, *others[len(others) - min(self.duplicates, len(others)) :]}


def near_sender(direction: Direction) -> tuple[list[Transmission], float | None]:
    """Return the packets with their fates, and the shortest round-trip time seen, in seconds.

    Args:
        direction: What a capture near the sender saw.
    """
    data = direction.data
    bounds = sorted({packet.start for packet in data} | {packet.end for packet in data})
    pieces = [_Piece() for _ in bounds[1:]]
    repeated = []
    for number, packet in enumerate(data):
        inside = range(bisect_left(bounds, packet.start), bisect_left(bounds, packet.end))
        repeated.append(all(pieces[place].carriers for place in inside))
        for place in inside:
            pieces[place].carriers.append(number)
    _acknowledge(direction, bounds, pieces)
    shortest = _shortest_round_trip(direction, pieces)
    rtt_s = _ASSUMED_RTT if shortest is None else shortest
    arrived: set[int] = set()
    unknown: set[int] = set()
    for piece in pieces:
        arrived |= piece.arrived(data, rtt_s)
        if piece.acknowledged_s is None and piece.carriers:
            last_s = data[piece.carriers[-1]].at_s
            unknown.update(number for number in piece.carriers if last_s - data[number].at_s < rtt_s)
    found = [
        Transmission(
            start=packet.start,
            end=packet.end,
            sent_s=packet.at_s,
            arrived_s=packet.at_s + rtt_s / 2 if number in arrived else None,
            fate=Fate.ARRIVED if number in arrived else Fate.UNKNOWN if number in unknown else Fate.LOST,
            is_retransmission=repeated[number],
        )
        for number, packet in enumerate(data)
    ]
    return found, shortest


def _acknowledge(direction: Direction, bounds: Sequence[int], pieces: Sequence[_Piece]) -> None:
    """Enter what each acknowledgement tells of the pieces."""
    acknowledged = 0  # pieces
    for ack in direction.acks:
        up_to = max(acknowledged, bisect_left(bounds, ack.up_to))
        fresh = list(range(acknowledged, min(up_to, len(pieces))))
        acknowledged = up_to
        for place, (start, end) in enumerate(ack.blocks):
            inside = range(bisect_left(bounds, start), min(bisect_left(bounds, end), len(pieces)))
            in_next = len(ack.blocks) > 1 and ack.blocks[1][0] <= start and end <= ack.blocks[1][1]
            if place == 0 and (end <= ack.up_to or in_next):  # a DSACK
                for one in inside:
                    pieces[one].duplicates += 1
            else:
                fresh.extend(inside)
        for one in fresh:
            if pieces[one].acknowledged_s is None:
                pieces[one].acknowledged_s, pieces[one].ts_echo = ack.at_s, ack.ts_echo


def _shortest_round_trip(direction: Direction, pieces: Iterable[_Piece]) -> float | None:
    """Return it from the handshake and from what was sent once; None where nothing tells."""
    trips = [
        piece.acknowledged_s - direction.data[piece.carriers[0]].at_s
        for piece in pieces
        if piece.acknowledged_s is not None and len(piece.carriers) == 1
    ]
    if direction.rtt_s is not None:
        trips.append(direction.rtt_s)
    return min((trip for trip in trips if trip >= 0), default=None)
