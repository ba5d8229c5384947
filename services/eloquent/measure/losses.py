"""Which packet was lost when: the fate of every packet of a TCP stream, from its sequence numbers (Eloquent §4.3).

Rules of this file:

- Near the **sender** a capture holds every packet, the lost ones too. Bytes are followed in pieces that no packet
  divides. Of the packets that carried a piece, the one that arrived is the one whose timestamp the acknowledgement of
  the piece echoes (RFC 7323); without that, the last one sent a round trip or more before the acknowledgement. Each
  DSACK of the piece (RFC 2883) tells of one more arrival. The others were lost. Where a piece was never acknowledged,
  what was sent less than a round trip before its last packet is unknown, and unknown packets enter no loss rate.
- Near the **receiver** a lost packet was never seen. A hole in the sequence numbers, filled later by a packet with a
  later timestamp than the packet that revealed the hole, was a lost packet, or as many as fit it by the median size.
  The times of such packets lie evenly between the packets before and after the hole. What no later packet overtook (the
  last packet of a burst), and a retransmission that was lost itself, leave no hole; a lost packet that was larger than
  most counts as several. So this loss rate is an estimate, and mostly too low.
- A packet is **blocked** if it arrived while bytes before it were missing; a retransmission is **blocking** if blocked
  packets had waited for it (Eloquent, figure 4).
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import median

from eloquent.channel.loss_trace import LossTrace, PacketFate
from eloquent.errors import ConfigurationError
from eloquent.measure.flows import DataPacket, Direction, Vantage
from eloquent.protocol.ranges import RangeSet

_ASSUMED_RTT = (
    0.020  # seconds; where no handshake was seen, what tells reordering from retransmission without timestamps
)
_TOLERANCE = 0.9  # share of the shortest round trip that an acknowledgement must be apart from what it acknowledges


class Fate(StrEnum):
    """What became of a packet."""

    ARRIVED = "arrived"
    LOST = "lost"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transmission:
    """One packet with data on its way from the sender to the receiver.

    Attributes:
        start: Offset of its first byte.
        end: Offset of the byte after its last.
        sent_s: When it was sent, in seconds of the capture's clock; half a round trip before or after it was seen, where
            the capture was made at the other end.
        arrived_s: When it arrived; None where it did not, or nobody knows.
        fate: What became of it.
        is_retransmission: Whether all its bytes had been sent before.
        blocked: Whether it arrived while bytes before it were missing.
        blocking: Whether it was the retransmission that blocked packets had waited for.
    """

    start: int
    end: int
    sent_s: float
    arrived_s: float | None
    fate: Fate
    is_retransmission: bool
    blocked: bool = False
    blocking: bool = False


@dataclass(frozen=True, slots=True)
class StreamFates:
    """The packets of one direction of a connection.

    Attributes:
        direction: What the capture saw.
        vantage: Where the capture was made.
        transmissions: Its packets in the order of sending.
        delivered: Instants at which the in-order stream grew, and the offset up to which it reached.
        rtt_s: Shortest round-trip time seen, in seconds; None where none was.
    """

    direction: Direction
    vantage: Vantage
    transmissions: tuple[Transmission, ...]
    delivered: tuple[tuple[float, int], ...]
    rtt_s: float | None

    @property
    def known(self) -> int:
        """Packets whose fate is known."""
        return sum(packet.fate is not Fate.UNKNOWN for packet in self.transmissions)

    @property
    def lost(self) -> int:
        """Packets that were lost."""
        return sum(packet.fate is Fate.LOST for packet in self.transmissions)

    @property
    def loss_rate(self) -> float | None:
        """The share of the packets with a known fate that was lost, 0..1; None where there are none."""
        return self.lost / self.known if self.known else None


def fates(direction: Direction, vantage: Vantage | None = None) -> StreamFates:
    """Tell the fate of each packet of a stream.

    Args:
        direction: What the capture saw.
        vantage: Where it was made; None takes what the handshake told.

    Raises:
        ConfigurationError: Neither the caller nor the handshake tells where the capture was made.
    """
    place = vantage or direction.vantage
    if place is None:
        raise ConfigurationError(
            f"the capture does not hold the handshake of {direction.sender}: say whether it was made at sender or receiver"
        )
    if place is Vantage.SENDER:
        found, rtt_s = _near_sender(direction)
    else:
        found, rtt_s = _near_receiver(direction), direction.rtt_s
    marked, delivered = _mark_blocking(found)
    return StreamFates(direction, place, tuple(sorted(marked, key=lambda one: one.sent_s)), delivered, rtt_s)


# --- near the sender


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


def _near_sender(direction: Direction) -> tuple[list[Transmission], float | None]:
    """Return the packets, and the shortest round-trip time."""
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


# --- near the receiver


@dataclass(slots=True)
class _Hole:
    """Bytes that a later packet overtook."""

    start: int
    end: int
    before_s: float
    after: DataPacket
    reordered: RangeSet = field(default_factory=RangeSet)


def _near_receiver(direction: Direction) -> list[Transmission]:
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


# --- both


def _mark_blocking(found: Iterable[Transmission]) -> tuple[list[Transmission], tuple[tuple[float, int], ...]]:
    """Mark the packets that were blocked and those that ended it, and return the growth of the in-order stream."""
    marked = []
    delivered: list[tuple[float, int]] = []
    received = RangeSet()
    reached = 0
    for packet in sorted(found, key=lambda one: (one.arrived_s is None, one.arrived_s or 0.0)):
        if packet.arrived_s is None:
            marked.append(packet)
            continue
        waiting = any(end > reached for _, end in received)
        received.add(packet.start, packet.end)
        now_reached = next((end for start, end in received if start <= reached < end), reached)
        if now_reached > reached:
            delivered.append((packet.arrived_s, now_reached))
        marked.append(
            replace(
                packet,
                blocked=packet.start > reached,
                blocking=packet.is_retransmission and waiting and now_reached > reached,
            )
        )
        reached = now_reached
    return marked, tuple(delivered)


def loss_trace(streams: Iterable[StreamFates], *, longest_pause: float = 10.0) -> LossTrace:
    """Return which packet was lost when, over all streams of a capture on one axis of time.

    Args:
        streams: The streams; packets of unknown fate are left out.
        longest_pause: Seconds without a packet, as between two sessions, that are kept; longer ones are cut to it.

    Raises:
        ConfigurationError: There are no packets.
    """
    packets = sorted(
        (packet.sent_s, packet.fate is Fate.LOST)
        for stream in streams
        for packet in stream.transmissions
        if packet.fate is not Fate.UNKNOWN
    )
    if not packets:
        raise ConfigurationError("no packets with data: no loss trace")
    trace: list[PacketFate] = []
    at_s, before_s = 0.0, packets[0][0]
    for sent_s, is_lost in packets:
        at_s += min(sent_s - before_s, longest_pause)
        before_s = sent_s
        trace.append(PacketFate(round(at_s, 6), lost=is_lost))
    gap_s = trace[-1].sent_s / (len(trace) - 1) if trace[-1].sent_s > 0 else 0.1
    return LossTrace(tuple(trace), round(trace[-1].sent_s + max(gap_s, 1e-6), 6))
