"""What aioquic is told about congestion: nothing, as each session's own controller decides (docs/congestion.md).

Rule of this file: a datagram that a session's controller lets go is not held a second time.
"""

from collections.abc import Iterable

from aioquic.quic.congestion.base import QuicCongestionControl, register_congestion_control
from aioquic.quic.packet_builder import QuicSentPacket

ALGORITHM = "eloquent"
WINDOW = 1 << 20  # bytes


class SessionsDecide(QuicCongestionControl):
    """A window that is never met by datagrams that the sessions' controllers let go."""

    def __init__(self, *, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self.congestion_window = WINDOW

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:  # noqa: ARG002 - aioquic's signature
        """Take note that a packet has arrived."""
        self.bytes_in_flight -= packet.sent_bytes

    def on_packet_sent(self, *, packet: QuicSentPacket) -> None:
        """Take note that a packet was sent."""
        self.bytes_in_flight += packet.sent_bytes

    def on_packets_expired(self, *, packets: Iterable[QuicSentPacket]) -> None:
        """Take note that nothing will be heard of packets."""
        self.bytes_in_flight -= sum(packet.sent_bytes for packet in packets)

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:  # noqa: ARG002 - likewise
        """Take note that packets are lost."""
        self.bytes_in_flight -= sum(packet.sent_bytes for packet in packets)

    def on_persistent_congestion(self) -> None:
        """Take note that nothing gets through."""

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:
        """Take note of a round trip, in seconds."""


register_congestion_control(ALGORITHM, SessionsDecide)
