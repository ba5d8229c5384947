"""From TCP packets to the directions that carried data: sequence numbers become byte offsets of a stream.

Rules of this file:

- Offsets count from the first byte of data. Sequence numbers are 32 bits and wrap; offsets do not.
- Tokens come from the server, which is whom the SYN was sent to, however long the question was.
- A probe is no data: one byte that had been acknowledged already (a keep-alive), or that a closed window turns away.
- The handshake tells where the capture was made: the SYN is answered at once near the server, the SYN-ACK near the
  client. It also tells the round-trip time, which is the sum of the two waits wherever the capture was made. Where it was
  not captured, another connection on the same addresses tells.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from eloquent.measure.connections import Connection, connections, distance
from eloquent.measure.tcp_packet import Address, TcpPacket
from eloquent.protocol.ranges import RangeSet


class Vantage(StrEnum):
    """Where a capture was made, as seen from the data."""

    SENDER = "sender"
    RECEIVER = "receiver"


@dataclass(frozen=True, slots=True)
class DataPacket:
    """One packet with data, as the capture saw it.

    Attributes:
        at_s: When.
        start: Offset of its first byte.
        end: Offset of the byte after its last.
        wire_bytes: Its length with IP and TCP headers.
        ts_value: Its timestamp, where it has one.
        number: Which packet of the capture it is.
    """

    at_s: float
    start: int
    end: int
    wire_bytes: int
    ts_value: int | None
    number: int = 0


@dataclass(frozen=True, slots=True)
class AckPacket:
    """One acknowledgement, as the capture saw it.

    Attributes:
        at_s: When.
        up_to: Offset up to which all has arrived.
        blocks: Ranges of offsets that it reports beyond that, or again (DSACK), as it listed them.
        ts_echo: The timestamp that it echoes.
        number: Which packet of the capture it is.
    """

    at_s: float
    up_to: int
    blocks: tuple[tuple[int, int], ...]
    ts_echo: int | None
    number: int = 0


@dataclass(frozen=True, slots=True)
class FlowDirection:
    """One direction of a connection that carried data.

    Attributes:
        sender: Who sent it.
        receiver: Who got it.
        vantage: Where the capture was made, as the handshake tells; None where it was not seen.
        rtt_s: Round-trip time of the handshake in seconds; None where it was not seen.
        data: The packets with data, in the order of the capture.
        acks: The acknowledgements of the other side, in the order of the capture.
        tells_duplicates: Whether the receiver would tell of bytes that arrived twice (DSACK, RFC 2883).
        segment: Longest segment that the receiver takes, in bytes; None where its SYN was not seen, or does not say.
        shorter_wait_s: The shorter of the two waits of the handshake in seconds; None where it was not seen.
    """

    sender: Address
    receiver: Address
    vantage: Vantage | None
    rtt_s: float | None
    data: tuple[DataPacket, ...]
    acks: tuple[AckPacket, ...]
    tells_duplicates: bool = True
    segment: int | None = None
    shorter_wait_s: float | None = None

    @property
    def payload_bytes(self) -> int:
        """Bytes of the stream, as far as they were seen."""
        return max((packet.end for packet in self.data), default=0)

    @property
    def missed_bytes(self) -> int:
        """Bytes that were acknowledged, and in no packet of the capture: it is not complete."""
        up_to = max((ack.up_to for ack in self.acks), default=0)
        seen = RangeSet((packet.start, packet.end) for packet in self.data)
        covered = sum(max(0, min(end, up_to) - max(start, 0)) for start, end in seen)
        beyond = up_to - self.payload_bytes
        return max(0, min(up_to, self.payload_bytes) - covered) + (beyond if beyond > 1 else 0)  # a FIN counts 1


def directions(packets: Iterable[TcpPacket]) -> list[FlowDirection]:
    """Return, of each connection, the direction in which the server sent data, in the order of appearance.

    Of a connection whose SYN was not seen it is the direction that carried more data.

    Args:
        packets: Those of a capture, in its order.
    """
    found = [one for one in map(_direction, connections(packets)) if one is not None]
    told: dict[tuple[Address, Address], set[Vantage]] = {}
    for one in found:
        if one.vantage is not None:
            told.setdefault((one.sender, one.receiver), set()).add(one.vantage)
    for place, one in enumerate(found):
        others = told.get((one.sender, one.receiver), set())
        if one.vantage is None and len(others) == 1:
            found[place] = replace(one, vantage=next(iter(others)))
    return found


def _direction(connection: Connection) -> FlowDirection | None:
    packets = connection.packets
    ends = _ends(packets)
    if ends is None:
        return None
    sender, receiver = ends
    stream = _Stream(_origin(packets, sender), connection.limit)
    for number, packet in zip(connection.numbers, packets, strict=True):
        if packet.source == sender and packet.payload_bytes:
            stream.add_data(number, packet)
        elif packet.source == receiver and packet.acknowledged is not None:
            stream.add_ack(number, packet)
    if not stream.data:
        return None
    to_server, to_client = _handshake(packets)
    vantage, rtt_s, shorter_s = None, None, None
    if to_server is not None and to_client is not None:
        vantage = Vantage.SENDER if to_server < to_client else Vantage.RECEIVER
        rtt_s, shorter_s = to_server + to_client, min(to_server, to_client)
    opened = [packet for packet in packets if packet.syn]
    return FlowDirection(
        sender,
        receiver,
        vantage,
        rtt_s,
        tuple(stream.data),
        tuple(stream.acks),
        tells_duplicates=any(ack.blocks for ack in stream.acks) or {one.sack_permitted for one in opened} == {True},
        segment=next((packet.segment for packet in opened if packet.source == receiver), None),
        shorter_wait_s=shorter_s,
    )


def _ends(packets: Sequence[TcpPacket]) -> tuple[Address, Address] | None:
    """Return who sent the data and who got it; None where nobody did."""
    volumes: dict[tuple[Address, Address], int] = {}
    for packet in packets:
        way = (packet.source, packet.target)
        volumes[way] = volumes.get(way, 0) + packet.payload_bytes
    way = max(volumes, key=lambda one: volumes[one])
    opener = next((packet for packet in packets if packet.syn), None)
    if opener is not None:
        way = (opener.target, opener.source) if opener.acknowledged is None else (opener.source, opener.target)
    return way if volumes.get(way) else None


def _origin(packets: Sequence[TcpPacket], sender: Address) -> int:
    """Return the sequence number of the first byte: after the SYN, or else of the first data that was seen."""
    forward = [packet for packet in packets if packet.source == sender]
    opening = [packet.sequence + 1 for packet in forward if packet.syn]
    return opening[-1] if opening else next(packet.sequence for packet in forward if packet.payload_bytes)


class _Stream:
    """The data of one direction and its acknowledgements, as offsets."""

    def __init__(self, origin: int, limit: int) -> None:
        self.data: list[DataPacket] = []
        self.acks: list[AckPacket] = []
        self._origin = origin
        self._limit = limit
        self._highest = 0  # offset after the last byte seen
        self._acknowledged: int | None = None
        self._is_closed = False  # whether the receiver's window is

    def add_data(self, number: int, packet: TcpPacket) -> None:
        """Take a packet with data."""
        start = self._offset(packet.sequence + packet.syn)  # a SYN takes a number (RFC 9293, 3.4)
        end = start + packet.payload_bytes
        if end - start == 1 and self._acknowledged is not None:
            is_keep_alive = end == self._highest <= self._acknowledged
            if is_keep_alive or (self._is_closed and start == self._acknowledged):
                return
        self._highest = max(self._highest, end)
        self.data.append(DataPacket(packet.at_s, start, end, packet.wire_bytes, packet.ts_value, number))

    def add_ack(self, number: int, packet: TcpPacket) -> None:
        """Take an acknowledgement; one of bytes that are nowhere near is none of this stream."""
        assert packet.acknowledged is not None
        up_to = self._offset(packet.acknowledged)
        if abs(up_to - self._highest) > self._limit:
            return
        self._acknowledged = max(self._acknowledged or 0, up_to)
        self._is_closed = packet.window == 0
        blocks = tuple((self._offset(one), self._offset(two)) for one, two in packet.sacks)
        self.acks.append(AckPacket(packet.at_s, up_to, blocks, packet.ts_echo, number))

    def _offset(self, sequence: int) -> int:
        """Return an offset near the highest one so far: sequence numbers wrap, offsets do not."""
        return self._highest + distance(sequence, self._origin + self._highest)


def _handshake(packets: Sequence[TcpPacket]) -> tuple[float | None, float | None]:
    """Return the wait for the SYN-ACK and the wait for its ACK, each the shortest, for either may be sent again.

    Of several SYNs, the one that was answered is the one whose timestamp the SYN-ACK echoes, or else the last one. An ACK that
    stands before what it acknowledges was captured on another processor: it came at once.
    """
    asked: list[TcpPacket] = []
    answered = to_server = None
    acks: list[TcpPacket] = []
    for packet in packets:
        if packet.syn and packet.acknowledged is None:
            asked.append(packet)
        elif asked and packet.syn:
            answered = packet
            echoed = [one for one in asked if one.ts_value == packet.ts_echo is not None]
            wait = packet.at_s - (echoed or asked)[-1].at_s
            to_server = wait if to_server is None else min(to_server, wait)
        elif asked and packet.source == asked[-1].source:
            acks.append(packet)
            if answered is not None:
                break
    if answered is None or not acks:
        return to_server, None
    is_early = acks[0].acknowledged == (answered.sequence + 1) % (1 << 32) and acks[0] is not acks[-1]
    return to_server, 0.0 if is_early else max(0.0, acks[-1].at_s - answered.at_s)
