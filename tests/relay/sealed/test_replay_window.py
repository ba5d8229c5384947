"""The replay window against a set as its model."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eloquent.relay.sealed.replay_window import WINDOW, ReplayWindow

STEPS = st.one_of(st.integers(-WINDOW - 130, 3), st.integers(0, 70), st.integers(900, 1200), st.integers(0, 1 << 20))


@settings(max_examples=500, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_row_4_replay_window_is_a_set_with_an_end(steps: list[int]) -> None:
    """Each step is from the highest number so far; what the model has, or has left behind, is not new."""
    window, seen, highest = ReplayWindow(), set[int](), -1
    for step in steps:
        number = max(highest + step, 0)
        is_new = number > highest - WINDOW and number not in seen
        assert window.is_new(number) == is_new
        if is_new:
            window.mark(number)
            seen.add(number)
            highest = max(highest, number)
        assert window.highest == highest
    for number in range(max(highest - WINDOW - 70, 0), highest + 70):
        assert window.is_new(number) == (number > highest - WINDOW and number not in seen)


@pytest.mark.parametrize("distance", [1, 63, 64, 65, WINDOW - 1, WINDOW, WINDOW + 63, WINDOW + 64, 10**9])
def test_moving_on_forgets_nothing_too_early(distance: int) -> None:
    window = ReplayWindow()
    for number in range(2 * WINDOW):
        window.mark(number)
    window.mark(2 * WINDOW - 1 + distance)
    assert not any(window.is_new(number) for number in range(2 * WINDOW))
    if 1 < distance < 10**6:
        start = max(2 * WINDOW, 2 * WINDOW + distance - WINDOW)
        assert all(window.is_new(number) for number in range(start, 2 * WINDOW - 1 + distance))
