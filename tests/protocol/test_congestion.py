"""The controller by itself: what it is told of datagrams, and what it lets go."""

import math
from collections.abc import Callable

import pytest

from eloquent.protocol.congestion import (
    BURST,
    FULL,
    INITIAL_WINDOW,
    LOSS_WINDOW,
    PACE,
    PROBE,
    QUEUE_LIMIT,
    REDUCTION,
    SILENCE,
    SUSTAINED,
    CongestionController,
    Recent,
    make_least_rtt,
)

Loses = Callable[[int, float], bool]

SIZE = 200  # bytes
RTT = 0.1


class Flow:
    """Datagrams at an even pace, as far as there is room, each of which arrives a round trip later or not at all."""

    def __init__(
        self, gap: float = 0.02, size: int = SIZE, *, certain: bool = True, least_rtt: Recent | None = None
    ) -> None:
        self.congestion = CongestionController(least_rtt)
        self.size = size
        self.certain = certain
        self.now = 0.0
        self.gap = gap
        self.sent = 0
        self._last = 0.0
        self._arrivals: list[tuple[float, float]] = []

    def run(self, seconds: float, *, queue: float = 0.0, loses: Loses = lambda number, now: False) -> int:
        """Let time pass, and return how many datagrams went."""
        before, until = self.sent, self.now + seconds
        while self.now < until:
            self._arrive()
            if self.congestion.room(self.now) > 0:
                self.congestion.sent(self.size, telling=True, now=self.now)
                self.congestion.awaits(self, now=self.now)
                self.sent += 1
                if not loses(self.sent, self.now):
                    self._last = max(self._last, self.now + RTT + queue)  # in order
                    self._arrivals.append((self._last, self.now))
            self.now += self.gap
        return self.sent - before

    def _arrive(self) -> None:
        due = [arrival for arrival in self._arrivals if arrival[0] <= self.now]
        self._arrivals = [arrival for arrival in self._arrivals if arrival[0] > self.now]
        for when, sent_at in due:
            self.congestion.heard(now=when)
            self.congestion.arrived(sent_at, certain=self.certain, now=when)


def test_a_path_without_queue_and_loss_leaves_the_window_alone():
    flow = Flow()
    assert flow.run(60.0) == pytest.approx(3000, abs=1)
    assert (flow.congestion.window, flow.congestion.cuts) == (INITIAL_WINDOW, 0)


def test_a_standing_queue_cuts_what_is_under_way():
    flow = Flow()
    flow.run(5.0)
    flow.run(1.0, queue=2 * QUEUE_LIMIT)
    assert flow.congestion.cuts >= 1
    assert flow.congestion.window <= REDUCTION * (RTT + 2 * QUEUE_LIMIT + flow.gap) / flow.gap * SIZE


def test_a_queue_that_does_not_stand_for_a_round_trip_holds_nothing_back():
    flow = Flow()
    went = sum(flow.run(0.14, queue=2 * QUEUE_LIMIT) + flow.run(0.5) for _ in range(20))
    assert went == pytest.approx(flow.now / flow.gap, abs=1)


def test_a_queue_that_outlasts_the_cuts_is_others_and_they_are_taken_back():
    flow = Flow()
    flow.run(5.0)
    flow.run(20.0, queue=2 * QUEUE_LIMIT)
    assert flow.run(10.0, queue=2 * QUEUE_LIMIT) == pytest.approx(500, abs=2)


def test_beside_a_foreign_queue_loss_cuts_as_it_does_for_tcp():
    flow = Flow()
    flow.run(5.0)
    flow.run(20.0, queue=2 * QUEUE_LIMIT)
    went = flow.run(30.0, queue=2 * QUEUE_LIMIT, loses=lambda number, now: number % 10 == 0)
    assert flow.congestion.window < LOSS_WINDOW * SIZE
    assert went < 0.8 * 1500


def test_bursts_of_loss_hold_nothing_back():
    flow = Flow()
    went = flow.run(60.0, loses=lambda number, now: now % 0.4 >= 0.2)  # half of all, 200 ms good and 200 ms bad
    assert flow.congestion.cuts > 10
    assert went == pytest.approx(3000, abs=1)


def test_loss_without_a_clean_stretch_holds_back_more_and_more():
    flow = Flow()
    flow.run(SUSTAINED, loses=lambda number, now: number % 2 == 0)
    went = flow.run(SUSTAINED, loses=lambda number, now: number % 2 == 0)
    assert flow.congestion.window < 3 * SIZE
    assert went < 0.6 * SUSTAINED / flow.gap


