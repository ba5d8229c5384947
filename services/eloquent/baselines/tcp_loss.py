"""Which segments of the TCP model are lost: RACK (RFC 8985 §6.2), and how long it waits for what was overtaken.

Rules of this file
- A segment is lost when one that was sent later has arrived, and its own round trip and a reordering window have
  passed.
- The window is a quarter of the least round trip. It is 0 during recovery or with three segments beyond gaps, until
  reordering has been seen; a needless retransmission beyond a gap looks like reordering (Linux).
- Once reordering has been seen, each D-SACK (RFC 2883) widens the window by another quarter, once a round trip, at most
  to the smoothed round trip. It stays wide until 16 recoveries have ended without a D-SACK (RFC 8985 §6.2 step 4,
  `tcp_rack_update_reo_wnd`). A recovery that D-SACKs prove needless does not count.
- What has been learned of reordering belongs to the connection, and outlives its streams.

Left out: reordering told by timestamps.
"""

from dataclasses import dataclass, field

LATER_SEGMENTS = 3  # beyond a gap that prove a loss at once
MAX_STEPS = 255  # quarters of the least round trip, as many as Linux counts
PERSISTENCE = 16  # recoveries (RFC 8985 §6.2 step 4)
_EPSILON = 1e-9  # seconds, for sums that are equal but for rounding


@dataclass(frozen=True, slots=True)
class Delivery:
    """What had been delivered when a segment was sent, for a rate of delivery.

    Attributes:
        segments: How many, of the connection.
        at: Seconds, when the latest of them was acknowledged.
        first_sent_at: Seconds, when the first of those was sent over which the rate is measured.
        starved: Whether there was nothing else to send.
    """

    segments: int
    at: float
    first_sent_at: float
    starved: bool


@dataclass(slots=True)
class Flight:
    """A segment that is not wholly acknowledged.

    Attributes:
        start: Offset of its first byte in the stream.
        stop: Offset after its last.
        sent_at: Seconds, last transmission.
        transmissions: How often it was sent.
        sacked: Whether it has arrived beyond a gap.
        lost: Whether it is taken for lost and was not sent again since.
        repaired: Whether it was taken for lost and sent again.
        delivery: What had been delivered at its last transmission; None where nobody wants to know.
    """

    start: int
    stop: int
    sent_at: float
    transmissions: int = 1
    sacked: bool = False
    lost: bool = False
    repaired: bool = False
    delivery: Delivery | None = None

    @property
    def in_flight(self) -> bool:
        """Whether it may still be on its way."""
        return not self.sacked and not self.lost


@dataclass(slots=True)
class Reordering:
    """What a connection knows of its path's reordering.

    Attributes:
        min_rtt: Seconds, the least measured.
        seen: Whether there was any.
        steps: Quarters of the least round trip that the window is long.
    """

    min_rtt: float = float("inf")
    seen: bool = False
    steps: int = 1
    _recoveries: int = 0  # that the window stays as it is
    _repeated: bool = False  # whether a D-SACK waits for something to be delivered
    _widened_at: float = float("-inf")  # seconds

    def measured(self, rtt: float) -> None:
        """Learn of a round-trip time, in seconds."""
        self.min_rtt = min(self.min_rtt, rtt)

    def repeated(self) -> None:
        """Learn of a D-SACK for something that was not a tail loss probe."""
        self._repeated |= self.seen

    def delivered(self, *, sent_at: float, now: float) -> None:
        """Widen or narrow the window after an acknowledgement.

        Args:
            sent_at: Seconds, last transmission of the latest segment that it covers for the first time.
            now: Seconds.
        """
        if sent_at < self._widened_at:  # not a round trip ago
            self._repeated = False
        if self._repeated:
            self.steps = min(self.steps + 1, MAX_STEPS)
            self._repeated, self._recoveries, self._widened_at = False, PERSISTENCE, now
        elif not self._recoveries:
            self.steps = 1

    def recovered(self) -> None:
        """Learn that a recovery has ended."""
        self._recoveries = max(self._recoveries - 1, 0)

    def spared(self) -> None:
        """Learn that a recovery was needless."""
        self._recoveries = min(self._recoveries + 1, PERSISTENCE)

    def window(self, *, smoothed: float, certain: bool) -> float:
        """Return how long to wait for what was overtaken, in seconds.

        Args:
            smoothed: The smoothed round-trip time, in seconds.
            certain: Whether there is a loss for sure, if the path keeps the order.
        """
        return 0.0 if certain and not self.seen else min(self.steps * self.min_rtt / 4, smoothed)


@dataclass(slots=True)
class Rack:
    """Time-based detection of loss.

    Attributes:
        reordering: What the connection knows of it.
        deadline: Seconds at which a segment may turn out to be lost, or None.
    """

    reordering: Reordering = field(default_factory=Reordering)
    deadline: float | None = None
    _newest: tuple[float, int] = (float("-inf"), 0)  # of what arrived: when it was sent, and its end
    _rtt: float = 0.0  # of that one, seconds
    _highest: int = 0  # offset that has arrived

    def arrived(self, segment: Flight, now: float) -> None:
        """Learn that a segment was acknowledged for the first time."""
        rtt = now - segment.sent_at
        if segment.transmissions == 1:
            self.reordering.seen |= segment.stop < self._highest
        elif rtt < self.reordering.min_rtt:  # of an earlier transmission
            return
        self._highest = max(self._highest, segment.stop)
        if (segment.sent_at, segment.stop) > self._newest:
            self._newest, self._rtt = (segment.sent_at, segment.stop), rtt

    def detect(self, flight: list[Flight], now: float, *, smoothed: float, recovering: bool) -> list[Flight]:
        """Mark what is lost, and set the deadline for what may be; return what was marked."""
        certain = recovering or sum(segment.sacked for segment in flight) >= LATER_SEGMENTS
        window = self.reordering.window(smoothed=smoothed, certain=certain)
        found = []
        self.deadline = None
        for segment in flight:
            if segment.in_flight and (segment.sent_at, segment.stop) < self._newest:
                due = segment.sent_at + self._rtt + window
                if now >= due - _EPSILON:
                    segment.lost = True
                    found.append(segment)
                else:
                    self.deadline = due if self.deadline is None else max(due, self.deadline)
        return found

    def is_overdue(self, segment: Flight, now: float) -> bool:
        """Return whether its round trip has passed, as far as one is known."""
        return now >= segment.sent_at + self._rtt - _EPSILON
