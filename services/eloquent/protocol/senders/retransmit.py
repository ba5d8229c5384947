"""Retransmission as in TCP, without a congestion window, and duplication: the two baselines of the paper.

Rules of this file
- The tokens of one instant share one packet, up to the byte budget; a packet stays together for life.
- A packet is lost when its timeout has passed (RFC 6298, doubled at each retransmission), or when three packets that
  were sent after it, each only once, have been acknowledged. A lost packet is sent again with what of it is
  unacknowledged.
- Only packets that were sent once tell a round-trip time (Karn's rule, RFC 6298 §3).
- `duplicate-K` sends each transmission K times, some time apart: sent back to back, the copies would meet the same
  burst of loss. Copies are one transmission for timeouts and round-trip times.
- `tcp-simple` is another name of `retransmit`: the TCP of a plain simulator (one packet a token, a timeout of RTT + 200 ms
  doubled at each retransmission, retransmission after three later acknowledgements, no window). A plain simulator knows the
  round-trip time, and takes every acknowledgement of what was sent later as one of the three. The simulator can have both
  baselines like that (`as_in_a_plain_simulator`); the relays, who cannot know, never do.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass, replace
from math import inf

from eloquent.errors import ConfigurationError
from eloquent.protocol.datagram import PAYLOAD_BUDGET
from eloquent.protocol.frames import DataBuilder
from eloquent.protocol.rtt import MAX_TIMEOUT, KnownRtt, RttEstimator
from eloquent.protocol.scheme import Family, Scheme
from eloquent.protocol.sender import Sender
from eloquent.units import parse_duration

LATER_ACKS = 3  # packets sent later and acknowledged that prove a loss (RFC 5681 §3.2)
COPY_SPACING = 0.030  # seconds between copies; reproduces the paper's duplication figures
MAX_COPIES = 10  # the paper goes to 5


@dataclass(slots=True)
class _Packet:
    """What was sent together and is not wholly acknowledged."""

    indices: list[int]
    has_end: bool
    order: int  # of the last transmission, among all transmissions of the stream
    sent_at: float  # seconds, first copy of the last transmission
    transmissions: int = 1
    later_acks: int = 0
    lost: bool = False
    copies_left: int = 0
    copy_at: float = 0.0  # seconds, meaningful while copies are left
    payload: bytes = b""  # of a repetition; empty where `indices` or `has_end` have changed since
    token_bytes: int = 0  # in the payload


class RetransmitSender(Sender):
    """Send once (or K times), and again when lost.

    Args:
        budget: Bytes that the payload of one datagram may take.
        rtt: The path's estimator, which the streams of a session share; None for one of its own.
        copies: How often each transmission is sent, 1 to 10.
        spacing: Seconds between copies; 0 sends them back to back.
        max_timeout: Upper bound of the retransmission timeout, seconds.
        every_ack: Whether acknowledgements of retransmissions and further copies count as later ones, and not only the
            first of a packet that was sent once.
    """

    def __init__(
        self,
        *,
        budget: int = PAYLOAD_BUDGET,
        rtt: RttEstimator | None = None,
        copies: int = 1,
        spacing: float = COPY_SPACING,
        max_timeout: float = MAX_TIMEOUT,
        every_ack: bool = False,
    ) -> None:
        super().__init__(budget=budget)
        self._rtt = rtt if rtt is not None else RttEstimator()
        self._copies = copies
        self._spacing = spacing
        self._max_timeout = max_timeout
        self._every_ack = every_ack
        self._latest_acked = 0  # highest order of a transmission that was acknowledged
        self._packets: list[_Packet] = []
        self._transmissions = 0
        self._timeout_at = (
            inf  # seconds, of the first packet whose timeout passes, when the deadline was last asked for
        )

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return the copies that are due, the lost packets, and the new tokens."""
        if self._over:
            return []
        datagrams = []
        for packet in self._packets:
            if self.room <= 0:
                break
            if packet.lost:
                self.lost_from = max(self.lost_from, packet.sent_at)
                packet.transmissions += 1
                datagrams += self._transmit(packet, now)
            elif packet.copies_left and packet.copy_at <= now:
                packet.copies_left -= 1
                packet.copy_at += self._spacing
                datagrams.append(self._again(packet))
        while self._may_send_new(now):
            datagrams += self._first(now)
        return datagrams

    def _first(self, now: float) -> list[bytes]:
        if not self.outstanding:
            self._silent_since = now
        builder = DataBuilder(self._budget)
        self._take_new(builder)
        indices = [fragment.index for fragment in builder.fragments]
        packet = _Packet(indices, builder.end is not None, order=0, sent_at=now)
        self._packets.append(packet)
        redundant = self._accompany(builder)
        payload = builder.build()
        self._count(payload, redundant)
        return [payload, *self._schedule(packet, now)]

    def _accompany(self, builder: DataBuilder) -> int:  # noqa: ARG002 - for schemes that derive from this one
        """Put earlier tokens beside the new ones, and return how many bytes of them."""
        return 0

    def _transmit(self, packet: _Packet, now: float) -> list[bytes]:
        return [self._again(packet), *self._schedule(packet, now)]

    def _schedule(self, packet: _Packet, now: float) -> list[bytes]:
        """Record a transmission of a packet, and return its further copies if they go at once."""
        self._transmissions += 1
        packet.order, packet.sent_at, packet.later_acks, packet.lost = self._transmissions, now, 0, False
        if not self._spacing:
            return [self._again(packet) for _ in range(self._copies - 1)]
        packet.copies_left, packet.copy_at = self._copies - 1, now + self._spacing
        return []

    def _again(self, packet: _Packet) -> bytes:
        if not packet.payload:
            builder = DataBuilder(self._budget)
            for index in packet.indices:
                builder.add(self._unacked[index])
            if packet.has_end and self._end is not None:
                builder.add_end(self._end)
            packet.payload = builder.build()
            packet.token_bytes = sum(len(fragment.data) for fragment in builder.fragments)
        self._count(packet.payload, redundant=packet.token_bytes)
        return packet.payload

    def _wait(self, transmissions: int) -> float:
        """Return the timeout, in seconds, of a packet that was sent so many times."""
        return min(self._rtt.timeout(transmissions - 1), self._max_timeout)

    def _next_deadline(self) -> float:
        once = copy_at = inf  # when the first of the packets was sent that were sent once, as most are
        oldest: dict[int, float] = {}  # the same of the others, by transmissions
        for packet in self._packets:
            count, sent_at = packet.transmissions, packet.sent_at
            if count == 1:
                once = min(once, sent_at)
            elif count not in oldest or sent_at < oldest[count]:
                oldest[count] = sent_at
            if packet.copies_left:
                copy_at = min(copy_at, packet.copy_at)
        self._timeout_at = min([sent_at + self._wait(count) for count, sent_at in oldest.items()], default=inf)
        if once < inf:
            self._timeout_at = min(self._timeout_at, once + self._wait(1))
        return min(self._timeout_at, copy_at)

    def _deadline_passed(self, now: float) -> None:
        if now < self._timeout_at:  # only copies are due
            return
        for packet in self._packets:
            packet.lost |= now >= packet.sent_at + self._wait(packet.transmissions)

    def _acknowledged(self, newly: list[int], *, end: bool, now: float) -> None:
        if not newly and not end:  # of a further copy, or of what arrived twice
            if self._every_ack:
                self._count_later_acks([self._latest_acked])
            return
        covered = set(newly)
        told = [
            packet for packet in self._packets if not covered.isdisjoint(packet.indices) or (end and packet.has_end)
        ]
        for packet in told:
            packet.indices = [index for index in packet.indices if index not in covered]
            packet.has_end &= not end
            packet.payload = b""
        self._packets = [packet for packet in self._packets if packet.indices or packet.has_end]
        once = [packet for packet in told if packet.transmissions == 1]
        if once:
            self._rtt.sample(now - max(packet.sent_at for packet in once))
        self._latest_acked = max([self._latest_acked, *(packet.order for packet in told)])
        self._count_later_acks(sorted(packet.order for packet in (told if self._every_ack else once)))

    def _count_later_acks(self, orders: list[int]) -> None:
        """Count the acknowledgement of these transmissions, ascending, against every packet that was sent before."""
        for packet in self._packets:
            packet.later_acks += len(orders) - bisect_right(orders, packet.order)
            packet.lost |= packet.later_acks >= LATER_ACKS


