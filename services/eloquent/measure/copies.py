"""One packet that a host captured on several of its interfaces is one packet.

Rules of this file:

- A copy has the IP identification, the numbers and the timestamps of the first within a few milliseconds; a
  retransmission has not.
- Where the host translates addresses (NAT, as for containers), its copies have other addresses. The first such copy, on
  another interface, tells that two pairs of addresses are one connection; from then on they are, under the first pair.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace

from eloquent.measure.capture_file import Record
from eloquent.measure.tcp_packet import Address, TcpPacket

_COPY_TIME = 0.005  # seconds within which the copies of one packet pass all interfaces of a host
_REMEMBERED = 10_000  # packets
_COOKED, _COOKED2 = 113, 276  # link types of a capture of all interfaces

_Pair = tuple[Address, Address]


class Copies:
    """Tells copies from packets, and gives a connection that was translated its first addresses."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Hashable, tuple[float, _Pair, Hashable]] = OrderedDict()
        self._first_pair: dict[_Pair, _Pair] = {}

    def original(self, packet: TcpPacket, identification: int | None, record: Record) -> TcpPacket | None:
        """Return the packet, with the addresses under which its connection was seen first; None where it is a copy.

        Args:
            packet: The next one of the capture.
            identification: Of its IP header; None in IPv6.
            record: Where it was captured.
        """
        pair = (packet.source, packet.target)
        pair = self._first_pair.get(pair, pair)
        content = (
            identification, packet.sequence, packet.acknowledged, packet.syn, packet.closes, packet.window,
            packet.payload_bytes, packet.sacks, packet.ts_value, packet.ts_echo,
        )  # fmt: skip
        interface = _interface(record)
        same = self._seen.get((content, pair))
        if same is not None and abs(packet.at_s - same[0]) < _COPY_TIME:
            return None
        other = self._seen.get(content)
        if (
            other is not None
            and abs(packet.at_s - other[0]) < _COPY_TIME
            and other[1] != pair
            and (interface is None or interface != other[2])
            and set(other[1]) & set(pair)
        ):
            self._first_pair[pair] = other[1]
            self._first_pair[pair[::-1]] = other[1][::-1]
            return None
        for key in (content, (content, pair)):
            self._seen.pop(key, None)
            self._seen[key] = (packet.at_s, pair, interface)
        while len(self._seen) > 2 * _REMEMBERED:
            self._seen.popitem(last=False)
        return packet if pair == (packet.source, packet.target) else replace(packet, source=pair[0], target=pair[1])


def _interface(record: Record) -> Hashable:
    """Return which interface a record tells of; None where it does not tell (Linux's first cooked form)."""
    if record.link_type == _COOKED:
        return None
    return (record.interface, record.frame[4:8] if record.link_type == _COOKED2 else b"")
