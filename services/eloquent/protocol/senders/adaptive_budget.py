"""What an adaptive sender may spend: credit that new tokens earn, and turns that the clock gives.

Rules of this file
- Credit is in bytes on the wire. Each packet with something new earns at least its own size without redundancy, so new
  tokens can always be paid for; what is over pays for redundancy. On a lossy path it earns what it would cost to send
  everything twice until it arrives: 2 / (1 - loss) packets, the price of `duplicate-2`.
- While the reader needs no redundancy, a packet earns no more than itself once the reserve is full: what is saved is
  spent sooner or later, so to save more would save nothing.
- A clean path puts a little aside with each packet, which its first sign of loss sets free. After the end of the stream,
  until that is acknowledged, repetitions at the tokens' pace earn as new tokens would, until the peer is silent.
- Repetitions between tokens leave a reserve untouched, so that the packets of new tokens never go short through a burst.
- Only a timeout, or a fragment larger than all there is, may spend what is not there; that is booked as `overdrawn`,
  and the credit stays at 0.
- Invariant: bytes sent = `spent` <= `earned` + `overdrawn`.
- With a limit of packets a second, a packet needs a turn. Turns come evenly, and one may be saved (a leaky bucket of two
  packets), so in any T seconds there are at most `packets_per_s` x T + 2 packets.
"""

import math
from dataclasses import dataclass

from eloquent.protocol.sender import IP_UDP_HEADERS

TCP_HEADERS = 52  # bytes, IPv4 (20) and TCP with timestamps (32), as Linux sends: the yardstick of a clean path
ASIDE = 0.1  # of what a packet on a clean path earns is put aside in addition: a minute of ten tokens a second fills it
MAX_LOSS = 0.7  # the loss above which a lossy path earns no more: whoever loses that much should not send more


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an adaptive sender may spend.

    Attributes:
        packets_per_s: Packets a second, or None for no limit.
        clean: Bytes earned on a clean path, over those of a TCP packet with the same new tokens.
        copies: How often a lossy path could send everything until it arrives, for what it earns; None for no limit but the
            size of a packet.
        start: Credit at the beginning, over what one packet earns.
        most: Credit that can be saved on a lossy path, over what one packet earns; half of it on a clean one.
        aside: Credit that a clean path can put aside for its first sign of loss, over what one packet earns.
        reserve: Credit that repetitions between tokens leave for the packets of new tokens, over what one packet earns.
        packet: What a packet of new tokens may take where the credit is low, over what one packet earns.
        share: What it may take otherwise, over the credit.
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
        self._aside = 0.0

    @property
    def next_turn(self) -> float:
        """The earliest instant of a packet with new tokens."""
        rate = self._limits.packets_per_s
        return -math.inf if rate is None else self.turn - 1 / rate

    @property
    def reserve(self) -> float:
        """Bytes of credit that are kept for the packets of new tokens."""
        return self._limits.reserve * self.income

    def earn(self, *, alone: int, token_bytes: int, loss: float | None, end: bool, calm: bool = False) -> None:
        """Book a packet with something new, before it is spent.

        Args:
            alone: Its bytes on the wire without redundancy.
            token_bytes: Bytes of new tokens in it.
            loss: Share of packets lost on a lossy path, 0..1; None on a clean one.
            end: Whether it is the first with the end of the stream; it may be small, and earns no less than the one before.
            calm: Whether the reader needs no redundancy: no more than the reserve is saved for later.
        """
        limits = self._limits
        if loss is not None and limits.copies is None:
            self.credit = self.earned = math.inf
            return
        if math.isinf(self.credit):
            self.credit = 0.0
        if loss is None or limits.copies is None:
            factor, most = limits.clean * (TCP_HEADERS + token_bytes) / alone, limits.most / 2
        else:
            factor, most = limits.copies / (1.0 - min(loss, MAX_LOSS)), limits.most
        start = limits.start if self.income == 0 else 0.0
        self.income = max(factor * alone, alone, self.income if end else 0.0)
        if loss is None:
            self._aside = min(self._aside + ASIDE * self.income, limits.aside * self.income)
        gained = (1.0 + start) * self.income
        if calm:
            gained = min(gained, max(self.reserve - self.credit, alone))
        self.credit = min(self.credit + gained, most * self.income)
        self.earned += gained

    def earn_tail(self) -> None:
        """Book a repetition of the tail, before it is spent: it earns what the last new tokens did."""
        self.credit += self.income
        self.earned += self.income

    def grant(self) -> None:
        """Pay out what a clean path has put aside, at its first sign of loss."""
        self.credit += self._aside
        self.earned += self._aside
        self._aside = 0.0

    def room(self, budget: int) -> int:
        """Return how many bytes the payload of a packet with new tokens may take now.

        Args:
            budget: Bytes that the payload of one datagram may take.
        """
        free = max(self._limits.packet * self.income, self._limits.share * self.credit)
        return int(max(min(budget, min(free, self.credit) - IP_UDP_HEADERS), 0))

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
