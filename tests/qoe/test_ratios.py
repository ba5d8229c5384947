from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.qoe.ratios import percentile, ratio, ratio_interval, redundancy_rate


def test_a_ratio_over_sessions_is_the_ratio_of_the_sums():
    assert ratio([1.0, 9.0], [10.0, 10.0]) == 0.5
    assert ratio([1.0, 0.0], [1.0, 99.0]) == 0.01


@pytest.mark.parametrize(("above", "below"), [([], []), ([0.0], [0.0])])
def test_what_was_not_measured_is_none(above, below):
    assert ratio(above, below) is None
    assert ratio_interval(above * 3, below * 3, seed=1) is None
    assert percentile([], 0.5) is None
    assert redundancy_rate(0, 0) is None


def test_the_redundancy_rate_is_what_was_sent_beyond_the_original():
    assert redundancy_rate(1000, 0) == 0.0
    assert redundancy_rate(1000, 1250) == 1.25


@pytest.mark.parametrize(("share", "value"), [(0, 1), (0.25, 2), (0.5, 3), (0.95, 4.8), (1, 5)])
def test_percentiles_are_interpolated_between_neighbours(share, value):
    assert percentile([5, 1, 4, 2, 3], share) == pytest.approx(value)
    assert percentile([7.0], share) == 7.0


@given(st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=1), st.floats(min_value=0, max_value=1))
def test_a_percentile_lies_within_the_sample(values, share):
    assert min(values) - 1e-6 <= percentile(values, share) <= max(values) + 1e-6


def test_one_seed_gives_one_interval():
    above, below = [number / 7 % 1 for number in range(30)], [1 + number / 11 % 1 for number in range(30)]
    interval = ratio_interval(above, below, seed=1)
    assert ratio_interval(above, below, seed=1) == interval
    assert ratio_interval(above, below, seed=2) != interval
    low, high = interval
    assert min(a / b for a, b in zip(above, below, strict=True)) <= low < ratio(above, below) < high


def test_sessions_that_agree_leave_no_doubt_and_one_session_says_nothing():
    low, high = ratio_interval([1.0] * 10, [4.0] * 10, seed=1)
    assert low == high == 0.25
    assert ratio_interval([1.0], [4.0], seed=1) is None


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """95 % of 200 experiments would be 190; with 30 sessions each, a percentile bootstrap covers about 93 %, and 5
    sigma below that are 168."""
    rng = Random(3)
    hits = 0
    for number in range(200):
        stalls = [rng.expovariate(1.0) for _ in range(30)]
        low, high = ratio_interval(stalls, [10.0] * 30, seed=number, resamples=200)
        hits += low <= 0.1 <= high
    assert 168 <= hits <= 200