def test_when_the_path_is_clean_again_the_window_grows_to_what_is_needed():
    flow = Flow()
    flow.run(2 * SUSTAINED, loses=lambda number, now: number % 2 == 0)
    flow.run(20.0)
    assert flow.run(10.0) == pytest.approx(500, abs=2)


def test_a_silent_path_gets_one_datagram_each_two_seconds():
    flow = Flow()
    flow.run(5.0)
    flow.run(SILENCE + PROBE, loses=lambda number, now: True)
    assert flow.run(20 * PROBE, loses=lambda number, now: True) == pytest.approx(20, abs=1)


def test_a_pause_of_the_source_is_no_silence():
    flow = Flow()
    flow.run(5.0)
    flow.now += 1.0
    flow.run(0.0)
    flow._arrive()
    flow.congestion.rests(flow)
    flow.now += 60.0
    assert flow.congestion.room(flow.now) == INITIAL_WINDOW


def test_a_bulk_sender_doubles_its_window_each_round_trip_until_a_queue_builds_up():
    flow = Flow(gap=0.0005, size=FULL)
    flow.run(2 * RTT)
    for _ in range(3):
        before = flow.congestion.window
        flow.run(RTT)
        assert 1.5 * before < flow.congestion.window < 2.2 * before
    before = flow.congestion.window
    flow.run(1.0, queue=2 * QUEUE_LIMIT)
    assert flow.congestion.window < 1.5 * before


def test_a_window_goes_at_a_pace():
    flow = Flow(gap=0.0005, size=FULL)
    flow.run(3 * RTT)
    went = flow.run(RTT / 10) * FULL
    assert 0 < went < (BURST + 2 * PACE / 10) * flow.congestion.window + FULL


def test_the_thinnest_flow_is_a_datagram_each_two_seconds():
    flow = Flow()
    flow.run(5.0)
    flow.run(20.0, queue=2 * QUEUE_LIMIT)
    flow.run(60.0, queue=2 * QUEUE_LIMIT, loses=lambda number, now: number % 4 != 0)
    assert flow.run(20 * PROBE, queue=2 * QUEUE_LIMIT, loses=lambda number, now: number % 4 != 0) < 4 * 20


def test_losses_cut_by_the_bytes_that_are_lost():
    """One small datagram of a hundred, beside a foreign queue: TCP would lose three tenths, for a whole segment."""
    flow = Flow(gap=0.001)
    flow.run(5.0)
    flow.run(20.0, queue=2 * QUEUE_LIMIT)
    before = flow.congestion.window
    flow.run(0.4, queue=2 * QUEUE_LIMIT, loses=lambda number, now: number % 200 == 0)
    assert 0.85 * before < flow.congestion.window


def test_copies_hide_no_stretch_without_loss():
    """Where copies leave every round trip uncertain, bursts of loss still leave twenty datagrams."""
    flow = Flow(certain=False)
    flow.run(3 * SUSTAINED, loses=lambda number, now: now % 0.4 >= 0.2)
    assert flow.congestion.window >= LOSS_WINDOW * SIZE


def test_who_comes_late_knows_the_path_without_its_queue_from_others():
    least = make_least_rtt()
    early, late = Flow(least_rtt=least), Flow(least_rtt=least)
    early.run(1.0)
    late.run(5.0, queue=2 * QUEUE_LIMIT)
    assert late.congestion.cuts > 0
    alone = Flow()
    alone.run(5.0, queue=2 * QUEUE_LIMIT)
    assert alone.congestion.cuts == 0


def test_each_stream_begins_with_a_window_of_its_own():
    congestion = CongestionController()
    streams = [object.__new__(type("Stream", (), {})) for _ in range(3)]
    for stream in streams:
        congestion.awaits(stream, now=0.0)
    assert congestion.window == 3 * INITIAL_WINDOW
    congestion.rests(streams.pop())
    assert congestion.window == 2 * INITIAL_WINDOW


def test_room_comes_back_when_what_is_under_way_is_overdue():
    congestion = CongestionController()
    while congestion.room(0.0) > 0:
        congestion.sent(FULL, telling=True, now=0.0)
    due = congestion.next_room(0.0)
    assert 0.0 < due < math.inf
    assert congestion.room(due) > 0
