"""What the TCP model knows of its segments under way: which are lost (RACK), and how many may be sent (the window).

Rules of this file
- RACK (RFC 8985 §6.2): a segment is lost when one that was sent later has arrived, and its own round trip and a
  reordering window have passed. The window is a quarter of the least round trip; it is 0 during recovery or with three
  segments beyond gaps, until reordering has been seen (Linux, RFC 8985 §6.2 step 4).
- The window counts segments, begins with 10 (RFC 6928), shrinks to 0.7 of itself at a loss (CUBIC, RFC 9438 §4.6) by
  proportional rate reduction (RFC 6937, as in Linux), and to one segment at a timeout. It grows as Reno's, which CUBIC
  follows at such small windows (RFC 9438 §4.3), and only while it is what limits the sender.
- F-RTO and the undoing of reductions that prove needless are left out.
"""

import enum
from dataclasses import dataclass, field

INITIAL_WINDOW = 10  # segments
MIN_THRESHOLD = 2  # segments
REDUCTION = 0.7
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


class State(enum.Enum):
    """Of congestion control, as Linux names them."""

    OPEN = enum.auto()
    RECOVERY = enum.auto()
    LOSS = enum.auto()


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

    def detect(self, flight: list[Flight], now: float, *, smoothed: float, recovering: bool) -> bool:
        """Mark what is lost, and set the deadline for what may be; return whether any was marked."""
        window = self._window(flight, smoothed, recovering=recovering)
        found = False
        self.deadline = None
        for segment in flight:
            if segment.in_flight and (segment.sent_at, segment.stop) < self._newest:
                due = segment.sent_at + self._rtt + window
                if now >= due - _EPSILON:
                    segment.lost = found = True
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


@dataclass(slots=True)
class Window:
    """How many segments may be in flight.

    Attributes:
        size: Segments.
        state: Of congestion control.
        limited: Whether the window, not the application, held something back.
    """

    size: int = INITIAL_WINDOW
    state: State = State.OPEN
    limited: bool = False
    _threshold: float = float("inf")
    _until: int = 0  # offset whose acknowledgement ends the recovery
    _grown: int = 0  # segments acknowledged toward the next increase
    _prior: int = field(default=INITIAL_WINDOW)  # size before the recovery
    _delivered: int = 0  # segments, in this recovery
    _sent: int = 0

    @property
    def recovering(self) -> bool:
        """Whether a loss is being repaired."""
        return self.state is not State.OPEN

    def sent(self) -> None:
        """Learn that a segment was sent."""
        self._sent += 1

    def acknowledged(
        self, delivered: int, *, acked: int, in_flight: int, sent_to: int, lost: bool, advanced: bool
    ) -> None:
        """Adapt to an acknowledgement.

        Args:
            delivered: Segments that it was the first to cover.
            acked: Offset below which everything has arrived.
            in_flight: Segments.
            sent_to: Offset after the last byte that was sent.
            lost: Whether a loss was found.
            advanced: Whether `acked` grew.
        """
        if self.recovering and acked >= self._until:
            if self.state is State.RECOVERY:
                self.size = max(int(self._threshold), MIN_THRESHOLD)
            self.state = State.OPEN
        if self.state is State.OPEN and lost:
            self._reduce(sent_to, State.RECOVERY)
            self._delivered = self._sent = 0
        if self.state is State.RECOVERY:
            self._proportional(delivered, in_flight, faster=advanced and not lost)
        elif advanced:
            self._grow(delivered, in_flight)

    def timed_out(self, *, in_flight: int, sent_to: int) -> None:
        """Fall to one segment more than what may be under way (RFC 5681 §3.1, Linux's `tcp_enter_loss`)."""
        if self.state is not State.LOSS:
            self._reduce(sent_to, State.LOSS)
        self.size = in_flight + 1

    def _reduce(self, sent_to: int, state: State) -> None:
        self._prior = self.size
        self._threshold = max(int(self.size * REDUCTION), MIN_THRESHOLD)
        self._until = sent_to
        self._grown = 0
        self.state = state

    def _proportional(self, delivered: int, in_flight: int, *, faster: bool) -> None:
        self._delivered += delivered
        room = int(self._threshold) - in_flight
        if room < 0:
            count = -(-int(self._threshold) * self._delivered // self._prior) - self._sent
        else:
            count = min(room, max(self._delivered - self._sent, delivered) + faster)
        self.size = in_flight + max(count, 0 if self._sent else 1)

    def _grow(self, delivered: int, in_flight: int) -> None:
        if self.size < self._threshold:
            if self.limited or self.size < 2 * (in_flight + delivered):
                self.size += delivered
        elif self.limited:
            self._grown += delivered
            if self._grown >= self.size:
                self._grown -= self.size
                self.size += 1
