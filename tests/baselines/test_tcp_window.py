from typing import Any

from eloquent.baselines.tcp_window import (
    BBR_MIN_WINDOW,
    INITIAL_WINDOW,
    BbrWindow,
    CubicWindow,
    Progress,
    State,
)


def progress(**changed: Any) -> Progress:
    values: dict[str, Any] = {
        "delivered": 1,
        "lost": 0,
        "in_flight": 4,
        "acked": 0,
        "advanced": True,
        "sent_to": 100,
        "sent_at": 0.0,
        "min_rtt": 0.4,
        "now": 1.0,
    }
    return Progress(**(values | changed))


def test_both_begin_with_ten_and_an_application_that_sends_little_changes_nothing() -> None:
    for window in (CubicWindow(), BbrWindow()):
        for i in range(100):
            window.acknowledged(progress(acked=i))
        assert window.size == INITIAL_WINDOW


def test_slow_start_while_the_window_limits() -> None:
    window = CubicWindow()
    window.limited = True
    for i in range(10):
        window.acknowledged(progress(acked=i, in_flight=9 + i))
    assert window.size == 20


def test_cubic_shrinks_to_seven_tenths_in_proportion_to_what_arrives() -> None:
    window = CubicWindow()
    window.acknowledged(progress(lost=1, in_flight=8, advanced=False))
    assert (window.state, window.size) == (State.RECOVERY, 9)  # the fast retransmission
    window.sent()
    for in_flight in (8, 8, 7, 7, 6):
        window.acknowledged(progress(in_flight=in_flight, advanced=False))
    assert window.size <= 7
    window.acknowledged(progress(acked=100))
    assert (window.state, window.size) == (State.OPEN, 7)


def test_cubic_comes_back_to_where_it_was_and_then_goes_on() -> None:
    """K is the cube root of (10 - 7) / 0.4, 1.96 s, which the least round trip shortens."""
    window = CubicWindow()
    window.acknowledged(progress(lost=1))
    window.acknowledged(progress(acked=100))
    window.limited = True
    sizes = []
    for i in range(60):
        window.acknowledged(progress(acked=100, in_flight=7, now=1.0 + i / 10))
        sizes.append(window.size)
    assert sizes[0] == 7
    assert sizes[18:24] == [10] * 6
    assert sizes == sorted(sizes)
    assert sizes[-1] > 12


def test_cubic_grows_as_reno_where_that_is_faster() -> None:
    window = CubicWindow()
    window.acknowledged(progress(lost=1))
    window.acknowledged(progress(acked=100))
    window.limited = True
    for i in range(500):
        window.acknowledged(progress(acked=100, now=1.0 + i / 1000, min_rtt=0.001))
    assert window.size > 14


def test_a_timeout_leaves_one_segment_and_slow_start() -> None:
    window = CubicWindow()
    window.timed_out(in_flight=0, sent_to=100)
    assert (window.state, window.size) == (State.LOSS, 1)
    window.limited = True
    for _ in range(6):
        window.acknowledged(progress(in_flight=1))
    assert window.size == 7
    window.acknowledged(progress(acked=100))
    assert window.state is State.OPEN


def test_bbr_conserves_packets_for_a_round_and_restores_the_window() -> None:
    window = BbrWindow()
    window.acknowledged(progress(lost=2, in_flight=2, now=1.0))
    assert (window.state, window.size) == (State.RECOVERY, 3)
    window.acknowledged(progress(in_flight=2, now=1.1, sent_at=0.6))
    assert window.size == 3
    window.acknowledged(progress(in_flight=2, now=1.4, sent_at=1.0))
    assert window.size == BBR_MIN_WINDOW
    window.acknowledged(progress(acked=100, now=1.5, sent_at=1.1))
    assert (window.state, window.size) == (State.OPEN, INITIAL_WINDOW)


def test_bbr_comes_back_from_a_timeout_at_once() -> None:
    window = BbrWindow()
    window.timed_out(in_flight=0, sent_to=100)
    assert window.size == 1
    window.acknowledged(progress(in_flight=0))
    assert window.size == BBR_MIN_WINDOW
    window.acknowledged(progress(acked=100))
    assert window.size == INITIAL_WINDOW


def test_a_rest_ends_a_recovery_and_leaves_no_more_than_the_first_window() -> None:
    windows: tuple[CubicWindow, BbrWindow] = CubicWindow(), BbrWindow()
    for window, size in zip(windows, (7, INITIAL_WINDOW), strict=True):
        window.acknowledged(progress(lost=1, in_flight=8))
        assert not window.completes(99)
        assert window.completes(100)
        window.rest()
        assert (window.state, window.size) == (State.OPEN, size)
    grown = CubicWindow()
    grown.limited = True
    for i in range(10):
        grown.acknowledged(progress(acked=i, in_flight=9 + i))
    grown.rest()
    assert (grown.size, grown.limited) == (INITIAL_WINDOW, False)
