"""How many segments of the TCP model may be in flight: what every window does, and CUBIC's.

Rules of this file
- The window counts segments and begins with 10 (RFC 6928). A timeout leaves one segment more than may be under way.
- CUBIC (RFC 9438, in the whole numbers of Linux, which tell at windows of two or three): it shrinks to 0.7 of itself, by
  proportional rate reduction (RFC 6937, as in Linux). It grows when the acknowledged offset does: by what is
  delivered in slow start, then along the cubic of the time since the loss, or as Reno's would if that is faster.
- It grows only while it is what limits the sender: since the last time that as much was in flight as it lets, no whole
  window has been sent without that. In slow start it may also be less than twice what was in flight (`tcp_is_cwnd_limited`).
- While nothing is in flight, the time of the cubic stands still. A timeout forgets the size at the last loss.

Left out: HyStart, which finds queues that grow (RFC 9406), and the slow decay of a window that is not used (RFC 7661), which
each acknowledgement puts off.
"""

import enum
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from eloquent.baselines.tcp_loss import Flight

INITIAL_WINDOW = 10  # segments
MIN_THRESHOLD = 2  # segments (RFC 5681 §3.1)
REDUCTION = 717 / 1024  # beta, 0.7 (RFC 9438 §4.6)
CUBIC_SCALE = 0.4  # C, segments per cubed second (RFC 9438 §5)
RENO_ROUND = 15 / 8  # windows that Reno with this reduction takes for one segment more, 1 / alpha (RFC 9438 §4.3)
SLOWEST_UNKNOWN = 20  # acknowledgements for one segment more, at most, while no loss is remembered
FASTEST = 2  # acknowledgements for one segment more, at the least
NO_THRESHOLD = 1 << 30  # segments


