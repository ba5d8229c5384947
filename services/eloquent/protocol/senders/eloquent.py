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

The paper resends every 200 ms for ever. Here the interval doubles once the peer has been silent for `SILENCE_TIMEOUT`.
"""

import re

from eloquent.errors import ConfigurationError
from eloquent.protocol.datagram import PAYLOAD_BUDGET
from eloquent.protocol.frames import DataBuilder
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.scheme import Family, Scheme
from eloquent.protocol.sender import Sender

MAX_TOKENS = 10  # fragments in a packet (Eloquent §4.1)
RESEND_TIMEOUT = 0.200  # seconds since the last packet (Eloquent Alg. 1)
SILENCE_TIMEOUT = 3.0  # seconds of silence after which the paper's timer backs off: above its round trips and bursts
MAX_RESEND_TIMEOUT = 2.0  # seconds; the wait after a blackout stays below what a reader takes for a broken page


class EloquentSender(Sender):
    """New tokens together with those that the peer may have missed.

    Args:
        budget: Bytes that the payload of one datagram may take.
        max_tokens: Tokens (or fragments of long ones) in one packet, or None for no limit.
    """

    def __init__(self, *, budget: int = PAYLOAD_BUDGET, max_tokens: int | None = MAX_TOKENS) -> None:
        super().__init__(budget=budget)
        self._max_tokens = max_tokens
        self._last_sent = 0.0
        self._interval = RESEND_TIMEOUT
        self._resend_due = False

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return the packets with new tokens, or else the repetition that is due."""
        packets = []
        while self._may_send_new(now):
            packets.append(self._build(now))
        if self._resend_due and self._outstanding and not packets:
            packets.append(self._build(now, new=False))
        self._resend_due = False
        return packets

    def _build(self, now: float, *, new: bool = True) -> bytes:
        if not self._outstanding:
            self._silent_since = now
        # Eloquent §3.2, Alg. 1: the new token first, then the unacknowledged ones, oldest first.
        older = list(self._unacked.values())
        builder = DataBuilder(self._budget, self._max_tokens)
        if new:
            self._take_new(builder)
        redundant = 0
        for fragment in older:
            if not builder.add(fragment):
                break
            redundant += len(fragment.data)
        if self._end_sent and not self._end_acked and builder.end is None and self._end is not None:
            builder.add_end(self._end)
        payload = builder.build()
        self._count(payload, redundant)
        self._last_sent = now
        return payload

    def _next_deadline(self) -> float:
        return self._last_sent + self._interval

    def _deadline_passed(self, now: float) -> None:
        self._resend_due = True
        if now - self._silent_since >= SILENCE_TIMEOUT:
            self._interval = min(2 * self._interval, MAX_RESEND_TIMEOUT)

    def _acknowledged(self, newly: list[int], *, end: bool, now: float) -> None:  # noqa: ARG002 - any sign of life will do
        self._interval = RESEND_TIMEOUT


def _build(match: re.Match[str]) -> Scheme:
    limit = match["limit"]
    max_tokens = MAX_TOKENS if limit is None else None if limit == "all" else int(limit)
    if max_tokens == 0:
        raise ConfigurationError("'eloquent-0' would send nothing: give at least one token a packet, or 'eloquent-all'")

    def make_sender(budget: int, rtt: RttEstimator) -> Sender:  # noqa: ARG001 - the paper's timer does not look at the path
        return EloquentSender(budget=budget, max_tokens=max_tokens)

    return Scheme(match[0], "datagram", make_sender)


FAMILY = Family("eloquent[-N|-all]", re.compile(r"eloquent(?:-(?P<limit>\d{1,4}|all))?"), _build, "eloquent")