def _build(match: re.Match[str], *, known_rtt: float | None = None, every_ack: bool = False) -> Scheme:
    copies, spacing = _copies(match)

    def make_sender(budget: int, rtt: RttEstimator) -> Sender:
        path = rtt if known_rtt is None else KnownRtt(known_rtt)
        return RetransmitSender(budget=budget, rtt=path, copies=copies, spacing=spacing, every_ack=every_ack)

    return Scheme(match[0], "datagram", make_sender)


def _copies(match: re.Match[str]) -> tuple[int, float]:
    """Return how many copies a scheme sends, and how many seconds apart."""
    named = match.groupdict()
    if "copies" not in named:
        return 1, COPY_SPACING
    copies = int(named["copies"])
    if not 2 <= copies <= MAX_COPIES:
        raise ConfigurationError(f"'{match[0]}' is not a scheme: give from 2 to {MAX_COPIES} copies, as in duplicate-2")
    return copies, COPY_SPACING if named["spacing"] is None else parse_duration(named["spacing"])


RETRANSMIT = Family("retransmit|tcp-simple", re.compile("retransmit|tcp-simple"), _build, "retransmit")
DUPLICATE = Family(
    "duplicate-K[-SPACING]",
    re.compile(r"duplicate-(?P<copies>\d{1,2})(?:-(?P<spacing>\d+(?:\.\d+)?ms))?"),
    _build,
    "duplicate-2",
)


def as_in_a_plain_simulator(scheme: Scheme, *, known_rtt: float | None, every_ack: bool) -> Scheme:
    """Return a baseline of the paper as a plain simulator has it, and any other scheme as it is.

    Args:
        scheme: `tcp-simple`, `duplicate-K`, or another.
        known_rtt: The round-trip time that the sender knows, in seconds; None for one that estimates it.
        every_ack: Whether every later acknowledgement counts, see `RetransmitSender`.
    """
    for family in (RETRANSMIT, DUPLICATE):
        if match := family.pattern.fullmatch(scheme.name):
            plain = _build(match, known_rtt=known_rtt, every_ack=every_ack)
            return replace(scheme, sender=plain.sender)
    return scheme
