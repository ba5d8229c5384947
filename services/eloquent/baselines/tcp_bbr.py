"""The window and the pace of BBR, version 1, as Linux has it (Cardwell et al., "BBR: Congestion-Based Congestion Control", 2016).

Rules of this file
- Each acknowledgement tells a rate of delivery: what was delivered since its newest segment was sent, over the longer of
  the times that sending and acknowledging it took (draft-cheng-iccrg-delivery-rate-estimation). If there was nothing to
  send at that time, it is the application's rate and counts only if it is the highest.
- The bandwidth is the highest rate of ten rounds, the round-trip time the least of ten seconds.
- Startup has a window of 2.885 times their product and a pace of 2.885 times the bandwidth, until the bandwidth grows by
  less than a quarter in each of three rounds that the application does not limit: a steady stream never leaves it. Then
  the queue is drained, and the pace goes in cycles around the bandwidth, with a window of twice the product.
- When the least round-trip time is ten seconds old, there are no more than 4 segments in flight for 200 ms and a round.
- A loss does not shrink the window: in the first round of a recovery each delivered segment releases one, then it grows by
  what is delivered, and the end of the recovery restores it.

Left out: the rate of a policer and the allowance for acknowledgements that come together, for which a stream has to fill its
path. Linux draws the phase that the cycle begins with; here it is the third.
"""

import enum
import math
from collections import deque

from eloquent.baselines.tcp_loss import Delivery, Flight
from eloquent.baselines.tcp_window import INITIAL_WINDOW, CongestionWindow, Progress, State

MIN_WINDOW = 4  # segments
HIGH_GAIN = 2.885  # 2 / ln 2: doubles the rate in each round
WINDOW_GAIN = 2.0
PACES = (1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)  # of the bandwidth, a round-trip time each
FIRST_PHASE = 2
ROUNDS = 10  # that a rate counts
MIN_RTT_AGE = 10.0  # seconds
PROBE_TIME = 0.200  # seconds
GROWTH = 1.25  # of the bandwidth in a round, while the path is not full
FULL_AFTER = 3  # rounds
PACING_MARGIN = 0.99
PACED_FROM = 10  # transmissions
SEGMENT = 1448  # bytes that the pace takes a segment for
SMALL_BURSTS_BELOW = 150_000  # bytes per second: 1.2 Mbit/s
_MICROSECOND = 6  # digits, in which Linux measures


class Mode(enum.Enum):
    """What it is doing, as Linux names it."""

    STARTUP = enum.auto()
    DRAIN = enum.auto()
    PROBE_BW = enum.auto()
    PROBE_RTT = enum.auto()


