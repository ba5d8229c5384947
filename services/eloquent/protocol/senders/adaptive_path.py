"""What an adaptive sender knows of its path: the round trip, the share of packets lost, and whether it counts as lossy.

Rules of this file
- A path counts as lossy for `WARM_UP` after the first packet, because nothing is known of it, and for `MEMORY` after each
  sign of loss. A sign is a fragment that is acknowledged, or still not acknowledged, later than `overdue_after` after it was
  first sent. Whether the fragment or its acknowledgement was lost cannot be told, and is not asked.
- The newest of the fragments that an acknowledgement is the first to cover tells the round-trip time: an older one may have
  come with a later packet. Where it was repeated without a newer one, all that is known is an interval (Karn's rule, RFC
  6298 §3), which counts only if the estimate lies outside.
- A fragment is acknowledged in time if both its first packet and the answer to that survive. The share that is not tells
  the loss of one direction, which is taken to be the same in each.
"""

import math

from eloquent.protocol.rtt import INITIAL_TIMEOUT, VARIANCE_WEIGHT, RttEstimator

WARM_UP = 2.0  # seconds
MEMORY = 10.0  # seconds; ten times the mean good spell of the paper's default channel
MIN_MARGIN = 0.010  # seconds beyond the smoothed round trip before a fragment is overdue: timers and queues of the ends
MARGIN_SHARE = 1 / 8  # of the smoothed round trip, likewise; RACK begins with 1/4 (RFC 8985 §6.2.1)
TIMER_SLACK = 1e-6  # seconds, what rounding may make of an interval
LATE_GAIN = 1 / 32  # of each fragment in the share of late ones: some seconds of text


class PathState:
    """The sender's picture of its path.

    Args:
        rtt: The path's estimator.
    """

    def __init__(self, rtt: RttEstimator) -> None:
        self._rtt = rtt
        self._late = 0.0  # share of the fragments that were acknowledged late
        self._lossy_until: float | None = None

    @property
    def overdue_after(self) -> float:
        """Seconds after which an unacknowledged fragment is overdue: a round trip and its deviation."""
        smoothed = self._rtt.smoothed
        if smoothed is None:
            return INITIAL_TIMEOUT
        return smoothed + max(VARIANCE_WEIGHT * self._rtt.variance, MARGIN_SHARE * smoothed, MIN_MARGIN)

    @property
    def loss(self) -> float:
        """The share of packets lost in one direction, 0..1, as far as it is known."""
        return 1.0 - math.sqrt(1.0 - self._late)

    def is_lossy(self, now: float) -> bool:
        """Return whether the path counts as lossy."""
        return self._lossy_until is None or now < self._lossy_until

    def packet_sent(self, now: float) -> None:
        """Record that a packet was sent."""
        if self._lossy_until is None:
            self._lossy_until = now + WARM_UP

    def acknowledged(self, *, first_sent: float, now: float) -> bool:
        """Record the acknowledgement of a fragment, and return whether it is late.

        Args:
            first_sent: When the fragment was first sent, seconds.
            now: Seconds.
        """
        late = now - first_sent > self.overdue_after + TIMER_SLACK
        self._late += LATE_GAIN * (late - self._late)
        return late

    def loss_seen(self, now: float) -> None:
        """Record a sign of loss."""
        self._lossy_until = now + MEMORY

    def delivered(self, *, first_sent: float, last_repeated: float, now: float) -> None:
        """Learn the round-trip time from the newest fragment that an acknowledgement is the first to cover.

        Args:
            first_sent: When it was first sent, seconds.
            last_repeated: When it was last sent in a packet without newer ones, seconds.
            now: Seconds.
        """
        longest, shortest = now - first_sent, now - last_repeated
        smoothed = self._rtt.smoothed
        if smoothed is None or longest < smoothed or longest == shortest:
            self._rtt.sample(longest)
        elif shortest > smoothed:
            self._rtt.sample(shortest)
