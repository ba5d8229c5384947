"""Which packet was lost, told by a capture near the sender, which holds every packet, the lost ones too.

Rules of this file:

- Bytes are followed in pieces that no packet divides. Of the packets that carried a piece, the one that arrived is the one
  whose timestamp the acknowledgement of the piece echoes (RFC 7323); without that, the last one sent a round trip or more
  before the acknowledgement. Each DSACK of the piece (RFC 2883) tells of one more arrival. The others were lost.
- A loss is known by the acknowledgements that do not tell of the packet: where none was captured two round trips or more
  after it, its fate is unknown. So is that of a packet that was sent again though its bytes had been acknowledged or were
  about to be, where the receiver tells of no duplicates.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from eloquent.measure.flows import AckPacket, DataPacket, FlowDirection
from eloquent.measure.transmissions import Fate, Transmission

_ASSUMED_RTT = 0.020  # seconds; where neither the handshake nor an acknowledgement tells it
_ANSWER_TIME = 2.0  # round trips within which the receiver tells of a packet that arrived
_TOLERANCE = 0.9  # share of the shortest round trip that an acknowledgement must be apart from what it acknowledges


@dataclass(slots=True)
class _Piece:
    """Bytes that no packet divides."""

    carriers: list[int] = field(default_factory=list)  # packets, by number, in the order of sending
    ack: AckPacket | None = None  # the first that told of it
    duplicates: int = 0

    def arrived(self, data: Sequence[DataPacket], rtt_s: float) -> tuple[set[int], set[int]]:
        """Return the carriers that arrived, and those of which nobody knows unless the receiver tells of duplicates."""
        if self.ack is None or not self.carriers:  # or the capture has missed them
            return set(), set()
        ack = self.ack
        echoed = [number for number in self.carriers if data[number].ts_value == ack.ts_echo is not None]
        in_time = [number for number in self.carriers if data[number].at_s <= ack.at_s - _TOLERANCE * rtt_s]
        chosen = echoed[0] if echoed else in_time[-1] if in_time else self.carriers[0]
        others = [number for number in self.carriers if number != chosen]
        told = {chosen, *others[len(others) - min(self.duplicates, len(others)) :]}
        return told, {number for number in others if number > chosen} - told


def near_sender(direction: FlowDirection) -> tuple[list[Transmission], float | None]:
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
    last_ack_s = max((ack.at_s for ack in direction.acks), default=float("-inf"))
    arrived: set[int] = set()
    needless: set[int] = set()
    for piece in pieces:
        told, later = piece.arrived(data, rtt_s)
        arrived |= told
        needless |= later
    found = []
    for number, packet in enumerate(data):
        is_told = packet.at_s + _ANSWER_TIME * rtt_s <= last_ack_s
        is_known = number in arrived or (is_told and (direction.tells_duplicates or number not in needless))
        fate = Fate.ARRIVED if number in arrived else Fate.LOST if is_known else Fate.UNKNOWN
        found.append(
            Transmission(
                start=packet.start,
                end=packet.end,
                sent_s=packet.at_s,
                arrived_s=packet.at_s + rtt_s / 2 if fate is Fate.ARRIVED else None,
                fate=fate,
                is_retransmission=repeated[number],
                number=packet.number,
            )
        )
    return found, shortest


def _acknowledge(direction: FlowDirection, bounds: Sequence[int], pieces: Sequence[_Piece]) -> None:
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
            pieces[one].ack = pieces[one].ack or ack


def _shortest_round_trip(direction: FlowDirection, pieces: Iterable[_Piece]) -> float | None:
    """Return it from the handshake and from what was sent once; None where nothing tells."""
    trips = [
        piece.ack.at_s - direction.data[piece.carriers[0]].at_s
        for piece in pieces
        if piece.ack is not None and len(piece.carriers) == 1
    ]
    if direction.rtt_s is not None:
        trips.append(direction.rtt_s)
    return min((trip for trip in trips if trip >= 0), default=None)
