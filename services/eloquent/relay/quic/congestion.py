"""What a QUIC connection may have under way: what its sessions' own controllers let go, and a window of Reno's for all else.

Rules of this file
- The datagrams of sessions are controlled before QUIC sees them (`protocol.congestion`). Here they always have room, in the window
  and at the pace, and are counted apart: as much of QUIC's window as they take is theirs and grows and shrinks with them.
- All else, which is handshakes and streams, shares a window of its own: NewReno (RFC 9002 §7), ten packets at first, halved by
  its own losses, two packets after persistent congestion, and paced. There is no window that nothing changes.
- A peer whose QUIC acknowledges nothing for `SILENCE_LIMIT` while datagrams are under way gets no more of them, whatever its
  endpoint inside says, so that what is kept of them has a bound.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator

from aioquic.quic.congestion.base import QuicCongestionControl, register_congestion_control
from aioquic.quic.congestion.reno import RenoCongestionControl
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.recovery import QuicPacketPacer

from eloquent.protocol.session_base import SILENCE_LIMIT

ALGORITHM = "eloquent"  # by which `QuicConfiguration.congestion_control_algorithm` names the control of this file
_ACK_ROOM = 300  # bytes that acknowledgements take at most beside datagrams: 64 ranges, and what is before them


class QuicCongestion(QuicCongestionControl):
    """The control of one connection, as aioquic wants it.

    Args:
        max_datagram_size: Bytes of UDP payload.

    Attributes:
        datagrams_in_flight: Bytes of packets with datagrams of sessions that QUIC knows nothing of yet.
        promised: Bytes that the datagrams take that are to leave in this very moment.
        rest: The control of all else.
    """

    def __init__(self, *, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self.datagrams_in_flight = 0
        self.promised = 0
        self.rest = RenoCongestionControl(max_datagram_size=max_datagram_size)
        self._shares: dict[tuple[int, int], int] = {}  # of packets in flight: bytes that are the datagrams'
        self._unheard_since = math.inf  # seconds; since when datagrams are under way and nothing was acknowledged
        self._add_up()

    def promise(self, size: int) -> None:
        """Make room for the datagrams that leave now.

        Args:
            size: Bytes of their packets; 0 if there is none, or none any more.
        """
        self.promised = size + _ACK_ROOM if size else 0
        self._add_up()

    def is_deaf(self, now: float) -> bool:
        """Return whether the peer has acknowledged nothing for so long that it gets no more."""
        return now - self._unheard_since > SILENCE_LIMIT

    def on_packet_sent(self, *, packet: QuicSentPacket) -> None:
        """Count a packet."""
        share = min(self.promised, packet.sent_bytes)
        self.promised -= share
        if share:
            if not self._shares:
                self._unheard_since = packet.sent_time or 0.0
            self._shares[packet.epoch.value, packet.packet_number] = share
            self.datagrams_in_flight += share
        if share < packet.sent_bytes:
            self.rest.on_packet_sent(packet=_part(packet, packet.sent_bytes - share))
        self._add_up()

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        """Count what has arrived."""
        for part in self._settle([packet]):
            self.rest.on_packet_acked(now=now, packet=part)
        self._unheard_since = now if self._shares else math.inf
        self._add_up()

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:
        """Count what was lost; only what is not the sessions' cuts a window here, as theirs have their own."""
        if parts := list(self._settle(packets)):
            self.rest.on_packets_lost(now=now, packets=parts)
        self._add_up()

    def on_packets_expired(self, *, packets: Iterable[QuicSentPacket]) -> None:
        """Count no more what nothing will be heard of."""
        self.rest.on_packets_expired(packets=list(self._settle(packets)))
        self._add_up()

    def on_persistent_congestion(self) -> None:
        """Leave all else two packets (RFC 9002 §7.6); the sessions' controllers have met the silence before."""
        self.rest.on_persistent_congestion()
        self._add_up()

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:
        """Let slow start end where the round trip grows."""
        self.rest.on_rtt_measurement(now=now, rtt=rtt)

    def _settle(self, packets: Iterable[QuicSentPacket]) -> Iterator[QuicSentPacket]:
        """Take the datagrams' share of packets out of the count, and yield the rest."""
        for packet in packets:
            share = self._shares.pop((packet.epoch.value, packet.packet_number), 0)
            self.datagrams_in_flight -= share
            if not self._shares:
                self._unheard_since = math.inf
            if share < packet.sent_bytes:
                yield _part(packet, packet.sent_bytes - share)

    def _add_up(self) -> None:
        self.bytes_in_flight = self.datagrams_in_flight + self.rest.bytes_in_flight
        room = max(self.rest.congestion_window, self.rest.bytes_in_flight)
        self.congestion_window = self.datagrams_in_flight + self.promised + room


def _part(packet: QuicSentPacket, size: int) -> QuicSentPacket:
    return packet if size == packet.sent_bytes else dataclasses.replace(packet, sent_bytes=size)


class RestPacer(QuicPacketPacer):
    """Paces what is not the sessions': their datagrams have a pace, and aioquic counts each packet as a full one.

    Args:
        control: The control of the same connection.
        max_datagram_size: Bytes of UDP payload.
    """

    def __init__(self, control: QuicCongestion, *, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self._control = control

    def next_send_time(self, now: float) -> float | None:  # type: ignore[override]  # aioquic's declaration is too narrow
        """Return when the next packet may leave, or None for now."""
        return None if self._control.promised else super().next_send_time(now)

    def update_after_send(self, now: float) -> None:
        """Count a packet."""
        if not self._control.promised:
            super().update_after_send(now)

    def update_rate(self, congestion_window: int, smoothed_rtt: float) -> None:  # noqa: ARG002 - that of the rest counts
        """Take note of the round trip, in seconds."""
        super().update_rate(self._control.rest.congestion_window, smoothed_rtt)


register_congestion_control(ALGORITHM, QuicCongestion)