class State(enum.Enum):
    """Of congestion control, as Linux names them."""

    OPEN = enum.auto()
    RECOVERY = enum.auto()
    LOSS = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What an acknowledgement, or RACK's timer, has brought.

    Attributes:
        delivered: Segments covered for the first time; 1 for a loss that the timer has found, as in Linux's `tcp_rack_reo_timeout`.
        newest: The delivered segment that was sent last, or None.
        rtt: Seconds, of the latest segment that told a round-trip time, or None.
        lost: Segments found lost.
        in_flight: Segments still on their way.
        advanced: Whether the offset grew below which everything has arrived.
        by_timer: Whether it was the timer.
        state: Of congestion control, after it.
        min_rtt: Seconds, the least measured; infinite before the first.
        now: Seconds.
    """

    delivered: int
    newest: Flight | None
    rtt: float | None
    lost: int
    in_flight: int
    advanced: bool
    by_timer: bool
    state: State
    min_rtt: float
    now: float


class CongestionWindow(ABC):
    """Base of the windows.

    Attributes:
        size: Segments that may be in flight.
        open_at: Seconds before which nothing more may be sent, by the pace.
    """

    def __init__(self) -> None:
        self.size = INITIAL_WINDOW
        self.open_at = 0.0

    def starved(self, in_flight: int) -> None:  # noqa: B027 - not every window wants to know, here and below
        """Learn that all there is has been sent, just before a token or an acknowledgement is taken."""

    def sent(self, segment: Flight, *, alone: bool, now: float) -> None:  # noqa: B027
        """Learn that a segment was sent, and whether nothing else was in flight."""

    def used(self, *, limited: bool, flight: int, acked: int, sent_to: int) -> None:  # noqa: B027
        """Learn how far the window was used when there was something new to send.

        Args:
            limited: Whether as much was in flight as the window lets.
            flight: Segments not acknowledged, with those that have arrived beyond gaps.
            acked: Offset below which everything has arrived.
            sent_to: Offset after the last byte that was sent.
        """

    @abstractmethod
    def rest(self) -> None:
        """Learn that the connection was idle for longer than a timeout."""

    @abstractmethod
    def reduce(self) -> None:
        """Prepare for a loss: remember the size, and find out what it should shrink to."""

    @abstractmethod
    def undo(self) -> None:
        """Take the last reduction back: it was needless."""

    @abstractmethod
    def recovered(self) -> None:
        """Learn that a recovery has ended."""

    def timed_out(self, in_flight: int) -> None:
        """Fall to one segment more than what may be under way (RFC 5681 §3.1, Linux's `tcp_enter_loss`)."""
        self.size = in_flight + 1

    @abstractmethod
    def adapt(self, progress: Progress) -> None:
        """Set the size after an acknowledgement or a loss."""


class CubicWindow(CongestionWindow):
    """The window of CUBIC.

    Attributes:
        threshold: Segments below which it grows by what is delivered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.threshold = NO_THRESHOLD
        self._prior = self.size, self.threshold  # before the last reduction
        self._delivered = self._sent = 0  # segments, in this recovery
        self._credit = 0  # delivered segments that count towards the next one more
        self._highest = 0  # segments: W_max, the size at the last loss; 0 for unknown
        self._epoch: float | None = None  # seconds, when the growth along the cubic began
        self._target_at = 0.0  # seconds after that: K, when it reaches its plateau
        self._plateau = 0  # segments
        self._reno = self._reno_credit = 0  # segments, what Reno's window would be, and what counts towards one more
        self._sent_at = 0.0  # seconds, the latest transmission
        self._limited = False  # whether it limited the sender within the last window
        self._flight = 0  # segments, the most of the last window that it did not limit
        self._used_to = 0  # offset, the end of that window

    def sent(self, segment: Flight, *, alone: bool, now: float) -> None:  # noqa: ARG002 - one signature for all windows
        """Count what goes during a recovery, and let the time of the cubic stand still while nothing was in flight."""
        if alone and self._epoch is not None:
            self._epoch += now - self._sent_at
        self._sent_at = now
        self._sent += 1

    def used(self, *, limited: bool, flight: int, acked: int, sent_to: int) -> None:
        """Learn how far it was used (`tcp_cwnd_validate`)."""
        if limited or acked >= self._used_to or (not self._limited and flight > self._flight):
            self._limited, self._flight, self._used_to = limited, flight, sent_to

    def rest(self) -> None:
        """Fall to no more than at first, but remember where slow start ends (`tcp_cwnd_restart`)."""
        self.threshold = max(self.threshold, 3 * self.size // 4)
        self.size = min(self.size, INITIAL_WINDOW)
        self._used_to = 0

    def reduce(self) -> None:
        """Find the size after a loss (RFC 9438 §4.6), and where the cubic has its plateau (§4.7)."""
        self._prior = self.size, max(self.threshold, 3 * self.size // 4)
        self.threshold = max(int(self.size * REDUCTION), MIN_THRESHOLD)
        converging = self.size < self._highest
        self._highest = int(self.size * (1 + REDUCTION) / 2) if converging else self.size
        self._delivered = self._sent = self._credit = 0
        self._epoch = None

    def undo(self) -> None:
        """Come back to the size before the last reduction."""
        size, threshold = self._prior
        self.size, self.threshold = max(self.size, size), max(self.threshold, threshold)

    def recovered(self) -> None:
        """Have the reduced size."""
        self.size = self.threshold

    def timed_out(self, in_flight: int) -> None:
        """Begin anew: nothing is remembered of earlier losses."""
        super().timed_out(in_flight)
        self._highest = self._credit = 0
        self._epoch = None

    def adapt(self, progress: Progress) -> None:
        """Shrink in proportion to what arrives, or grow."""
        if progress.state is State.RECOVERY:
            if progress.delivered:
                self._shrink(progress)
        elif progress.advanced:
            self._grow(progress)

    def _shrink(self, progress: Progress) -> None:
        """RFC 6937 §3 with its slow-start bound, as in `tcp_cwnd_reduction`."""
        self._delivered += progress.delivered
        room = self.threshold - progress.in_flight
        if room < 0:
            count = -(-self.threshold * self._delivered // self._prior[0]) - self._sent
        else:
            faster = progress.advanced and not progress.lost
            count = min(room, max(self._delivered - self._sent, progress.delivered) + faster)
        self.size = progress.in_flight + max(count, 0 if self._sent else 1)

    def _grow(self, progress: Progress) -> None:
        delivered = progress.delivered
        slow_start = self.size < self.threshold
        if not self._limited and not (slow_start and self.size < 2 * self._flight):
            return
        if slow_start:
            size = min(self.size + delivered, self.threshold)
            delivered -= size - self.size
            self.size = size
        if not delivered:
            return
        needed = self._needed(delivered, progress)
        if self._credit >= needed:  # it was saved up while more was needed
            self._credit = 0
            self.size += 1
        more, self._credit = divmod(self._credit + delivered, needed)
        self.size += more

    def _needed(self, delivered: int, progress: Progress) -> int:
        """Return how many segments must be delivered for one segment more (RFC 9438 §4.2 to §4.5, `bictcp_update`)."""
        size = self.size
        if self._epoch is None:
            self._epoch = progress.now
            self._plateau = max(self._highest, size)
            self._target_at = ((self._plateau - size) / CUBIC_SCALE) ** (1 / 3)
            self._reno, self._reno_credit = size, 0
        least = 0.0 if math.isinf(progress.min_rtt) else progress.min_rtt
        since = progress.now - self._epoch + least - self._target_at
        distance = int(CUBIC_SCALE * abs(since) ** 3)
        target = self._plateau + (distance if since > 0 else -distance)
        needed = size // (target - size) if target > size else 100 * size
        if not self._highest:
            needed = min(needed, SLOWEST_UNKNOWN)
        self._reno_credit += delivered
        while self._reno_credit > int(RENO_ROUND * size):
            self._reno_credit -= int(RENO_ROUND * size)
            self._reno += 1
        if self._reno > size:
            needed = min(needed, size // (self._reno - size))
        return max(needed, FASTEST)
