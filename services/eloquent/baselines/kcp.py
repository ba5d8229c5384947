"""Aggressive retransmission after the manner of KCP (https://github.com/skywind3000/kcp), in its fastest usual mode.

The mode is `ikcp_nodelay(kcp, 1, 10, 2, 1)`: no delay, a flush each 10 ms, fast resend after 2 skips, no congestion
window.

Rules of this file
- A token (or a part of a long one) is a segment with a timer of its own. Nothing is sent but at a flush, and flushes
  are at least 10 ms apart; all segments that are due at one flush share datagrams.
- A segment is sent again when its timeout has passed, which then grows by half (TCP: doubles), or when two
  acknowledgements have each covered a later segment for the first time; the latter at most until it was sent 5 times.
- The timeout is SRTT + max(10 ms, 4 RTTVAR), at least 30 ms and at most 60 s; 200 ms before the first measurement.

Not as in KCP: its segments have headers of 24 bytes, ours a few; its acknowledgements name single segments and carry
their times, ours repeat all that has arrived, so losing one costs less, and only segments sent once tell a round trip.
"""

import re
from dataclasses import dataclass

from eloquent.protocol.frames import DataBuilder
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.scheme import Family, Scheme
from eloquent.protocol.sender import Sender

FLUSH_INTERVAL = 0.010  # seconds
INITIAL_TIMEOUT = 0.200  # seconds (IKCP_RTO_DEF)
MIN_TIMEOUT = 0.030  # seconds (IKCP_RTO_NDL)
MAX_TIMEOUT = 60.0  # seconds (IKCP_RTO_MAX)
GROWTH = 1.5  # of a segment's timeout at each resend
SKIPS = 2  # later segments acknowledged, after which one is sent again
MAX_FAST_RESENDS = 5  # transmissions after which only the timeout counts (IKCP_FASTACK_LIMIT)


@dataclass(slots=True)
class _Segment:
    sent_at: float  # seconds, first transmission
    due: float  # seconds
    timeout: float  # seconds
    transmissions: int = 1
    skips: int = 0


_END = -1  # key of the end among the segments; it comes after all of them


class KcpSender(Sender):
    """Send at once, and again soon.

    Args:
        budget: Bytes that the payload of one datagram may take.
        rtt: The path's estimator.
    """

    def __init__(self, *, budget: int, rtt: RttEstimator) -> None:
        super().__init__(budget=budget)
        self._rtt = rtt
        self._segments: dict[int, _Segment] = {}
        self._flush_at = 0.0  # seconds; no flush before
        self._held = False  # whether something new waits for the next flush

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return what is due at this flush: resends first, then new tokens."""
        self._held = now < self._flush_at and self._may_send_new(now)
        if self._over or now < self._flush_at:
            return []
        due = [key for key, segment in self._segments.items() if self._is_due(segment, now)]
        datagrams = []
        while due or self._may_send_new(now):
            if not self.outstanding:
                self._silent_since = now
            datagrams.append(self._pack(due, now))
        if datagrams:
            self._flush_at = now + FLUSH_INTERVAL
        return datagrams

    def get_timer(self) -> float | None:
        """Return the instant of the next flush that has something to do, or None."""
        timer = super().get_timer()
        if self._held and not self._over:
            return self._flush_at if timer is None else min(timer, self._flush_at)
        return timer

    def handle_timer(self, *, now: float) -> None:
        """Give up a silent peer; what is due is found at the flush."""
        if self.outstanding:
            super().handle_timer(now=now)

    def _pack(self, due: list[int], now: float) -> bytes:
        builder = DataBuilder(self._budget)
        redundant = 0
        while due and due[0] != _END and builder.add(self._unacked[due[0]]):
            redundant += len(self._unacked[due[0]].data)
            self._resent(self._segments[due.pop(0)], now)
        if due == [_END] and self._end is not None and builder.add_end(self._end):
            self._resent(self._segments[due.pop()], now)
        if not due and self._may_send_new(now):
            told = len(builder.fragments)
            end_told = self._end_sent
            self._take_new(builder)
            keys = [fragment.index for fragment in builder.fragments[told:]]
            for key in keys + [_END] * (self._end_sent and not end_told):
                timeout = self._timeout()
                self._segments[key] = _Segment(now, now + timeout, timeout)
        payload = builder.build()
        self._count(payload, redundant)
        return payload

    def _timeout(self) -> float:
        if self._rtt.smoothed is None:
            return INITIAL_TIMEOUT
        timeout = self._rtt.smoothed + max(FLUSH_INTERVAL, 4 * self._rtt.variance)
        return min(max(timeout, MIN_TIMEOUT), MAX_TIMEOUT)

    def _resent(self, segment: _Segment, now: float) -> None:
        if segment.due <= now:
            segment.timeout = min(GROWTH * segment.timeout, MAX_TIMEOUT)
        segment.transmissions += 1
        segment.due = now + segment.timeout
        segment.skips = 0

    def _is_due(self, segment: _Segment, now: float) -> bool:
        return segment.due <= now or self._is_skipped(segment)

    def _is_skipped(self, segment: _Segment) -> bool:
        return segment.skips >= SKIPS and segment.transmissions <= MAX_FAST_RESENDS

    def _next_deadline(self) -> float:
        due = min(0.0 if self._is_skipped(segment) else segment.due for segment in self._segments.values())
        return max(due, self._flush_at)

    def _deadline_passed(self, now: float) -> None:
        """Nothing to mark: `datagrams_to_send` looks at the times itself."""

    def _acknowledged(self, newly: list[int], *, end: bool, now: float) -> None:
        keys = [*newly, *([_END] if end else [])]
        acked = [self._segments.pop(key) for key in keys]
        once = [segment.sent_at for segment in acked if segment.transmissions == 1]
        if once:
            self._rtt.sample(now - max(once))
        highest = max(newly, default=0)
        for key, segment in self._segments.items():
            segment.skips += key != _END and key < highest


def _build(match: re.Match[str]) -> Scheme:
    def make_sender(budget: int, rtt: RttEstimator) -> Sender:
        return KcpSender(budget=budget, rtt=rtt)

    return Scheme(match[0], "datagram", make_sender)


FAMILY = Family("kcp", re.compile("kcp"), _build, "kcp")
