"""The Eloquent sender: Algorithm 1 of the paper.

The algorithm, in our words
1. Sleep until there is a new token, or until 200 ms have passed since the last packet with something unacknowledged.
2. Forget what was acknowledged in the meantime.
3. Put the new tokens into a packet, and the end of the stream if it is known.
4. Fill the packet with unacknowledged tokens, oldest first, up to the limits of tokens and bytes; stop at the first
   that does not fit (§3.3: then at least the earlier tokens can be rendered). The new token always goes, whatever the
   backlog.
5. Send the packet; its new tokens are now unacknowledged. Without a new token, it carries the oldest unacknowledged
   alone.
6. Stop when the end has been acknowledged, or when the peer is given up.

Beyond the paper
- It resends every 200 ms for ever. Here the interval doubles once the peer has been silent for `SILENCE_TIMEOUT`.
- Its tokens are small. A token that fills a third of a packet or more leaves no room for step 4, so that one packet every
  200 ms would be all that repairs a long answer. Such large fragments are sent again, each in a packet of its own, when
  three that were sent later have been acknowledged or the path's timeout has passed (as `retransmit` does); while the
  peer is silent, step 5 alone goes on.
"""

import re
from dataclasses import dataclass
from math import inf

from eloquent.errors import ConfigurationError
from eloquent.protocol.datagram import PAYLOAD_BUDGET
from eloquent.protocol.frames import DataBuilder
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.scheme import Family, Scheme
from eloquent.protocol.sender import Sender

MAX_TOKENS = 10  # fragments in a packet (Eloquent §4.1)
RESEND_TIMEOUT = 0.200  # seconds since the last packet (Eloquent Alg. 1)
SILENCE_TIMEOUT = 3.0  # seconds of silence after which the paper's timer backs off: above its round trips and bursts
LARGE = 3  # so many fragments of this size or more do not fit into one packet
LATER_ACKS = 3  # large fragments sent later and acknowledged that prove a loss (RFC 5681 §3.2)
MAX_RESEND_TIMEOUT = 2.0  # seconds; the wait after a blackout stays below what a reader takes for a broken page


@dataclass(slots=True)
class _Large:
    """A large fragment that is under way.

    Attributes:
        order: Of its last transmission, among all transmissions of large fragments.
        sent_at: Seconds; when that was.
        once: Whether it was sent only once, so that its acknowledgement tells the round trip (Karn's rule).
    """

    order: int
    sent_at: float
    once: bool


class EloquentSender(Sender):
    """New tokens together with those that the peer may have missed.

    Args:
        budget: Bytes that the payload of one datagram may take.
        max_tokens: Tokens (or fragments of long ones) in one packet, or None for no limit.
        rtt: The path's estimator, for the repair of large fragments; None for one of its own.
    """

    def __init__(
        self, *, budget: int = PAYLOAD_BUDGET, max_tokens: int | None = MAX_TOKENS, rtt: RttEstimator | None = None
    ) -> None:
        super().__init__(budget=budget)
        self._max_tokens = max_tokens
        self._rtt = rtt if rtt is not None else RttEstimator()
        self._large: dict[int, _Large] = {}
        self._large_sent = 0  # transmissions
        self._large_acked = 0  # highest order that was acknowledged
        self._last_sent = 0.0
        self._interval = RESEND_TIMEOUT
        self._resend_due = False

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return the packets with new tokens, or else the repetition that is due, and repaired large fragments."""
        packets = []
        while self._may_send_new(now):
            packets.append(self._build(now))
        if self._resend_due and self.outstanding and not packets:
            packets.append(self._build(now, new=False))
        self._resend_due = False
        if self._large and self.outstanding:
            packets += self._repair(now)
        return packets

    def _repair(self, now: float) -> list[bytes]:
        """Send the large fragments again that seem to be lost."""
        lost = [index for index, large in self._large.items() if self._is_lost(large, now)]
        return [self._send_alone(index, now) for index in lost if self.room > 0]

    def _is_lost(self, large: _Large, now: float) -> bool:
        return large.order <= self._large_acked - LATER_ACKS or now >= self._repair_at(large.sent_at)

    def _repair_at(self, sent_at: float) -> float:
        """Return when a large fragment's timeout passes; never where the peer will be silent by then: step 5 will do."""
        due = sent_at + max(self._rtt.timeout(), self._interval)
        return inf if self._is_silent(due) else due

    def _is_silent(self, now: float) -> bool:
        return now - self._silent_since >= SILENCE_TIMEOUT

    def _send_alone(self, index: int, now: float) -> bytes:
        fragment = self._unacked[index]
        builder = DataBuilder(self._budget)
        builder.add(fragment)
        self._note_large(builder, now)
        payload = builder.build()
        self._count(payload, len(fragment.data))
        self._last_sent = now
        return payload

    def _note_large(self, builder: DataBuilder, now: float) -> None:
        for fragment in builder.fragments:
            if len(fragment.data) * LARGE > self._budget:
                self._large_sent += 1
                self._large[fragment.index] = _Large(self._large_sent, now, once=fragment.index not in self._large)

    def _build(self, now: float, *, new: bool = True) -> bytes:
        if not self.outstanding:
            self._silent_since = now
        # Eloquent §3.2, Alg. 1: the new token first, then the unacknowledged ones, oldest first.
        older = list(self._unacked.values())
        builder = DataBuilder(self._budget, self._max_tokens)
        if new:
            self._take_new(builder)
        redundant, room = 0, self.room - sum(len(fragment.data) for fragment in builder.fragments)
        for fragment in older:
            if (builder and redundant + len(fragment.data) > room) or not builder.add(fragment):
                break
            redundant += len(fragment.data)
        if self._end_sent and not self._end_acked and builder.end is None and self._end is not None:
            builder.add_end(self._end)
        self._note_large(builder, now)
        payload = builder.build()
        self._count(payload, redundant)
        self._last_sent = now
        return payload

    def _next_deadline(self) -> float:
        resend = self._last_sent + self._interval
        if not self._large:
            return resend
        return min(resend, self._repair_at(min(large.sent_at for large in self._large.values())))

    def _deadline_passed(self, now: float) -> None:
        self._resend_due = now >= self._last_sent + self._interval
        if self._resend_due and self._is_silent(now):
            self._interval = min(2 * self._interval, MAX_RESEND_TIMEOUT)

    def _acknowledged(self, newly: list[int], *, end: bool, now: float) -> None:  # noqa: ARG002 - any sign of life will do
        self._interval = RESEND_TIMEOUT
        for index in newly:
            if (large := self._large.pop(index, None)) is not None:
                self._large_acked = max(self._large_acked, large.order)
                if large.once:
                    self._rtt.sample(now - large.sent_at)


def _build(match: re.Match[str]) -> Scheme:
    limit = match["limit"]
    max_tokens = MAX_TOKENS if limit is None else None if limit == "all" else int(limit)
    if max_tokens == 0:
        raise ConfigurationError("'eloquent-0' would send nothing: give at least one token a packet, or 'eloquent-all'")

    def make_sender(budget: int, rtt: RttEstimator) -> Sender:
        return EloquentSender(budget=budget, max_tokens=max_tokens, rtt=rtt)

    return Scheme(match[0], "datagram", make_sender)


FAMILY = Family("eloquent[-N|-all]", re.compile(r"eloquent(?:-(?P<limit>\d{1,4}|all))?"), _build, "eloquent")
