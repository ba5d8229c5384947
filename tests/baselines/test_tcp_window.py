import math
from collections.abc import Iterable
from typing import Any

import pytest

from eloquent.baselines.tcp_loss import Flight
from eloquent.baselines.tcp_window import INITIAL_WINDOW, CubicWindow, Progress, State


def progress(**changed: Any) -> Progress:
    values: dict[str, Any] = {
        "delivered": 1,
        "newest": None,
        "rtt": None,
        "lost": 0,
        "in_flight": 4,
        "advanced": True,
        "by_timer": False,
        "state": State.OPEN,
        "min_rtt": 0.4,
        "now": 1.0,
    }
    return Progress(**(values | changed))


@pytest.fixture
def window() -> CubicWindow:
    return CubicWindow()


def use(window: CubicWindow, *, limited: bool = True, flight: int = 0, acked: int = 0, sent_to: int = 100) -> None:
    window.used(limited=limited, flight=flight, acked=acked, sent_to=sent_to)


def sizes(window: CubicWindow, instants: Iterable[float], **changed: Any) -> list[int]:
    """The size after each of some acknowledgements in order, while the window limits."""
    found = []
    for now in instants:
        use(window)
        window.adapt(progress(now=now, **changed))
        found.append(window.size)
    return found


def reduced(window: CubicWindow) -> CubicWindow:
    window.reduce()
    window.recovered()
    return window


def test_it_begins_with_ten_and_an_application_that_sends_little_changes_nothing(window: CubicWindow) -> None:
    for _ in range(100):
        use(window, limited=False, flight=4)
        window.adapt(progress())
    assert window.size == INITIAL_WINDOW


def test_slow_start_while_the_window_limits(window: CubicWindow) -> None:
    assert sizes(window, 10 * [1.0])[-1] == 20


def test_slow_start_up_to_twice_what_was_in_flight(window: CubicWindow) -> None:
    use(window, limited=False, flight=8)
    for _ in range(20):
        window.adapt(progress())
    assert window.size == 16


def test_slow_start_ends_at_the_threshold(window: CubicWindow) -> None:
    window.reduce()
    window.timed_out(0)
    assert sizes(window, 8 * [1.0]) == [2, 3, 4, 5, 6, 7, 7, 7]


def test_a_window_that_limited_grows_until_a_whole_one_is_sent_without_that(window: CubicWindow) -> None:
    """Linux counts the window as the limit when it was just filled, even if nothing waited."""
    use(window, limited=True, sent_to=100)
    use(window, limited=False, flight=9, acked=99, sent_to=130)
    window.adapt(progress(delivered=2))
    assert window.size == 12
    reduced(window)
    use(window, limited=False, flight=9, acked=100, sent_to=140)
    for _ in range(100):
        window.adapt(progress())
    assert window.size == 8


def test_it_shrinks_to_seven_tenths_in_proportion_to_what_arrives(window: CubicWindow) -> None:
    window.reduce()
    window.adapt(progress(lost=1, in_flight=8, advanced=False, state=State.RECOVERY))
    assert window.size == 9  # the fast retransmission
    window.sent(Flight(0, 1, 1.0), alone=False, now=1.0)
    for in_flight in (8, 8, 7, 7, 6):
        window.adapt(progress(in_flight=in_flight, advanced=False, state=State.RECOVERY))
    assert window.size <= 7
    window.recovered()
    assert window.size == 7


def test_an_acknowledgement_that_delivers_nothing_leaves_it_alone(window: CubicWindow) -> None:
    window.reduce()
    window.adapt(progress(delivered=0, in_flight=2, advanced=False, state=State.RECOVERY))
    assert window.size == INITIAL_WINDOW


def test_it_comes_back_to_where_it_was_and_then_goes_on(window: CubicWindow) -> None:
    """K is the cube root of (10 - 7) / 0.4, 1.96 s, which the least round trip shortens."""
    found = sizes(reduced(window), (1.0 + i / 10 for i in range(60)))
    assert found[0] == 7
    assert found[15:30] == [10] * 15
    assert found == sorted(found)
    assert found[-1] > 20


def test_a_round_trip_that_is_not_known_yet_shortens_nothing(window: CubicWindow) -> None:
    found = sizes(reduced(window), (1.0 + i / 10 for i in range(60)), min_rtt=math.inf)
    assert found[19:34] == [10] * 15
    assert found == sorted(found)


def test_it_grows_as_reno_where_that_is_faster(window: CubicWindow) -> None:
    found = sizes(reduced(window), (1.0 + i / 1000 for i in range(500)), min_rtt=0.001)
    assert found[-1] == 24  # 15/8 of all windows from 7 to 23 are 478 acknowledgements


def test_small_windows_take_whole_numbers(window: CubicWindow) -> None:
    """The cubic is 0.9 segments below 4, which Linux cuts to none: so the old size is the target from the first on."""
    window.size = 4
    assert sizes(reduced(window), (1.0 + i / 10 for i in range(8))) == [2, 3, 3, 3, 4, 4, 4, 4]


def test_the_time_of_the_cubic_stands_still_while_nothing_is_in_flight() -> None:
    first, second = CubicWindow(), CubicWindow()
    for window, later in ((first, 0.0), (second, 50.0)):
        reduced(window)
        use(window)
        window.adapt(progress(now=1.0))
        window.sent(Flight(0, 1, 1.0), alone=False, now=1.0)
        window.sent(Flight(0, 1, 1.0 + later), alone=True, now=1.0 + later)
        sizes(window, (1.1 + later + i / 10 for i in range(30)))
    assert first.size == second.size


def test_a_timeout_leaves_one_segment_and_forgets_the_size_at_the_last_loss(window: CubicWindow) -> None:
    window.size = 20
    reduced(window)
    window.timed_out(0)
    assert window.size == 1
    found = sizes(window, (1.0 + i / 10 for i in range(30)))
    assert found[12:25] == [14] * 13  # slow start to the threshold; with the old size as target it would be 19 by then


def test_a_needless_reduction_is_taken_back(window: CubicWindow) -> None:
    window.reduce()
    window.timed_out(0)
    window.undo()
    assert window.size == INITIAL_WINDOW
    assert sizes(window, [1.0, 1.0]) == [11, 12]  # slow start as before


def test_a_rest_leaves_no_more_than_the_first_window_and_remembers_where_slow_start_ends(window: CubicWindow) -> None:
    window.size = 40
    reduced(window)
    window.rest()
    assert (window.size, window.threshold) == (INITIAL_WINDOW, 28)
