"""From TCP packets to the directions that carried data: sequence numbers become byte offsets of a stream.

Rules of this file:

- A connection is two addresses; a SYN with another sequence number begins a new one on the same addresses.
- Offsets count from the first byte of data. Sequence numbers are 32 bits and wrap; offsets do not.
- Tokens come from the server, which is whom the SYN was sent to, however long the question was.
- The handshake tells where the capture was made: the SYN is answered at once near the server, the SYN-ACK near the
  client. It also tells the round-trip time, which is the sum of the two waits wherever the capture was made.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from eloquent.measure.packets import Address, TcpPacket

_CIRCLE = 1 << 32


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
    """

    at_s: float
    start: int
    end: int
    wire_bytes: int
    ts_value: int | None


@dataclass(frozen=True, slots=True)
class AckPacket:
    """One acknowledgement, as the capture saw it.

    Attributes:
        at_s: When.
        up_to: Offset up to which all has arrived.
        blocks: Ranges of offsets that it reports beyond that, or again (DSACK), as it listed them.
        ts_echo: The timestamp that it echoes.
    """

    at_s: float
    up_to: int
    blocks: tuple[tuple[int, int], ...]
    ts_echo: int | None


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of a connection that carried data.

    Attributes:
        sender: Who sent it.
        receiver: Who got it.
        vantage: Where the capture was made, as the handshake tells; None where it was not seen.
        rtt_s: Round-trip time of the handshake in seconds; None where it was not seen.
        data: The packets with data, in the order of the capture.
        acks: The acknowledgements of the other side, in the order of the capture.
    """

    sender: Address
    receiver: Address
    vantage: Vantage | None
    rtt_s: float | None
    data: tuple[DataPacket, ...]
    acks: tuple[AckPacket, ...]

    @property
    def payload_bytes(self) -> int:
        """Bytes of the stream, as far as they were seen."""
        return max((packet.end for packet in self.data), default=0)


@dataclass(slots=True)
class _Connection:
    packets: list[TcpPacket] = field(default_factory=list)
    opening: int | None = None  # sequence number of the SYN


def directions(packets: Iterable[TcpPacket]) -> list[Direction]:
    """Return, of each connection, the direction in which the server sent data, in the order of appearance.

    Of a connection whose SYN was not seen it is the direction that carried more data.

    Args:
        packets: Those of a capture, in its order.
    """
    current: dict[frozenset[Address], _Connection] = {}
    connections: list[_Connection] = []
    for packet in packets:
        key = frozenset((packet.source, packet.target))
        connection = current.get(key)
        opens = packet.syn and packet.acknowledged is None
        if connection is None or (opens and connection.opening not in {None, packet.sequence}):
            connection = current[key] = _Connection()
            connections.append(connection)
        if opens:
            connection.opening = packet.sequence
        connection.packets.append(packet)
    found = [_direction(connection.packets) for connection in connections]
    return [direction for direction in found if direction is not None]


def _direction(packets: Sequence[TcpPacket]) -> Direction | None:
    volumes: dict[tuple[Address, Address], int] = {}
    for packet in packets:
        way = (packet.source, packet.target)
        volumes[way] = volumes.get(way, 0) + packet.payload_bytes
    sender, receiver = max(volumes, key=lambda way: volumes[way])
    opener = next((packet for packet in packets if packet.syn and packet.acknowledged is None), None)
    if opener is not None:
        sender, receiver = opener.target, opener.source
    if not volumes.get((sender, receiver)):
        return None
    data: list[DataPacket] = []
    acks: list[AckPacket] = []
    forward = [packet for packet in packets if packet.source == sender]
    opening = next((packet.sequence + 1 for packet in forward if packet.syn), None)
    first = next(packet.sequence for packet in forward if packet.payload_bytes)
    offsets = _Offsets(first if opening is None else opening)
    for packet in packets:
        if packet.source == sender and packet.payload_bytes:
            start = offsets.place(packet.sequence + packet.syn)  # a SYN takes a number (RFC 9293, 3.4)
            data.append(
                DataPacket(packet.at_s, start, start + packet.payload_bytes, packet.wire_bytes, packet.ts_value)
            )
        elif packet.source == receiver and packet.acknowledged is not None:
            blocks = tuple((offsets.near(one), offsets.near(two)) for one, two in packet.sacks)
            acks.append(AckPacket(packet.at_s, offsets.near(packet.acknowledged), blocks, packet.ts_echo))
    to_server, to_client = _handshake(packets)
    vantage, rtt_s = None, None
    if to_server is not None and to_client is not None:
        vantage = Vantage.SENDER if to_server < to_client else Vantage.RECEIVER
        rtt_s = to_server + to_client
    return Direction(sender, receiver, vantage, rtt_s, tuple(data), tuple(acks))


class _Offsets:
    """Turns sequence numbers into offsets, near the highest offset so far."""

    def __init__(self, base: int) -> None:
        self._base = base
        self._highest = 0

    def place(self, sequence: int) -> int:
        offset = self.near(sequence)
        self._highest = max(self._highest, offset)
        return offset

    def near(self, sequence: int) -> int:
        distance = (sequence - self._base - self._highest) % _CIRCLE
        return self._highest + (distance if distance < _CIRCLE // 2 else distance - _CIRCLE)


def _handshake(packets: Sequence[TcpPacket]) -> tuple[float | None, float | None]:
    """Return the wait for the SYN-ACK and the wait for its ACK, each the shortest, for either may be sent again."""
    asked = answered = to_server = to_client = None
    for packet in packets:
        if packet.syn and packet.acknowledged is None:
            asked = packet
        elif asked is not None and packet.syn:
            answered, wait = packet, packet.at_s - asked.at_s
            to_server = wait if to_server is None else min(to_server, wait)
        elif asked is not None and answered is not None and packet.source == asked.source:
            to_client = packet.at_s - answered.at_s
            break
    return to_server, to_client
