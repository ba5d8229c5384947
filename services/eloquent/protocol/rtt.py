"""Round-trip time and retransmission timeout, RFC 6298.

One deviation, which Linux shares: the floor of 200 ms holds for the term of the variance, not for the sum. On a steady
path that gives the round-trip time plus 200 ms, rather than a timeout that the slightest jitter sets off.
"""

INITIAL_TIMEOUT = 1.0  # seconds, before the first sample (RFC 6298 §2.1)
MIN_VARIANCE_TERM = 0.200  # seconds, Linux's TCP_RTO_MIN in place of the clock's granularity (RFC 6298 §2.3)
MAX_TIMEOUT = 60.0  # seconds, the least that an upper bound may be (RFC 6298 §2.5)
SMOOTHING_GAIN = 1 / 8  # alpha (RFC 6298 §2.3)
VARIANCE_GAIN = 1 / 4  # beta
VARIANCE_WEIGHT = 4  # K


class RttEstimator:
    """The smoothed round-trip time of one path.

    Attributes:
        smoothed: Seconds, or None before the first sample.
        variance: Seconds, the smoothed mean deviation.
    """

    def __init__(self) -> None:
        self.smoothed: float | None = None
        self.variance = 0.0
        self._timeout = INITIAL_TIMEOUT

    def sample(self, rtt: float) -> None:
        """Take one measurement.

        Args:
            rtt: Seconds from sending to the acknowledgement of something that was sent once (Karn, RFC 6298 §3).
        """
        if self.smoothed is None:
            self.smoothed = rtt
            self.variance = rtt / 2
        else:
            self.variance += VARIANCE_GAIN * (abs(self.smoothed - rtt) - self.variance)
            self.smoothed += SMOOTHING_GAIN * (rtt - self.smoothed)
        self._timeout = self.smoothed + max(MIN_VARIANCE_TERM, VARIANCE_WEIGHT * self.variance)

    def timeout(self, retransmissions: int = 0) -> float:
        """Return how long to wait for an acknowledgement, in seconds.

        Args:
            retransmissions: How often it was sent again already; each doubles the wait (RFC 6298 §5.5).
        """
        return min(self._timeout * 2.0 ** min(retransmissions, 16), MAX_TIMEOUT)


class KnownRtt(RttEstimator):
    """A round-trip time that is known from the start, as in a plain simulator: its timeout never changes.

    Args:
        rtt: Seconds, without queueing.
    """

    def __init__(self, rtt: float) -> None:
        super().__init__()
        self.smoothed = rtt
        self._timeout = rtt + MIN_VARIANCE_TERM

    def sample(self, rtt: float) -> None:
        """Learn nothing: it is known."""
