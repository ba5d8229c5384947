from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.qoe.playout import Depth, Playout, depths, display_times, measure_playout
from eloquent.qoe.session import measure

# Tokens every 100 ms, but token 3 is lost: 3, 4, 5 come together at 0.6 s.
ARRIVED = [0.0, 0.1, 0.2, 0.6, 0.6, 0.6, 0.7]
MILLISECONDS = st.lists(st.integers(0, 10**5), min_size=1, max_size=60).map(sorted)


def test_tokens_are_shown_at_reading_speed():
    assert display_times(ARRIVED, Playout(token_time=0.15)) == pytest.approx([0, 0.15, 0.3, 0.6, 0.75, 0.9, 1.05])


def test_a_head_start_hides_the_loss():
    shown = display_times(ARRIVED, Playout(token_time=0.15, start_tokens=3))
    assert shown == pytest.approx([0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.1])
    measures = measure_playout(ARRIVED, [None] * 7, Playout(token_time=0.15, start_tokens=3))
    assert (measures.session.stalls, measures.starvations, measures.starved_s) == (0, 0, 0)
    assert measures.held_s == pytest.approx((sum(shown) - sum(ARRIVED)) / 7)
    assert measures.deepest == 3  # from 0.6 s to 0.65 s


def test_a_client_that_ran_dry_waits_for_what_it_needs():
    arrived = [0.0, 1.0, 2.0, 3.0]
    assert display_times(arrived, Playout(token_time=0.1, resume_tokens=2)) == [0.0, 2.0, 2.1, 3.0]
    assert display_times(arrived, Playout(token_time=0.1, start_tokens=9)) == pytest.approx([3.0, 3.1, 3.2, 3.3])


def test_starvation_is_the_wait_beyond_the_token_time():
    measures = measure_playout(ARRIVED, [0.0] * 7, Playout(token_time=0.15))
    assert measures.starvations == 1
    assert measures.starved_s == pytest.approx(0.15)
    assert (measures.session.stalls, measures.session.stall_s) == (1, pytest.approx(0.3))
    assert measures.session.late_tokens == 4


def test_depth_over_time():
    assert depths([0.0, 0.1, 0.1], [0.0, 0.2, 0.3]) == [Depth(0.0, 0), Depth(0.1, 2), Depth(0.2, 1), Depth(0.3, 0)]
    with pytest.raises(ValueError, match="before it arrived"):
        depths([1.0], [0.5])


def test_nothing_arrived():
    measures = measure_playout([], [], Playout())
    assert (measures.session.tokens, measures.deepest, measures.held_s) == (0, 0, 0)


@pytest.mark.parametrize("values", [{"token_time": -1}, {"start_tokens": 0}, {"resume_tokens": 0}])
def test_a_playout_that_cannot_be(values: dict[str, int]):
    with pytest.raises(ValueError, match="no such playout"):
        Playout(**values)


def test_a_clock_that_runs_backwards_is_refused():
    with pytest.raises(ValueError, match="backwards"):
        display_times([1.0, 0.5], Playout())


@given(MILLISECONDS, st.integers(0, 300), st.integers(1, 5), st.integers(1, 5))
def test_display_keeps_order_pace_and_arrivals(at_ms: list[int], token_ms: int, start: int, resume: int):
    arrived = [at / 1e3 for at in at_ms]
    playout = Playout(token_time=token_ms / 1e3, start_tokens=start, resume_tokens=resume)
    shown = display_times(arrived, playout)
    assert all(one >= two for one, two in zip(shown, arrived, strict=True))
    assert all(two - one >= playout.token_time - 1e-8 for one, two in pairwise(shown))
    steps = depths(arrived, shown)
    assert all(step.tokens >= 0 for step in steps)
    assert steps[-1].tokens == 0


@given(MILLISECONDS)
def test_no_token_time_changes_nothing(at_ms: list[int]):
    arrived = [at / 1e3 for at in at_ms]
    measures = measure_playout(arrived, [None] * len(arrived), Playout(token_time=0.0))
    assert measures.session == measure(arrived, [None] * len(arrived))


@given(MILLISECONDS)
def test_a_head_start_only_ever_takes_starvation_away(at_ms: list[int]):
    arrived = [at / 1e3 for at in at_ms]
    starved = [
        measure_playout(arrived, [None] * len(arrived), Playout(start_tokens=start)).starved_s
        for start in (1, 3, len(arrived))
    ]
    assert starved[0] + 1e-6 >= starved[1]
    assert starved[2] == 0
