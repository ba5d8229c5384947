"""How many segments of the TCP model may be in flight: the window, by CUBIC or by BBR.

Rules of this file
- The window counts segments and begins with 10 (RFC 6928).
- CUBIC (RFC 9438): it shrinks to 0.7 of itself at a loss, by proportional rate reduction (RFC 6937, as in Linux), and to
  one segment more than what may be under way at a timeout. It grows only while it is what limits the sender: by what
  is delivered in slow start, then along the cubic of the time since the loss, or as Reno's would if that is faster.
- BBR (Cardwell et al., "BBR: Congestion-Based Congestion Control", 2016; version 1 of Linux): a loss does not shrink
  it. In the first round of a recovery each delivered segment releases one (packet conservation); after that it grows
  back by what is delivered, and the end of the recovery restores it. A token stream is limited by its application, so
  the model of bandwidth, pacing and the probes of BBR have no part in it: the target is the initial window.
- F-RTO and the undoing of reductions that prove needless are left out.
"""

import enum
from abc import ABC, abstractmethod
from dataclasses import dataclass

INITIAL_WINDOW = 10  # segments
MIN_THRESHOLD = 2  # segments (RFC 5681 §3.1)
BBR_MIN_WINDOW = 4  # segments
REDUCTION = 0.7  # beta (RFC 9438 §4.6)
CUBIC_SCALE = 0.4  # C, segments per cubed second (RFC 9438 §5)
RENO_GROWTH = 3 * (1 - REDUCTION) / (1 + REDUCTION)  # alpha, segments a round trip (RFC 9438 §4.3)


