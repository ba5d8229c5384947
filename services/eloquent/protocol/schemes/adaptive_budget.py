"""What an adaptive sender may spend: credit that new tokens earn, and turns that the clock gives.

Rules of this file
- Credit is in bytes on the wire. Each packet with something new earns at least its own size without redundancy, so new
  tokens can always be paid for; what is over pays for redundancy. Apart from one `grant` when a clean path shows
  loss, nothing else earns, so silence cannot run it up.
- Only a timeout may spend what is not there; that is booked as `overdrawn`, and the credit stays at 0.
- Invariant: bytes sent = `spent` <= `earned` + `overdrawn`.
- With a limit of packets a second, a packet needs a turn. Turns come evenly, and one may be saved (a leaky bucket of two
  packets), so in any T seconds there are at most `packets_per_s` x T + 2 packets.
"""

import math
from dataclasses import dataclass

from eloquent.protocol.sender import IP_UDP_HEADERS

TCP_HEADERS = 40  # bytes, IPv4 and TCP without options: the yardstick of a clean path
TAIL_PACKETS = 3  # packets without redundancy that the end of a stream earns, so that its tail can be repeated
MAX_LOSS = 0.7  # the loss above which a lossy path earns no more: whoever loses that much should not send more


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an adaptive sender may spend.

    Attributes:
        packets_per_s: Packets a second, or None for no limit.
        clean: Bytes earned on a clean path, over those of a TCP packet with the same new tokens.
        lossy: Bytes earned on a lossy path that loses nothing at present, over those of the packet without redundancy;
            None for no limit but the size of a packet.
        per_loss: Added to `lossy` for a loss of 1, and in proportion for less.
        most: Credit that can be saved on a lossy path, over what one packet earns; half of it on a clean one.
        grant: Credit there is after the first sign of loss on a clean path, over what one packet earns.
    """

    packets_per_s: float | None = None
    clean: float = 1.15
    lossy: float | None = 1.7
    per_loss: float = 5.2
    most: float = 24.0
    grant: float = 40.0


class Purse:
    """The credit and the turns of one stream.

    Args:
        limits: What may be spent.

    Attributes:
        credit: Bytes that may be spent now; infinite while nothing limits them.
        income: What the last packet with something new earned, bytes.
        earned: All that was earned, bytes.
        spent: All that was sent, bytes.
        overdrawn: What timeouts sent without credit, bytes.
        turn: Instant before which no packet but one that uses up the saved turn may be sent.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.credit = 0.0
        self.income = 0.0
        self.earned = 0.0
        self.spent = 0.0
        self.overdrawn = 0.0
        self.turn = -math.inf

    @property
    def next_turn(self) -> float:
        """The earliest instant of a packet with new tokens."""
        rate = self._limits.packets_per_s
        return -math.inf if rate is None else self.turn - 1 / rate

    def earn(self, *, alone: int, token_bytes: int, loss: float | None, end: bool) -> None:
        """Book a packet with something new, before it is spent.

        Args:
            alone: Its bytes on the wire without redundancy.
            token_bytes: Bytes of new tokens in it.
            loss: Share of packets lost on a lossy path, 0..1; None on a clean one.
            end: Whether it is the first with the end of the stream.
        """
        limits = self._limits
        if loss is not None and limits.lossy is None:
            self.credit = self.earned = math.inf
            return
        if math.isinf(self.credit):
            self.credit = 0.0
        if loss is None or limits.lossy is None:
            factor, most = limits.clean * (TCP_HEADERS + token_bytes) / alone, limits.most / 2
        else:
            factor, most = limits.lossy + limits.per_loss * min(loss, MAX_LOSS), limits.most
        self.income = max(factor, 1.0) * alone
        tail = TAIL_PACKETS * alone if end else 0
        self.credit = min(self.credit + self.income, most * self.income) + tail
        self.earned += self.income + tail

    def grant(self) -> None:
        """Fill the credit: the first sign of loss on a clean path finds nothing saved."""
        filled = max(self.credit, self._limits.grant * self.income)
        self.earned += filled - self.credit if math.isfinite(filled) else 0.0
        self.credit = filled

    def room(self, budget: int) -> int:
        """Return how many bytes the payload of a packet may take now.

        Args:
            budget: Bytes that the payload of one datagram may take.
        """
        return int(max(min(budget, self.credit - IP_UDP_HEADERS), 0))

    def spend(self, size: int, *, now: float) -> None:
        """Book a packet.

        Args:
            size: Its bytes on the wire.
            now: Seconds.
        """
        self.spent += size
        self.overdrawn += max(size - self.credit, 0.0)
        self.credit = max(self.credit - size, 0.0)
        if self._limits.packets_per_s is not None:
            self.turn = max(self.turn, now) + 1 / self._limits.packets_per_s
