"""Which packet was lost when: the fate of every packet of a TCP stream, from its sequence numbers (Eloquent §4.3).

Rules of this file:

- What a capture tells depends on where it was made: `near_sender.py` and `near_receiver.py` have the rules.
- Packets of unknown fate enter no loss rate and no trace.
- The order is the capture's: its clock may have been set back.
- A packet is **blocked** if it arrived while bytes before it were missing; a retransmission is **blocking** if blocked
  packets had waited for it (Eloquent, figure 4).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from eloquent.addresses import format_address
from eloquent.channel.loss_trace import LossTrace, PacketFate
from eloquent.errors import ConfigurationError
from eloquent.measure.flows import FlowDirection, Vantage
from eloquent.measure.near_receiver import near_receiver
from eloquent.measure.near_sender import near_sender
from eloquent.measure.transmissions import Fate, Transmission
from eloquent.protocol.ranges import RangeSet

_CLOCK_SET_BACK = 2.0  # seconds; less is the order in which two processors, or two streams, hand in their packets


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

    direction: FlowDirection
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


def fates(direction: FlowDirection, vantage: Vantage | None = None) -> StreamFates:
    """Return the fate of each packet of a stream.

    Args:
        direction: What the capture saw.
        vantage: Where it was made; None takes what the handshake told.

    Raises:
        ConfigurationError: Neither the caller nor the handshake tells where the capture was made.
    """
    place = vantage or direction.vantage
    if place is None and not direction.acks:
        raise ConfigurationError(
            f"the capture holds what {format_address(direction.sender)} sent and no acknowledgement of it: near the sender, "
            "what became of it cannot be known; say --vantage receiver where it was made there"
        )
    if place is None:
        raise ConfigurationError(
            f"the capture does not hold the handshake of {format_address(direction.sender)} with "
            f"{format_address(direction.receiver)}: say whether it was made at sender or receiver"
        )
    if place is Vantage.SENDER:
        found, rtt_s = near_sender(direction)
    else:
        found, rtt_s = near_receiver(direction), direction.rtt_s
    marked, delivered = _mark_blocking(found)
    return StreamFates(direction, place, tuple(marked), delivered, rtt_s)


def _mark_blocking(found: Iterable[Transmission]) -> tuple[list[Transmission], tuple[tuple[float, int], ...]]:
    """Mark the packets that were blocked and those that ended it, and return the growth of the in-order stream."""
    marked = []
    delivered: list[tuple[float, int]] = []
    received = RangeSet()
    reached = 0
    for packet in found:
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
        (packet for stream in streams for packet in stream.transmissions if packet.fate is not Fate.UNKNOWN),
        key=lambda packet: packet.number,
    )
    if not packets:
        raise ConfigurationError("no packets of known fate: no loss trace")
    trace: list[PacketFate] = []
    at_s, latest_s = 0.0, packets[0].sent_s
    for packet in packets:
        if not latest_s - _CLOCK_SET_BACK < packet.sent_s < latest_s:
            at_s += min(max(packet.sent_s - latest_s, 0.0), longest_pause)
            latest_s = packet.sent_s
        trace.append(PacketFate(round(at_s, 6), lost=packet.fate is Fate.LOST))
    gap_s = trace[-1].sent_s / (len(trace) - 1) if trace[-1].sent_s > 0 else 0.1
    return LossTrace(tuple(trace), round(trace[-1].sent_s + max(gap_s, 1e-6), 6))
