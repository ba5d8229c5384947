"""BBR's window over a path of 100 ms, with an application that sends little, a full path, losses, old measurements."""

import itertools
from collections import deque
from typing import Any

import pytest

from eloquent.baselines.tcp_bbr import MIN_WINDOW, BbrWindow
from eloquent.baselines.tcp_loss import Flight
from eloquent.baselines.tcp_window import INITIAL_WINDOW, Progress, State

RTT = 0.1


class Path:
    """Sends segments through a window and acknowledges each an RTT later, or by the rate of a bottleneck."""

    def __init__(self, window: BbrWindow, *, rate: float = 1e9) -> None:
        self.window = window
        self.rate = rate
        self.now = 0.0
        self.free_at = 0.0
        self.under_way: deque[tuple[float, Flight]] = deque()
        self.numbers = itertools.count()

    def send(self) -> None:
        number = next(self.numbers)
        segment = Flight(number, number + 1, self.now)
        self.window.sent(segment, alone=not self.under_way, now=self.now)
        self.free_at = max(self.free_at, self.now) + 1 / self.rate
        self.under_way.append((self.free_at + RTT, segment))

    def acknowledge(self, **changed: Any) -> None:
        self.now, segment = self.under_way.popleft()
        self.report(delivered=1, newest=segment, rtt=self.now - segment.sent_at, **changed)

    def report(self, **changed: Any) -> None:
        values: dict[str, Any] = {
            "delivered": 0,
            "newest": None,
            "rtt": None,
            "lost": 0,
            "in_flight": len(self.under_way),
            "advanced": True,
            "by_timer": False,
            "state": State.OPEN,
            "min_rtt": RTT,
            "now": self.now,
        }
        self.window.adapt(Progress(**(values | changed)))

    def stream(self, gap: float, duration: float) -> list[int]:
        """One segment each gap, as far as the window lets; return the sizes at the sendings."""
        sizes, end = [], self.now + duration
        while (at := self.now + gap) <= end:
            while self.under_way and self.under_way[0][0] <= at:
                self.window.starved(len(self.under_way))
                self.acknowledge()
            self.now = at
            self.window.starved(len(self.under_way))
            if len(self.under_way) < self.window.size:
                self.send()
            sizes.append(self.window.size)
        return sizes

    def fill(self, rounds: int) -> None:
        """As many as the window lets, always."""
        for _ in range(rounds):
            before = len(self.under_way)
            while len(self.under_way) < self.window.size:
                self.send()
            for _ in range(max(before, 1)):
                self.acknowledge()


@pytest.fixture
def path() -> Path:
    return Path(BbrWindow())


def test_a_steady_stream_stays_in_startup_with_more_than_it_needs(path: Path) -> None:
    """The first ten acknowledgements bring 20; 6 segments in 100 ms, times 2.885 and 3 for the hosts, made even, are 22."""
    sizes = path.stream(0.02, 5.0)
    assert sizes[0] == INITIAL_WINDOW
    assert set(sizes[50:]) == {22}


def test_a_full_path_ends_startup_with_twice_what_it_holds() -> None:
    path = Path(BbrWindow(), rate=200)
    path.fill(80)
    assert 40 <= path.window.size <= 48  # 200 a second in 100 ms are 20


def test_the_highest_rate_counts_for_ten_rounds() -> None:
    path = Path(BbrWindow(), rate=200)
    path.fill(80)
    path.rate = 50
    path.fill(4)
    assert path.window.size >= 40
    path.fill(30)
    assert path.window.size <= 18


def test_a_rate_of_the_application_counts_only_if_it_is_the_highest(path: Path) -> None:
    path.stream(0.01, 1.0)
    high = path.window.size
    assert set(path.stream(0.05, 4.0)) == {high}


def lose(path: Path) -> None:
    path.window.reduce()
    path.under_way.pop()
    path.acknowledge(lost=1, state=State.RECOVERY)


def test_packets_are_conserved_for_a_round_and_the_window_is_restored(path: Path) -> None:
    path.stream(0.02, 2.0)
    before, under_way = path.window.size, len(path.under_way)
    lose(path)
    assert path.window.size == under_way - 1
    path.acknowledge(state=State.RECOVERY)
    assert path.window.size == under_way - 1
    path.acknowledge()
    assert path.window.size == before


def test_a_timeout_leaves_one_segment_until_the_loss_state_ends(path: Path) -> None:
    path.stream(0.02, 2.0)
    before = path.window.size
    path.window.reduce()
    path.window.timed_out(0)
    assert path.window.size == 1
    path.acknowledge(state=State.LOSS)
    assert path.window.size == MIN_WINDOW
    path.acknowledge()
    assert path.window.size == before


def test_racks_timer_changes_nothing_before_an_acknowledgement(path: Path) -> None:
    path.stream(0.02, 2.0)
    before = path.window.size
    path.window.reduce()
    path.report(lost=1, state=State.RECOVERY, by_timer=True)
    assert path.window.size == before


def test_after_ten_seconds_the_least_round_trip_is_probed_for(path: Path) -> None:
    """Few segments are in flight for 200 ms and a round, and that each ten seconds."""
    sizes = path.stream(0.01, 25.0)
    small = [place for place, size in enumerate(sizes) if size == MIN_WINDOW]
    assert 0.2 <= sum(place < 1500 for place in small) / 100 <= 0.6
    assert 10.0 <= small[0] / 100 <= 10.3
    assert 20.2 <= next(place for place in small if place > 1500) / 100 <= 21.0
    assert sizes[small[0] - 1] == sizes[1500] == sizes[-1]


def test_a_connection_that_was_idle_needs_no_probe(path: Path) -> None:
    path.stream(0.02, 2.0)
    while path.under_way:
        path.acknowledge()
    path.now += 20.0
    path.window.rest()
    assert min(path.stream(0.02, 2.0)) > MIN_WINDOW
