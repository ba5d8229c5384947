"""Which segments of the TCP model are lost: RACK (RFC 8985 §6.2).

Rules of this file
- A segment is lost when one that was sent later has arrived, and its own round trip and a reordering window have
  passed. The window is a quarter of the least round trip; it is 0 during recovery or with three segments beyond gaps,
  until reordering has been seen (Linux, RFC 8985 §6.2 step 4).
"""

from dataclasses import dataclass

LATER_SEGMENTS = 3  # beyond a gap that prove a loss at once
_EPSILON = 1e-9  # seconds, for sums that are equal but for rounding


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
    """

    start: int
    stop: int
    sent_at: float
    transmissions: int = 1
    sacked: bool = False
    lost: bool = False

    @property
    def in_flight(self) -> bool:
        """Whether it may still be on its way."""
        return not self.sacked and not self.lost


@dataclass(slots=True)
class Rack:
    """Time-based detection of loss.

    Attributes:
        deadline: Seconds at which a segment may turn out to be lost, or None.
        min_rtt: Seconds, the least measured.
    """

    deadline: float | None = None
    min_rtt: float = float("inf")
    _newest: tuple[float, int] = (float("-inf"), 0)  # of what arrived: when it was sent, and its end
    _rtt: float = 0.0  # of that one, seconds
    _highest: int = 0  # offset that has arrived
    _reordering: bool = False

    def arrived(self, segment: Flight, now: float) -> None:
        """Learn that a segment was acknowledged for the first time."""
        rtt = now - segment.sent_at
        if segment.transmissions == 1:
            self.min_rtt = min(self.min_rtt, rtt)
            self._reordering |= segment.stop < self._highest
        elif rtt < self.min_rtt:  # of an earlier transmission
            return
        self._highest = max(self._highest, segment.stop)
        if (segment.sent_at, segment.stop) > self._newest:
            self._newest, self._rtt = (segment.sent_at, segment.stop), rtt

    def detect(self, flight: list[Flight], now: float, *, smoothed: float, recovering: bool) -> int:
        """Mark what is lost, and set the deadline for what may be; return how many were marked."""
        window = self._window(flight, smoothed, recovering=recovering)
        found = 0
        self.deadline = None
        for segment in flight:
            if segment.in_flight and (segment.sent_at, segment.stop) < self._newest:
                due = segment.sent_at + self._rtt + window
                if now >= due - _EPSILON:
                    segment.lost = True
                    found += 1
                else:
                    self.deadline = due if self.deadline is None else max(due, self.deadline)
        return found

    def is_overdue(self, segment: Flight, now: float) -> bool:
        """Return whether its round trip has passed, as far as one is known."""
        return now >= segment.sent_at + self._rtt - _EPSILON

    def _window(self, flight: list[Flight], smoothed: float, *, recovering: bool) -> float:
        enough = sum(segment.sacked for segment in flight) >= LATER_SEGMENTS
        if not self._reordering and (recovering or enough):
            return 0.0
        return min(self.min_rtt / 4, smoothed)