class State(enum.Enum):
    """Of congestion control, as Linux names them."""

    OPEN = enum.auto()
    RECOVERY = enum.auto()
    LOSS = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What an acknowledgement, or RACK's timer, has brought.

    Attributes:
        delivered: Segments covered for the first time.
        lost: Segments found lost.
        in_flight: Segments still on their way.
        acked: Offset below which everything has arrived.
        advanced: Whether that grew.
        sent_to: Offset after the last byte that was sent.
        sent_at: Seconds, last transmission of the latest of the delivered segments; -inf without any.
        min_rtt: Seconds, the least measured; infinite before the first.
        now: Seconds.
    """

    delivered: int
    lost: int
    in_flight: int
    acked: int
    advanced: bool
    sent_to: int
    sent_at: float
    min_rtt: float
    now: float


class CongestionWindow(ABC):
    """Base of the windows.

    Attributes:
        size: Segments that may be in flight.
        state: Of congestion control.
        limited: Whether the window, not the application, held something back; the sender sets it.
    """

    def __init__(self) -> None:
        self.size = INITIAL_WINDOW
        self.state = State.OPEN
        self.limited = False
        self._prior = INITIAL_WINDOW  # size before the recovery
        self._until = 0  # offset whose acknowledgement ends the recovery

    @property
    def recovering(self) -> bool:
        """Whether a loss is being repaired."""
        return self.state is not State.OPEN

    def completes(self, acked: int) -> bool:
        """Return whether a recovery ends when everything below an offset has arrived."""
        return self.recovering and acked >= self._until

    def rest(self) -> None:
        """Learn that the connection was idle: all is repaired, and the window is no larger than at first (RFC 5681 §4.1)."""
        if self.recovering:
            self._recovered()
            self.state = State.OPEN
        self.limited = False
        self.size = min(self.size, INITIAL_WINDOW)

    def sent(self) -> None:  # noqa: B027 - not every window counts
        """Learn that a segment was sent."""

    def acknowledged(self, progress: Progress) -> None:
        """Adapt to an acknowledgement."""
        if self.completes(progress.acked):
            self._recovered()
            self.state = State.OPEN
        if self.state is State.OPEN and progress.lost:
            self._begin(State.RECOVERY, progress.sent_to)
            self._reduced(progress)
        self._adapt(progress)

    def timed_out(self, *, in_flight: int, sent_to: int) -> None:
        """Fall to one segment more than what may be under way (RFC 5681 §3.1, Linux's `tcp_enter_loss`)."""
        if self.state is not State.LOSS:
            self._begin(State.LOSS, sent_to)
        self.size = in_flight + 1

    def _begin(self, state: State, sent_to: int) -> None:
        if not self.recovering:
            self._prior = self.size
        self._until = sent_to
        self.state = state

    @abstractmethod
    def _reduced(self, progress: Progress) -> None:
        """Begin a fast recovery."""

    @abstractmethod
    def _recovered(self) -> None:
        """End a recovery."""

    @abstractmethod
    def _adapt(self, progress: Progress) -> None:
        """Set the size after an acknowledgement."""


class CubicWindow(CongestionWindow):
    """The window of CUBIC."""

    def __init__(self) -> None:
        super().__init__()
        self._threshold = 1 << 30  # segments, below which the window grows by what is delivered
        self._grown = 0.0  # fraction of the next segment
        self._delivered = 0  # segments, in this recovery
        self._sent = 0
        self._highest = 0.0  # segments: W_max, the size at the last loss
        self._epoch: float | None = None  # seconds, when the growth along the cubic began
        self._target_at = 0.0  # seconds after that: K, when it reaches its plateau
        self._plateau = 0.0  # segments
        self._reno = 0.0  # segments, what Reno's window would be

    def rest(self) -> None:
        """Learn that the connection was idle; it remembers where slow start ends (RFC 7661, Linux's `tcp_cwnd_restart`)."""
        self._threshold = max(self._threshold, 3 * self.size // 4)
        self._epoch = None
        super().rest()

    def sent(self) -> None:
        """Learn that a segment was sent."""
        self._sent += 1

    def _begin(self, state: State, sent_to: int) -> None:
        super()._begin(state, sent_to)
        self._threshold = max(int(self.size * REDUCTION), MIN_THRESHOLD)
        self._grown = 0.0
        converging = self.size < self._highest  # RFC 9438 §4.7
        self._highest = self.size * (1 + REDUCTION) / 2 if converging else self.size
        self._epoch = None

    def _reduced(self, progress: Progress) -> None:  # noqa: ARG002 - one signature for all windows
        self._prior, self._delivered, self._sent = self.size, 0, 0

    def _recovered(self) -> None:
        if self.state is State.RECOVERY:
            self.size = self._threshold

    def _adapt(self, progress: Progress) -> None:
        if self.state is State.RECOVERY:
            self._proportional(progress)
        elif progress.advanced:
            self._grow(progress)

    def _proportional(self, progress: Progress) -> None:
        """RFC 6937 §3 with its slow-start bound, as in `tcp_cwnd_reduction`."""
        self._delivered += progress.delivered
        room = self._threshold - progress.in_flight
        if room < 0:
            count = -(-self._threshold * self._delivered // self._prior) - self._sent
        else:
            faster = progress.advanced and not progress.lost
            count = min(room, max(self._delivered - self._sent, progress.delivered) + faster)
        self.size = progress.in_flight + max(count, 0 if self._sent else 1)

    def _grow(self, progress: Progress) -> None:
        if self.size < self._threshold:
            if self.limited or self.size < 2 * (progress.in_flight + progress.delivered):
                self.size += progress.delivered
        elif self.limited:
            self._grown += progress.delivered * min(max(self._cubic(progress) / self.size - 1, 0.01), 0.5)
            self.size += int(self._grown)
            self._grown %= 1

    def _cubic(self, progress: Progress) -> float:
        """Return the size to reach within a round trip (RFC 9438 §4.2 to §4.5)."""
        if self._epoch is None:
            self._epoch = progress.now
            self._plateau = max(self._highest, self.size)
            self._target_at = ((self._plateau - self.size) / CUBIC_SCALE) ** (1 / 3)
            self._reno = self.size
        self._reno += RENO_GROWTH * progress.delivered / self.size
        since = progress.now - self._epoch + progress.min_rtt
        return max(self._plateau + CUBIC_SCALE * (since - self._target_at) ** 3, self._reno)


class BbrWindow(CongestionWindow):
    """The window of BBR, version 1, under a stream that its application limits."""

    def __init__(self) -> None:
        super().__init__()
        self._conserving_since: float | None = None  # seconds

    def _reduced(self, progress: Progress) -> None:
        self._conserving_since = progress.now
        self.size = progress.in_flight + progress.delivered

    def _recovered(self) -> None:
        self.size = max(self.size, self._prior)
        self._conserving_since = None

    def _adapt(self, progress: Progress) -> None:
        if not progress.delivered:
            return
        if self._conserving_since is not None and progress.sent_at >= self._conserving_since:
            self._conserving_since = None  # a round trip has passed
        size = max(self.size - progress.lost, 1)
        if self._conserving_since is not None:
            self.size = max(size, progress.in_flight + progress.delivered)
        else:
            grown = size + progress.delivered if size < INITIAL_WINDOW else size
            self.size = max(grown, BBR_MIN_WINDOW)
