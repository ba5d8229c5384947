"""How much the senders of a session may have under way: a window that text does not notice, until its path is congested.

Rules of this file
- One controller a path. It is told of each datagram that leaves, and of each that is known to have arrived because a fragment
  was acknowledged that had left with it. What left before that one and told something new is lost, and no longer under way;
  nor is what has not been heard of, nor anything else, for a round trip and its deviation.
- The window counts bytes and begins with what a TCP connection may send before it knows its path (RFC 6928), for each stream.
  It grows as TCP's does, slow start and then additively, while it is what limits the senders and no queue stands.
- A queue stands if for a round trip no datagram crossed without a delay of `QUEUE_LIMIT` beyond the least that was seen: the
  window is cut to `REDUCTION` of what is under way, down to a single datagram a round trip (RFC 8085 §3.1.3). Where the queue
  stays as it was all the same, others fill it: the rate is restored, and from then on the window grows and loss cuts it as for a
  new TCP connection, until the queue is gone.
- Loss: bursts of some hundred milliseconds are what the schemes are for. So it cuts the window as for TCP, but not below
  what arrives in a round trip where nothing is lost for a while (with some room, for senders that did not need all of the
  window), nor below twenty datagrams. Where for `SUSTAINED` there was no such stretch, bursts do not explain the loss, and it cuts
  further, as a queue does.
- Silence: after `SILENCE`, or two timeouts, in which nothing is acknowledged that should be, one datagram goes each `PROBE`
  until something is; then the window is at most what it began with (RFC 5681 §4.1).
- At most one cut a round trip: only what left after the last one counts.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakSet

from eloquent.protocol.datagram import MAX_DATAGRAM, PAYLOAD_BUDGET
from eloquent.protocol.rtt import INITIAL_TIMEOUT, VARIANCE_WEIGHT, RttEstimator

INITIAL_WINDOW = 14_600  # bytes a stream: ten segments (RFC 6928)
LOSS_WINDOW = 20  # datagrams below which bursts of loss do not cut the window, likewise
MAX_WINDOW = 16 * 1024 * 1024  # bytes: the first windows of as many streams as a session may have
REDUCTION = 0.7  # of what is under way, at each cut (RFC 9438 §4.6)
GROWTH = (
    3 * (1 - REDUCTION) / (1 + REDUCTION)
)  # segments a round trip, which with that cut is as fast as Reno (RFC 9438 §4.3)
QUEUE_LIMIT = 0.100  # seconds of delay beyond the least: the target of LEDBAT (RFC 6817 §2.4.2)
QUEUE_GONE = 0.050  # seconds below which whoever filled the queue has stopped
QUEUE_KEPT = 0.85  # of the queue before a cut; with less left of it, the cut has helped
MIN_SPAN = 0.300  # seconds for which a queue has to stand, where a round trip is shorter
CLEAN = 0.080  # seconds without a loss: what is seen of a slot of 100 ms between two bursts of loss
HEADROOM = (
    2.5  # of what arrives in a round trip of such a stretch: a burst leaves two unheard of, and longer packets follow
)
SUSTAINED = 10.0  # seconds; such a stretch counts in this period and the next
SILENCE = 3.0  # seconds, above the round trips and bursts that the schemes are for
PROBE = 2.0  # seconds between datagrams in a silence
BASE_PERIOD = 300.0  # seconds; the least delay is that of this period and the one before (RFC 6817: ten minutes)
MARGIN = 1 / 4  # of the smoothed round trip that a datagram may be late (RACK begins with that, RFC 8985 §6.2.1)
SIZE_GAIN = 1 / 16  # of each datagram in their mean size
FULL = MAX_DATAGRAM + 28  # bytes, with IPv4 and UDP headers
EMPTY = FULL - PAYLOAD_BUDGET  # bytes that a datagram has around a payload


class CongestionController:
    """The window of one path.

    Attributes:
        cuts: How often the window was cut.
    """

    def __init__(self) -> None:
        self.cuts = 0
        self._awaiting: WeakSet[object] = WeakSet()  # the streams that have something unacknowledged
        self._window: float | None = None  # bytes; None until something has changed it
        self._threshold = math.inf  # bytes, at which slow start ends
        self._rtt = RttEstimator()
        self._latest = 0.0  # seconds, of the last round trip
        self._base = _Recent(min, BASE_PERIOD)  # seconds, of round trips
        self._proven = _Recent(max, SUSTAINED)  # bytes that arrive in a round trip, in a stretch without a loss
        self._departures: deque[_Departure] = deque()  # of what is under way
        self._flight = 0  # bytes under way
        self._mean_size = float(FULL)
        self._limited_at = -math.inf  # seconds; when the window last held something back
        self._cut_at = -math.inf  # seconds
        self._above_since: float | None = None  # seconds; since when each datagram met a queue
        self._least_queue = math.inf  # seconds, since then
        self._queue_before: float | None = None  # seconds, of the queue at the first cut since there was none
        self._flight_before = 0  # bytes, then
        self._latest_before = math.inf  # seconds, then
        self._queue_is_foreign = False
        self._began = math.inf  # seconds; when the first datagram left
        self._clean_from: float | None = None  # seconds; when the first that arrived after the last loss had left
        self._clean_bytes = 0  # that have arrived since
        self._overdue = False  # whether something that told something new has not been heard of in time
        self._heard_at = -math.inf  # seconds; when an acknowledgement came last
        self._unheard_since = math.inf  # seconds; since when something is unacknowledged and nothing came

    @property
    def window(self) -> float:
        """Bytes that may be under way."""
        return self._initial if self._window is None else self._window

    @property
    def rtt(self) -> float | None:
        """Seconds; the smoothed round-trip time of datagrams that arrived, or None."""
        return self._rtt.smoothed

    @property
    def _initial(self) -> float:
        return float(min(max(len(self._awaiting), 1) * INITIAL_WINDOW, MAX_WINDOW))

    def is_limited(self, now: float) -> bool:
        """Return whether the window held something back in the latest round trip."""
        return now - self._limited_at <= max(self._rtt.smoothed or 0.0, MIN_SPAN)

    def room(self, now: float) -> float:
        """Return how many bytes may go now; 0 or less for nothing. With nothing under way, a whole datagram always may."""
        self._expire(now)
        if not self._departures:
            return float(FULL) if self._is_silent(now) else max(self.window, float(FULL))
        room = 0.0 if self._is_silent(now) else self.window - self._flight
        if room <= 0:
            self._limited_at = now
        return room

    def next_room(self, now: float) -> float:
        """Return when there is room even if nothing comes back; `now` or earlier if there is."""
        if self.room(now) > 0:
            return now
        window = 0.0 if self._is_silent(now) else self.window
        left, departures = self._flight, iter(self._departures)
        while left >= window and left > 0:
            departure = next(departures)
            left -= departure.size
        return max(departure.sent_at, self._heard_at) + self._patience(now)

    def sent(self, size: int, *, telling: bool, now: float) -> None:
        """Record that a datagram left.

        Args:
            size: Its bytes with all headers.
            telling: Whether it has something new, so that its arrival will be told.
            now: Seconds.
        """
        if self._began == math.inf:
            self._began = now
        self._departures.append(_Departure(now, size, telling))
        self._flight += size
        self._mean_size += SIZE_GAIN * (size - self._mean_size)

    def awaits(self, stream: object, *, now: float) -> None:
        """Record that something of a stream is unacknowledged, from now on or still; a stream that is dropped is forgotten."""
        if not self._awaiting:
            self._unheard_since = now
        self._awaiting.add(stream)

    def rests(self, stream: object) -> None:
        """Record that nothing of a stream is unacknowledged."""
        self._awaiting.discard(stream)
        if not self._awaiting:
            self._unheard_since = math.inf

    def heard(self, *, now: float) -> None:
        """Record that an acknowledgement came, of whatever."""
        if self._is_silent(now):
            self._window = min(self.window, self._initial)
            self._above_since = None
        self._unheard_since = self._heard_at = now

    def arrived(self, sent_at: float, *, certain: bool, now: float) -> None:
        """Learn that a datagram has arrived, later than which none of its stream that has arrived had left so far.

        Args:
            sent_at: When it left, seconds.
            certain: Whether no other one can have brought the news, so that its round-trip time is known.
            now: Seconds.
        """
        flight = self._flight
        lost, size = self._leave(sent_at)
        if certain:
            self._rtt.sample(now - sent_at)
            self._latest = now - sent_at
            self._base.add(now - sent_at, now)
        self._note_stretch(sent_at, size, now, lost=lost)
        if sent_at <= self._cut_at:
            if certain and self._queue_before is not None:  # it met the queue that the cut is for
                self._queue_before = max(self._queue_before, now - sent_at - self._base.value(now, 0.0))
            return
        if certain:
            self._note_queue(now - sent_at, now)
        if self._queue_stands(now):
            self._meet_queue(flight, now)
        elif lost:
            self._cut(flight, now, least=self._least_for_loss(now))
        elif self._above_since is None or self._queue_is_foreign:
            self._grow(now)
        else:
            self._threshold = min(self._threshold, self.window)

    def lost(self, sent_at: float, *, now: float) -> None:
        """Learn from a sender that something is lost which left last at an instant."""
        self._clean_from = None
        if sent_at > self._cut_at:
            self._cut(self._flight, now, least=self._least_for_loss(now))

    def _note_stretch(self, sent_at: float, size: int, now: float, *, lost: bool) -> None:
        if lost or self._clean_from is None:
            self._clean_from, self._clean_bytes = sent_at, 0
            return
        self._clean_bytes += size
        lasted = sent_at - self._clean_from
        if lasted >= CLEAN:
            self._proven.add(self._clean_bytes / lasted * (self._rtt.smoothed or 0.0), now)

    def _note_queue(self, rtt: float, now: float) -> None:
        queue = rtt - self._base.value(now, rtt)
        if queue <= QUEUE_LIMIT:
            self._above_since, self._least_queue, self._queue_before = None, math.inf, None
            self._queue_is_foreign &= queue > QUEUE_GONE
        else:
            self._above_since = now if self._above_since is None else self._above_since
            self._least_queue = min(self._least_queue, queue)

    def _queue_stands(self, now: float) -> bool:
        return (
            not self._queue_is_foreign
            and self._above_since is not None
            and now - self._above_since >= max(self._rtt.smoothed or 0.0, MIN_SPAN)
        )

    def _meet_queue(self, flight: int, now: float) -> None:
        """Cut the window for a queue, or take back the cuts that have not helped."""
        if self._queue_before is None:
            self._queue_before, self._flight_before, self._latest_before = self._least_queue, flight, self._latest
        elif flight < QUEUE_KEPT * self._flight_before and self._least_queue > QUEUE_KEPT * self._queue_before:
            self._queue_is_foreign = True
            self._window = max(self.window, self._flight_before * self._latest / self._latest_before)
            self._threshold = math.inf
            return
        self._cut(flight, now, least=self._mean_size)

    def _least_for_loss(self, now: float) -> float:
        """Return below what loss does not cut the window."""
        proven = self._proven.value(now, 0.0)
        if self._queue_is_foreign or (not proven and now - self._began >= SUSTAINED):
            return self._mean_size
        headroom = 1.0 if self.is_limited(now) else HEADROOM
        return max(headroom * proven, min(LOSS_WINDOW * self._mean_size, INITIAL_WINDOW))

    def _cut(self, flight: int, now: float, *, least: float) -> None:
        self.cuts += 1
        self._window = self._threshold = min(max(REDUCTION * min(flight, self.window), least), self.window)
        self._cut_at = now
        self._above_since, self._least_queue = None, math.inf

    def _grow(self, now: float) -> None:
        if not self.is_limited(now):
            return  # the senders do not need more, and what was not needed says nothing (RFC 7661)
        window = self.window
        if window < self._threshold:
            window += self._mean_size
        else:
            segment = GROWTH * FULL if self._queue_is_foreign else self._mean_size
            window += segment * self._mean_size / window
        self._window = min(window, MAX_WINDOW)

    def _is_silent(self, now: float) -> bool:
        return now - self._unheard_since > max(SILENCE, 2 * self._rtt.timeout())

    def _patience(self, now: float) -> float:
        """Return for how many seconds a datagram counts as under way, unless it is heard of."""
        if self._is_silent(now):
            return max(PROBE, self._rtt.timeout())
        smoothed, variance = self._rtt.smoothed, self._rtt.variance
        if smoothed is None:
            return INITIAL_TIMEOUT
        longest = max(smoothed, self._latest)
        return longest + max(VARIANCE_WEIGHT * variance, MARGIN * longest)

    def _expire(self, now: float) -> None:
        patience = self._patience(now)
        while self._departures and max(self._departures[0].sent_at, self._heard_at) + patience <= now:
            departure = self._departures.popleft()
            self._flight -= departure.size
            self._overdue |= departure.telling

    def _leave(self, sent_at: float) -> tuple[bool, int]:
        """Forget what left until then; return whether of what had news some was not heard of, and the bytes that left just then."""
        lost, self._overdue, size = self._overdue, False, 0
        while self._departures and self._departures[0].sent_at <= sent_at:
            departure = self._departures.popleft()
            self._flight -= departure.size
            lost |= departure.telling and departure.sent_at < sent_at
            size += departure.size if departure.sent_at == sent_at else 0
        return lost, size


class _Departure(NamedTuple):
    """A datagram that is under way: when it left, its bytes, and whether its arrival will be told."""

    sent_at: float
    size: int
    telling: bool


class _Recent:
    """The least, or the most, of this period and the one before.

    Args:
        choose: `min` or `max`.
        period: Seconds.
    """

    def __init__(self, choose: Callable[[float, float], float], period: float) -> None:
        self._choose = choose
        self._length = period
        self._began = -math.inf  # seconds
        self._values: tuple[float | None, float | None] = (None, None)  # of this period and of the one before

    def add(self, value: float, now: float) -> None:
        self._turn(now)
        here, before = self._values
        self._values = (value if here is None else self._choose(here, value), before)

    def value(self, now: float, default: float) -> float:
        """Return it, or the default where there is none."""
        self._turn(now)
        known = [value for value in self._values if value is not None]
        return default if not known else known[0] if len(known) == 1 else self._choose(known[0], known[1])

    def _turn(self, now: float) -> None:
        passed = now - self._began
        if passed >= self._length:
            self._values = (None, self._values[0] if passed < 2 * self._length else None)
            self._began = now