class BbrWindow(CongestionWindow):
    """The window of BBR."""

    def __init__(self) -> None:
        super().__init__()
        self._mode = Mode.STARTUP
        self._state = State.OPEN
        self._prior = self.size  # before the recovery or the probe
        self._conserving = False
        self._delivered = 0  # segments
        self._delivered_at = 0.0  # seconds
        self._first_sent_at = 0.0  # seconds, of what the next rate is measured over
        self._starved_to = 0  # delivered segments until which rates are the application's; 0 for none
        self._restarting = False  # whether the stream was idle and nothing has been delivered since
        self._rates: deque[tuple[int, float]] = deque()  # round and segments per second, falling
        self._round = 0
        self._round_to = 0  # delivered segments that end it
        self._full = False  # whether the path was filled
        self._best = 0.0  # segments per second, when the bandwidth last grew
        self._rounds_since = 0
        self._phase, self._phase_at = FIRST_PHASE, 0.0  # seconds
        self._min_rtt = math.inf  # seconds
        self._min_rtt_at = 0.0  # seconds
        self._probe_until: float | None = None  # seconds; None until little enough is in flight
        self._probed_round = False
        self._transmissions = 0
        self._rate = 0.0  # bytes per second, of the pace; 0 for none

    @property
    def _bandwidth(self) -> float:
        return self._rates[0][1] if self._rates else 0.0

    def starved(self, in_flight: int) -> None:
        """Note that rates are the application's until what is in flight is delivered (`tcp_rate_check_app_limited`)."""
        if in_flight < self.size:
            self._starved_to = max(self._delivered + in_flight, 1)

    def sent(self, segment: Flight, *, alone: bool, now: float) -> None:
        """Note what had been delivered when a segment was sent, and when the pace lets the next one go."""
        if alone:
            self._first_sent_at = self._delivered_at = now
            self._restarting = self._starved_to > 0
        segment.delivery = Delivery(self._delivered, self._delivered_at, self._first_sent_at, self._starved_to > 0)
        self._transmissions += 1
        if self._transmissions >= PACED_FROM and self._rate:
            wait = (segment.stop - segment.start) / self._rate
            self.open_at = now + wait - min(wait / 2, now - self.open_at)

    def rest(self) -> None:
        """Leave a recovery; the window stays."""
        if self._state is not State.OPEN:
            self.size = max(self.size, self._prior)
        self._state, self._conserving = State.OPEN, False

    def reduce(self) -> None:
        """Remember the size, to restore it."""
        good = self._state is State.OPEN and self._mode is not Mode.PROBE_RTT
        self._prior = self.size if good else max(self.size, self._prior)

    def undo(self) -> None:
        """Expect the bandwidth to grow again."""
        self._best, self._rounds_since = 0.0, 0

    def recovered(self) -> None:
        """Do nothing: the next acknowledgement restores the size."""

    def timed_out(self, in_flight: int) -> None:
        """Fall to what may be under way, and expect the bandwidth to grow again."""
        super().timed_out(in_flight)
        self._state, self._best = State.LOSS, 0.0

    def adapt(self, progress: Progress) -> None:
        """Measure, and set mode, pace and size (`bbr_main`)."""
        if progress.by_timer:
            return
        self._delivered += progress.delivered
        if self._delivered > self._starved_to:
            self._starved_to = 0
        if progress.delivered:
            self._delivered_at = progress.now
        began = self._measure_rate(progress)
        self._turn_cycle(progress)
        self._fill(progress, began=began)
        self._measure_rtt(progress, began=began)
        self._set_pace()
        self._set_size(progress)

    def _measure_rate(self, progress: Progress) -> bool:
        """Take a rate of delivery, and return whether a round began (`tcp_rate_gen`, `bbr_update_bw`)."""
        newest = progress.newest
        if newest is None or newest.delivery is None:
            return False
        before = newest.delivery
        self._first_sent_at = newest.sent_at
        interval = max(newest.sent_at - before.first_sent_at, progress.now - before.at)
        if not 0 < round(interval, _MICROSECOND) >= round(progress.min_rtt, _MICROSECOND):
            return False
        began = before.segments >= self._round_to
        if began:
            self._round += 1
            self._round_to = self._delivered
            self._conserving = False
        rate = (self._delivered - before.segments) / interval
        if not before.starved or rate >= self._bandwidth:
            while self._rates and self._rates[0][0] < self._round - ROUNDS:
                self._rates.popleft()
            while self._rates and self._rates[-1][1] <= rate:
                self._rates.pop()
            self._rates.append((self._round, rate))
        return began

    def _turn_cycle(self, progress: Progress) -> None:
        """Go on to the next pace of the cycle (`bbr_update_cycle_phase`)."""
        if self._mode is not Mode.PROBE_BW:
            return
        before = progress.in_flight + progress.delivered + progress.lost
        over = progress.now - self._phase_at > self._min_rtt
        if PACES[self._phase] > 1:
            over = over and (progress.lost > 0 or before >= self._target(PACES[self._phase]))
        elif PACES[self._phase] < 1:
            over = over or before <= self._target(1.0)
        if over:
            self._phase, self._phase_at = (self._phase + 1) % len(PACES), progress.now

    def _fill(self, progress: Progress, *, began: bool) -> None:
        """Find out whether the path is full, and then drain its queue (`bbr_check_full_bw_reached`, `bbr_check_drain`)."""
        starved = (
            progress.newest is not None and progress.newest.delivery is not None and progress.newest.delivery.starved
        )
        if began and not starved and not self._full:
            self._rounds_since += 1
            if self._bandwidth >= GROWTH * self._best:
                self._best, self._rounds_since = self._bandwidth, 0
            self._full = self._rounds_since >= FULL_AFTER
        if self._mode is Mode.STARTUP and self._full:
            self._mode = Mode.DRAIN
        if self._mode is Mode.DRAIN and progress.in_flight <= self._target(1.0):
            self._leave(progress.now)

    def _measure_rtt(self, progress: Progress, *, began: bool) -> None:
        """Take a round-trip time, and probe for the least where that is old (`bbr_update_min_rtt`)."""
        now = progress.now
        old = now > self._min_rtt_at + MIN_RTT_AGE
        if progress.rtt is not None:
            rtt = round(progress.rtt, _MICROSECOND)
            if rtt < self._min_rtt or old:
                self._min_rtt, self._min_rtt_at = rtt, now
        if old and not self._restarting and self._mode is not Mode.PROBE_RTT:
            self.reduce()
            self._mode, self._probe_until = Mode.PROBE_RTT, None
        if self._mode is Mode.PROBE_RTT:
            self._starved_to = max(self._delivered + progress.in_flight, 1)
            if self._probe_until is not None:
                self._probed_round |= began
                if self._probed_round and now > self._probe_until:
                    self._min_rtt_at = now
                    self.size = max(self.size, self._prior)
                    self._leave(now)
            elif progress.in_flight <= MIN_WINDOW:
                self._probe_until, self._probed_round, self._round_to = now + PROBE_TIME, False, self._delivered
        self._restarting &= not progress.delivered

    def _leave(self, now: float) -> None:
        """Leave the drain or the probe."""
        self._mode = Mode.PROBE_BW if self._full else Mode.STARTUP
        self._phase, self._phase_at = FIRST_PHASE, now

    def _set_pace(self) -> None:
        gain = {
            Mode.STARTUP: HIGH_GAIN,
            Mode.DRAIN: 1 / HIGH_GAIN,
            Mode.PROBE_BW: PACES[self._phase],
            Mode.PROBE_RTT: 1.0,
        }
        rate = gain[self._mode] * self._bandwidth * SEGMENT * PACING_MARGIN
        if self._full or rate > self._rate:
            self._rate = rate

    def _target(self, gain: float) -> int:
        """Return a gain times bandwidth times round-trip time, and room for the hosts (`bbr_quantization_budget`)."""
        product = INITIAL_WINDOW
        if self._min_rtt < math.inf:
            product = math.ceil(round(gain * self._bandwidth * self._min_rtt, _MICROSECOND))
        size = product + 3 * (1 if self._rate < SMALL_BURSTS_BELOW else 2)
        return size + size % 2 + 2 * (self._mode is Mode.PROBE_BW and self._phase == 0)

    def _set_size(self, progress: Progress) -> None:
        """Grow towards the target, or conserve packets (`bbr_set_cwnd`)."""
        if progress.delivered:
            self.size = max(self.size - progress.lost, 1)
            self._note_state(progress)
            if self._conserving:
                self.size = max(self.size, progress.in_flight + progress.delivered)
            else:
                self._grow(progress.delivered)
        if self._mode is Mode.PROBE_RTT:
            self.size = min(self.size, MIN_WINDOW)

    def _note_state(self, progress: Progress) -> None:
        if progress.state is State.RECOVERY and self._state is not State.RECOVERY:
            self._conserving = True
            self._round_to = self._delivered
            self.size = progress.in_flight + progress.delivered
        elif progress.state is State.OPEN and self._state is not State.OPEN:
            self._conserving = False
            self.size = max(self.size, self._prior)
        self._state = progress.state

    def _grow(self, delivered: int) -> None:
        gain = {Mode.PROBE_BW: WINDOW_GAIN, Mode.PROBE_RTT: 1.0}.get(self._mode, HIGH_GAIN)
        target = self._target(gain)
        if self._full:
            self.size = min(self.size + delivered, target)
        elif self.size < target or self._delivered < INITIAL_WINDOW:
            self.size += delivered
        self.size = max(self.size, MIN_WINDOW)
