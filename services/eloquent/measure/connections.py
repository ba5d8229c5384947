"""From TCP packets to connections: which packets belong together.

Rules of this file:

- A connection is two addresses. A SYN begins one, unless it is the first one's SYN sent again; so does a SYN-ACK of another
  sequence number, where the SYN was not captured.
- Data further from the rest of a connection than any window is long does not belong to it. Where more follows it there, a
  connection has begun whose SYN was not captured; a single such packet is left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from eloquent.measure.tcp_packet import Address, TcpPacket

_CIRCLE = 1 << 32
_SMALLEST_LIMIT = 1 << 16  # bytes; a capture may not hold the packet that advertised a larger window
_ASSUMED_LIMIT = 1 << 24  # bytes; where the handshake was not captured, and so not how windows are scaled
_LARGEST_SCALE = 14  # RFC 7323, 2.3


def distance(sequence: int, origin: int) -> int:
    """Return how far a sequence number is behind another one, -2^31 .. 2^31 - 1: the numbers wrap."""
    return (sequence - origin + _CIRCLE // 2) % _CIRCLE - _CIRCLE // 2


@dataclass(slots=True)
class Connection:
    """The packets of a connection.

    Attributes:
        packets: In the order of the capture.
        numbers: Which packet of the capture each is.
    """

    packets: list[TcpPacket] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    _isn: dict[Address, int] = field(default_factory=dict)  # of the SYN, and of the SYN-ACK, by sender
    _is_closed: bool = False
    _edges: dict[Address, int] = field(default_factory=dict)  # after the last byte seen, by sender
    _window: int = 0  # largest seen, not scaled
    _scales: dict[Address, int | None] = field(default_factory=dict)  # by which windows are scaled, as the SYNs say
    _stray: tuple[int, TcpPacket] | None = None

    def is_over(self, packet: TcpPacket) -> bool:
        """Return whether a packet begins another connection on these addresses."""
        if not packet.syn:
            return False
        known = self._isn.get(packet.source)
        if known is not None:
            return known != packet.sequence or (self._is_closed and packet.acknowledged is None)
        if packet.acknowledged is not None:  # the SYN-ACK of a SYN that was captured, or was not
            asked = self._isn.get(packet.target)
            return bool(self._edges) if asked is None else (asked + 1) % _CIRCLE != packet.acknowledged
        answered = next((one for one in self.packets if one.syn), None)
        return answered is None or answered.acknowledged != (packet.sequence + 1) % _CIRCLE

    def add(self, number: int, packet: TcpPacket) -> "Connection | None":
        """Add a packet.

        Returns:
            The connection that begins with it where it does not belong to this one.
        """
        if packet.syn:
            self._isn[packet.source] = packet.sequence
            self._scales[packet.source] = packet.scale
        self._is_closed |= packet.closes
        self._window = max(packet.window, self._window)
        if packet.payload_bytes:
            edge = self._edges.get(packet.source)
            if edge is not None and abs(distance(packet.sequence, edge)) > self.limit:
                return self._set_aside(number, packet)
            after = packet.sequence + packet.payload_bytes
            if edge is None or distance(after, edge) > 0:
                self._edges[packet.source] = after % _CIRCLE
        self.packets.append(packet)
        self.numbers.append(number)
        return None

    @property
    def limit(self) -> int:
        """Bytes that no packet is away from the others of its direction: twice the largest window seen."""
        scales = [scale for scale in self._scales.values() if scale is not None]
        if len(self._scales) < 2:
            return _ASSUMED_LIMIT
        scale = min(max(scales), _LARGEST_SCALE) if len(scales) == 2 else 0
        return max(2 * self._window << scale, _SMALLEST_LIMIT)

    def _set_aside(self, number: int, packet: TcpPacket) -> "Connection | None":
        stray, self._stray = self._stray, (number, packet)
        if stray is None or stray[1].source != packet.source:
            return None
        if abs(distance(packet.sequence, stray[1].sequence)) > self.limit:
            return None
        begun = Connection()
        for one in (stray, (number, packet)):
            begun.add(*one)
        return begun


def connections(packets: Iterable[TcpPacket]) -> list[Connection]:
    """Return the connections of a capture, in the order of appearance.

    Args:
        packets: Those of a capture, in its order.
    """
    current: dict[frozenset[Address], Connection] = {}
    found: list[Connection] = []
    for number, packet in enumerate(packets):
        key = frozenset((packet.source, packet.target))
        connection = current.get(key)
        if connection is None or connection.is_over(packet):
            connection = current[key] = Connection()
            found.append(connection)
        begun = connection.add(number, packet)
        if begun is not None:
            current[key] = begun
            found.append(begun)
    return found
