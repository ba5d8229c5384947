"""How much the senders of a session may have under way: a window that text does not notice, until its path is congested.

Rules of this file
- One controller a path. It is told of each datagram that leaves, and of each that is known to have arrived because a fragment
  was acknowledged that had left with it. What left before that one and told something new is lost, and no longer under way;
  nor is what has not been heard of, nor anything else, for a round trip and its deviation.
- The window counts bytes and begins with what a TCP connection may send before it knows its path (RFC 6928), for each stream.
  It grows while it is what limits the senders and no queue stands: by slow start, and then by a tenth a round trip for each
  stream, but never by more than TCP's.
- What it lets go is paced (RFC 9002 §7.7): a quarter of it goes at once, but no more than ten segments. A window that is less
  than a datagram is a pace alone, down to one datagram each `PROBE`, where a round trip is shorter.
- A queue stands if for a round trip no datagram crossed without a delay of `QUEUE_LIMIT` beyond the least that was seen: the
  window is cut to `REDUCTION` of what is under way, down to that pace. Where the queue stays as it was all the same, others fill
  it: the rate is restored, and from then on loss cuts the window down to that pace, until the queue is gone.
- The least delay is that of all sessions to the same host, as who comes late would take a queue that is there for the path.
- Loss cuts the window by what was lost in a round trip: to `REDUCTION` for a whole segment, or for all that was under way, and in
  proportion for less (RFC 7141 §2.3).
- Bursts of loss of some hundred milliseconds are what the schemes are for. So loss does not cut the window below
  what arrives in a round trip where nothing is lost for a while (with some room, for senders that did not need all of the
  window), nor below twenty datagrams, where the path is long for each of up to thirty streams. Where for `SUSTAINED` there was
  no such stretch, bursts do not explain the loss, and it cuts down to that pace.
- Silence: after `SILENCE`, or two timeouts, in which nothing is acknowledged that should be, one datagram goes each `PROBE`
  until something is; then the window is at most what it began with (RFC 5681 §4.1). Whatever else comes from the peer lets one
  go at once: the path may be open just then, and no more goes in than comes out.
- At most one cut a round trip: only what left after the last one counts; further losses of that round trip add to theirs.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from eloquent.protocol.datagram import MAX_DATAGRAM
from eloquent.protocol.rtt import INITIAL_TIMEOUT, VARIANCE_WEIGHT, RttEstimator

INITIAL_WINDOW = 14_600  # bytes a stream: ten segments (RFC 6928)
LOSS_WINDOW = 20  # datagrams below which bursts of loss do not cut the window
LOSS_RTT = 0.4  # seconds of a round trip from which on that is for each stream; for fewer of them if it is shorter
LOSS_STREAMS = 30  # for which it is at most: what more need has been seen to arrive before they are so many
MAX_WINDOW = 16 * 1024 * 1024  # bytes: the first windows of as many streams as a session may have
REDUCTION = 0.7  # of what is under way, after a cut (RFC 9438 §4.6)
GROWTH = 0.1  # of a window a round trip, for each stream: of a datagram for each that arrives
RENO_GROWTH = 3 * (1 - REDUCTION) / (1 + REDUCTION)  # segments a round trip: Reno's, with that cut (RFC 9438 §4.3)
PACE = 1.25  # windows that go in a round trip (RFC 9002 §7.7)
BURST = 1 / 4  # of a window that goes at once
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


class CongestionController:
    """The window of one path.

    Args:
        least_rtt: The least round trip, in seconds, if others measure it as well; see `make_least_rtt`.

    Attributes:
        cuts: How often the window was cut.
    """

    def __init__(self, least_rtt: "Recent | None" = None) -> None:
        self.cuts = 0
        self._awaiting: set[object] = set()  # the streams that have something unacknowledged
        self._initial = float(INITIAL_WINDOW)  # bytes; of the streams that await something
        self._window: float | None = None  # bytes; None until something has changed it
        self._threshold = math.inf  # bytes, at which slow start ends
        self._rtt = RttEstimator()
        self._latest = 0.0  # seconds, of the last round trip
        self._base = make_least_rtt() if least_rtt is None else least_rtt
        self._proven = Recent(max, SUSTAINED)  # bytes that arrive in a round trip, in a stretch without a loss
        self._departures: deque[_Departure] = deque()  # of what is under way
        self._flight = 0  # bytes under way
        self._mean_size = float(FULL)
        self._paced_to = -math.inf  # seconds; when all that went would have gone at the pace
        self._limited_at = -math.inf  # seconds; when the window last held something back
        self._cut_at = -math.inf  # seconds
        self._lost = 0  # bytes, of what left before that; 0 if that was for a queue
        self._before_loss = 0.0  # bytes under way then
        self._above_since: float | None = None  # seconds; since when each datagram met a queue
        self._least_queue = math.inf  # seconds, since then
        self._queue_before: float | None = None  # seconds, of the queue at the first cut since there was none
        self._flight_before = 0.0  # bytes, then
        self._latest_before = math.inf  # seconds, then
        self._queue_is_foreign = False
        self._began = math.inf  # seconds; when the first datagram left
        self._clean_from: float | None = None  # seconds; when the first that arrived after the last loss had left
        self._clean_bytes = 0  # that have arrived since
        self._overdue = 0  # bytes that told something new and have not been heard of in time
        self._heard_at = -math.inf  # seconds; when an acknowledgement came last
        self._unheard_since = math.inf  # seconds; since when something is unacknowledged and nothing came
        self._is_peer_there = False  # whether something came from the peer since the last datagram left

    @property
    def window(self) -> float:
        """Bytes that may be under way; less than a datagram is a pace."""
        return self._initial if self._window is None else self._window

    @property
    def rtt(self) -> float | None:
        """Seconds; the smoothed round-trip time of datagrams that arrived, or None."""
        return self._rtt.smoothed

    def is_limited(self, now: float) -> bool:
        """Return whether the window held something back in the latest round trip."""
        return now - self._limited_at <= max(self._rtt.smoothed or 0.0, MIN_SPAN)

    @property
    def _pace(self) -> float:
        """Seconds that a byte takes; 0 as long as no round trip is known."""
        return (self._rtt.smoothed or 0.0) / (PACE * self.window)

    @property
    def _pace_opens(self) -> float:
        return self._paced_to - min(BURST * self.window, INITIAL_WINDOW) * self._pace

    @property
    def _least(self) -> float:
        """Bytes below which nothing cuts the window: one datagram goes each `PROBE`, or each round trip if that is longer."""
        return self._mean_size * min((self._rtt.smoothed or 0.0) / PROBE, 1.0) / PACE

    def room(self, now: float) -> float:
        """Return how many bytes may go now; 0 for nothing. With nothing under way, a whole datagram may, at the pace."""
        self._expire(now)
        if self.is_silent(now):
            return 0.0 if self._departures and not self._is_peer_there else float(FULL)
        room = self.window - self._flight if self._departures else max(self.window, float(FULL))
        if room <= 0 or now < self._pace_opens:
            self._limited_at = now
            return 0.0
        return room

    def next_room(self, now: float) -> float:
        """Return when there is room even if nothing comes back; `now` or earlier if there is."""
        if self.room(now) > 0:
            return now
        window, opens = (0.0, now) if self.is_silent(now) else (self.window, self._pace_opens)
        left = self._flight
        for departure in self._departures:
            if left < window or not left:
                break
            left -= departure.size
            opens = max(opens, max(departure.sent_at, self._heard_at) + self._patience(now))
        return opens

    def sent(self, size: int, *, telling: bool, now: float) -> None:
        """Record that a datagram left.

        Args:
            size: Its bytes with all headers.
            telling: Whether it has something new, so that its arrival will be told.
            now: Seconds.
        """
        if self._began == math.inf:
            self._began = now
        self._is_peer_there = False
        self._departures.append(_Departure(now, size, telling))
        self._flight += size
        self._paced_to = max(self._paced_to, now) + min(size * self._pace, max(PROBE, self._rtt.smoothed or 0.0))
        self._mean_size += SIZE_GAIN * (size - self._mean_size)

    def awaits(self, stream: object, *, now: float) -> None:
        """Record that something of a stream is unacknowledged, from now on or still."""
        if not self._awaiting:
            self._unheard_since = now
        self._awaiting.add(stream)
        self._note_streams()

    def rests(self, stream: object) -> None:
        """Record that nothing of a stream is unacknowledged, or that it is over."""
        self._awaiting.discard(stream)
        self._note_streams()
        if not self._awaiting:
            self._unheard_since = math.inf

    def _note_streams(self) -> None:
        self._initial = float(min(max(len(self._awaiting), 1) * INITIAL_WINDOW, MAX_WINDOW))

    def spoken(self) -> None:
        """Record that something came from the peer, of whatever kind."""
        self._is_peer_there = True

    def heard(self, *, now: float) -> None:
        """Record that an acknowledgement came, of whatever."""
        if self.is_silent(now):
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
        self._note_stretch(sent_at, size, now, lost=lost > 0)
        if sent_at <= self._cut_at:
            if certain and self._queue_before is not None:  # it met the queue that the cut is for
                self._queue_before = max(self._queue_before, now - sent_at - self._base.value(now, 0.0))
            if lost and self._lost:
                self._add_loss(lost, now)
            return
        if certain:
            self._note_queue(now - sent_at, now)
        if self._queue_stands(now):
            self._meet_queue(min(flight, self.window), now)
        elif lost:
            self._meet_loss(lost, flight, now)
        elif self._above_since is None or self._queue_is_foreign:
            self._grow(now)
        else:
            self._threshold = min(self._threshold, self.window)

    def lost(self, sent_at: float, *, now: float) -> None:
        """Learn from a sender that something is lost which left last at an instant."""
        self._clean_from = None
        if sent_at > self._cut_at:
            self._meet_loss(round(self._mean_size), self._flight, now)

    def _note_stretch(self, sent_at: float, size: int, now: float, *, lost: bool) -> None:
        if lost or self._clean_from is None:
            self._clean_from, self._clean_bytes = sent_at, 0
            return
        self._clean_bytes += size
        lasted = sent_at - self._clean_from
        if lasted >= CLEAN:
            self._proven.add(self._clean_bytes / lasted * (self._rtt.smoothed or now - sent_at), now)

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

    def _meet_queue(self, flight: float, now: float) -> None:
        """Cut the window for a queue, or take back the cuts that have not helped."""
        if self._queue_before is None:
            self._queue_before, self._flight_before, self._latest_before = self._least_queue, flight, self._latest
        elif flight < QUEUE_KEPT * self._flight_before and self._least_queue > QUEUE_KEPT * self._queue_before:
            self._queue_is_foreign = True
            self._window = max(self.window, self._flight_before * self._latest / self._latest_before)
            self._threshold = self.window
            return
        self._begin_cut(now)
        self._lost, self._above_since, self._least_queue = 0, None, math.inf
        self._cut_to(max(REDUCTION * flight, self._least))

    def _meet_loss(self, lost: int, flight: float, now: float) -> None:
        self._lost, self._before_loss = 0, min(max(flight, lost), self.window)
        self._begin_cut(now)
        self._add_loss(lost, now)

    def _add_loss(self, lost: int, now: float) -> None:
        """Cut the window by what was lost within a round trip."""
        self._lost += lost
        part = min(max(self._lost / FULL, self._lost / self._before_loss), 1.0)
        self._cut_to(max((1 - part * (1 - REDUCTION)) * self._before_loss, self._least_for_loss(now)))

    def _begin_cut(self, now: float) -> None:
        self.cuts += 1
        self._cut_at = now

    def _cut_to(self, window: float) -> None:
        self._window = self._threshold = min(window, self.window)

    def _least_for_loss(self, now: float) -> float:
        """Return below what loss does not cut the window."""
        proven = self._proven.value(now, 0.0)
        if self._queue_is_foreign or (not proven and now - self._began >= SUSTAINED):
            return self._least
        headroom = 1.0 if self.is_limited(now) else HEADROOM
        rtt = LOSS_RTT if self._rtt.smoothed is None else self._rtt.smoothed
        streams = max(min(len(self._awaiting), LOSS_STREAMS) * min(rtt / LOSS_RTT, 1.0), 1.0)
        return max(headroom * proven, streams * min(LOSS_WINDOW * self._mean_size, INITIAL_WINDOW))

    def _grow(self, now: float) -> None:
        if not self.is_limited(now):
            return  # the senders do not need more, and what was not needed says nothing (RFC 7661)
        window = self.window
        if window < self._threshold:
            window += self._mean_size
        else:
            streams = max(len(self._awaiting), 1)
            segments = RENO_GROWTH if self._queue_is_foreign else 1.0
            window += self._mean_size * min(GROWTH * streams, segments * FULL / window)
        self._window = min(window, MAX_WINDOW)

    def is_silent(self, now: float) -> bool:
        """Return whether nothing has been acknowledged for so long that the path may carry nothing."""
        silence = now - self._unheard_since
        return silence > SILENCE and silence > 2 * self._rtt.timeout()

    def _patience(self, now: float) -> float:
        """Return for how many seconds a datagram counts as under way, unless it is heard of."""
        if self.is_silent(now):
            return max(PROBE, self._rtt.timeout())
        smoothed, variance = self._rtt.smoothed, self._rtt.variance
        if smoothed is None:
            return INITIAL_TIMEOUT
        longest = max(smoothed, self._latest)
        return longest + max(VARIANCE_WEIGHT * variance, MARGIN * longest)

    def _expire(self, now: float) -> None:
        departures = self._departures
        if not departures:
            return
        patience = self._patience(now)
        while departures and max(departures[0].sent_at, self._heard_at) + patience <= now:
            departure = departures.popleft()
            self._flight -= departure.size
            self._overdue += departure.size if departure.telling else 0

    def _leave(self, sent_at: float) -> tuple[int, int]:
        """Forget what left until then; return the bytes with news that were not heard of, and those that left just then."""
        lost, self._overdue, size, departures = self._overdue, 0, 0, self._departures
        while departures and departures[0].sent_at <= sent_at:
            departure = departures.popleft()
            self._flight -= departure.size
            if departure.sent_at == sent_at:
                size += departure.size
            elif departure.telling:
                lost += departure.size
        return lost, size


class _Departure(NamedTuple):
    """A datagram that is under way: when it left, its bytes, and whether its arrival will be told."""

    sent_at: float
    size: int
    telling: bool


class Recent:
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
        """Take a value."""
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


def make_least_rtt() -> Recent:
    """Return what keeps the least round trip of a path, in seconds, for the controllers of all sessions that share it."""
    return Recent(min, BASE_PERIOD)
