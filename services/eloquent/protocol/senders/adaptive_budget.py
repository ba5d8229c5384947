"""What an adaptive sender may send: a token bucket of bytes, refilled by new tokens, and pacing by the clock.

Rules of this file
- Credit is in bytes on the wire. Each packet with something new is credited with at least its own size without redundancy,
  so new tokens can always be sent; what is left pays for redundancy. On a lossy path the credit is what it would cost to
  send everything twice until it arrives: 2 / (1 - loss) packets, the price of `duplicate-2`.
- While the reader needs no redundancy, a packet is credited with no more than itself once the reserve is full: whatever is
  saved is spent sooner or later, so to save more would save nothing.
- On a clean path each packet puts some credit aside, which the first sign of loss releases. After the end of the stream,
  until that is acknowledged, repetitions at the tokens' pace are credited like new tokens, unless the peer is silent.
- Repetitions between tokens leave a reserve untouched, so that the packets of new tokens never go short during a burst.
- Only a timeout, or a fragment larger than all the credit, may exceed the credit; the excess counts as `overdrawn`, and the
  credit stays at 0.
- Invariant: bytes sent = `spent` <= `credited` + `overdrawn`.
- With a limit of packets a second, packets are paced evenly, with a burst of one: in any T seconds there are at most
  `packets_per_s` x T + 2 packets.
"""

import math
from dataclasses import dataclass

from eloquent.protocol.sender import IP_UDP_HEADERS

TCP_HEADERS = 52  # bytes, IPv4 (20) and TCP with timestamps (32), as Linux sends: the yardstick of a clean path
ASIDE = 0.1  # of a packet's credit on a clean path, put aside in addition: a minute of ten tokens a second fills it
MAX_LOSS = 0.7  # the loss above which a lossy path brings no more credit: whoever loses that much should not send more


@dataclass(frozen=True, slots=True)
class CreditLimits:
    """How much an adaptive sender may spend.

    Attributes:
        packets_per_s: Packets a second, or None for no limit.
        clean: A packet's credit on a clean path, in sizes of a TCP packet with the same new tokens.
        copies: How often everything can be sent until it arrives for the credit of a lossy path; None for no limit but the
            size of a packet.
        start: Credit at the beginning, in quanta (the credit of one packet).
        most: Size of the bucket on a lossy path, in quanta; half of it on a clean one.
        aside: Credit that a clean path can put aside for its first sign of loss, in quanta.
        reserve: Credit that repetitions between tokens leave for the packets of new tokens, in quanta.
        packet: What a packet of new tokens may take where the credit is low, in quanta.
        share: What it may take otherwise, as a share of the credit.
    """

    packets_per_s: float | None = None
    clean: float = 1.16
    copies: float | None = 2.0
    start: float = 8.0
    most: float = 60.0
    aside: float = 60.0
    reserve: float = 16.0
    packet: float = 1.6
    share: float = 0.25


class TokenBucket:
    """The credit and the pacing of one stream. What the bucket holds is bytes; "token" in its name is the field's word.

    Args:
        limits: How much may be sent.

    Attributes:
        credit: Bytes that may be spent now; infinite while nothing limits them.
        quantum: Credit of the last packet with something new, bytes.
        credited: All credit so far, bytes.
        spent: All that was sent, bytes.
        overdrawn: What timeouts sent without credit, bytes.
        paced_until: Instant before which only a packet of the burst may be sent.
    """

    def __init__(self, limits: CreditLimits) -> None:
        self._limits = limits
        self.credit = 0.0
        self.quantum = 0.0
        self.credited = 0.0
        self.spent = 0.0
        self.overdrawn = 0.0
        self.paced_until = -math.inf
        self._aside = 0.0

    @property
    def next_send(self) -> float:
        """The earliest instant at which a packet with new tokens may be sent."""
        rate = self._limits.packets_per_s
        return -math.inf if rate is None else self.paced_until - 1 / rate

    @property
    def reserve(self) -> float:
        """Bytes of credit that are kept for the packets of new tokens."""
        return self._limits.reserve * self.quantum

    def refill(self, *, alone: int, token_bytes: int, loss: float | None, end: bool, calm: bool = False) -> None:
        """Add the credit of a packet with something new, before the packet is spent.

        Args:
            alone: Its bytes on the wire without redundancy.
            token_bytes: Bytes of new tokens in it.
            loss: Share of packets lost on a lossy path, 0..1; None on a clean one.
            end: Whether it is the first with the end of the stream; it may be small, and has no less credit than the one before.
            calm: Whether the reader needs no redundancy: no more than the reserve is saved.
        """
        limits = self._limits
        if loss is not None and limits.copies is None:
            self.credit = self.credited = math.inf
            return
        if math.isinf(self.credit):
            self.credit = 0.0
        if loss is None or limits.copies is None:
            factor, most = limits.clean * (TCP_HEADERS + token_bytes) / alone, limits.most / 2
        else:
            factor, most = limits.copies / (1.0 - min(loss, MAX_LOSS)), limits.most
        start = limits.start if self.quantum == 0 else 0.0
        self.quantum = max(factor * alone, alone, self.quantum if end else 0.0)
        if loss is None:
            self._aside = min(self._aside + ASIDE * self.quantum, limits.aside * self.quantum)
        gained = (1.0 + start) * self.quantum
        if calm:
            gained = min(gained, max(self.reserve - self.credit, alone))
        self.credit = min(self.credit + gained, most * self.quantum)
        self.credited += gained

    def refill_tail(self) -> None:
        """Add the credit of a repetition of the tail, before it is spent: as much as for the last new tokens."""
        self.credit += self.quantum
        self.credited += self.quantum

    def release(self) -> None:
        """Release what a clean path has put aside, at its first sign of loss."""
        self.credit += self._aside
        self.credited += self._aside
        self._aside = 0.0

    def room(self, budget: int) -> int:
        """Return how many bytes the payload of a packet with new tokens may take now.

        Args:
            budget: Bytes that the payload of one datagram may take.
        """
        free = max(self._limits.packet * self.quantum, self._limits.share * self.credit)
        return int(max(min(budget, min(free, self.credit) - IP_UDP_HEADERS), 0))

    def spend(self, size: int, *, now: float) -> None:
        """Take the credit for a packet.

        Args:
            size: Its bytes on the wire.
            now: Seconds.
        """
        self.spent += size
        self.overdrawn += max(size - self.credit, 0.0)
        self.credit = max(self.credit - size, 0.0)
        if self._limits.packets_per_s is not None:
            self.paced_until = max(self.paced_until, now) + 1 / self._limits.packets_per_s
