from math import sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.qoe.ratios import percentile, ratio, redundancy_rate, relative_ratio, share_interval, students_t


def test_a_ratio_over_sessions_is_the_ratio_of_the_sums():
    assert ratio([1.0, 9.0], [10.0, 10.0]) == 0.5
    assert ratio([1.0, 0.0], [1.0, 99.0]) == 0.01


@pytest.mark.parametrize(("above", "below"), [([], []), ([0.0], [0.0])])
def test_what_was_not_measured_is_none(above, below):
    assert ratio(above, below) is None
    assert share_interval(above * 3, below * 3) is None
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


@pytest.mark.parametrize(
    ("level", "freedom", "value"),
    [
        (0.95, 1, 12.7062),
        (0.95, 2, 4.30265),
        (0.95, 3, 3.18245),
        (0.95, 7, 2.36462),
        (0.99, 10, 3.16927),
        (0.95, 29, 2.04523),
        (0.95, 1000, 1.96234),
        (0.5, 4, 0.74070),
    ],
)
def test_students_t_is_that_of_the_tables(level, freedom, value):
    assert students_t(level, freedom) == pytest.approx(value, rel=1e-5)


def test_an_interval_worked_out_by_hand():
    """Shares of 0.2, 0.5 and 0.8 of 10 s: a standard error of 0.3 / sqrt(3), times t of two degrees of freedom."""
    low, high = share_interval([2.0, 5.0, 8.0], [10.0] * 3, level=0.5)
    assert (low, high) == (pytest.approx(0.5 - 0.81650 * 0.3 / sqrt(3), rel=1e-4), pytest.approx(0.64142, rel=1e-4))
    assert share_interval([0.0, 5.0, 10.0], [10.0] * 3) == (0.0, 1.0)  # a share stays within 0..1


def test_sessions_that_agree_leave_no_doubt_and_two_say_nothing():
    assert share_interval([1.0] * 3, [4.0] * 3) == (0.25, 0.25)
    assert share_interval([1.0] * 2, [4.0] * 2) is None


def test_a_comparison_worked_out_by_hand():
    """0.1, 0.2 and 0.3 against 0.4, 0.5 and 0.6: a ratio of 0.4.

    Parts of the error: (0.1 / 3 - 0.4 x 0.1 / 3) / 0.5 = 0.04 in the outer two, 0 in the middle one, so a standard error
    of sqrt(2 x 0.04^2 x 3 / 2).
    """
    pairs = [((1.0, 10.0), (4.0, 10.0)), ((2.0, 10.0), (5.0, 10.0)), ((3.0, 10.0), (6.0, 10.0))]
    error = 0.04 * sqrt(3)
    centre, (low, high) = relative_ratio(pairs, level=0.5)
    assert centre == pytest.approx(0.4)
    assert (low, high) == (
        pytest.approx(0.4 - 0.81650 * error, rel=1e-4),
        pytest.approx(0.4 + 0.81650 * error, rel=1e-4),
    )
    centre, (low, high) = relative_ratio([((0.0, 10.0), (4.0, 10.0)), *pairs[1:]])
    assert low == 0.0
    assert high > centre


def test_what_both_sessions_of_a_pair_met_alike_is_no_doubt_about_their_comparison():
    pairs = [((share, 10.0), (2 * share, 10.0)) for share in (1.0, 2.0, 4.0)]
    assert relative_ratio(pairs) == (0.5, (pytest.approx(0.5), pytest.approx(0.5)))


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], None),
        ([((1.0, 10.0), (0.0, 10.0))], None),  # the baseline never stalls
        ([((0.0, 0.0), (1.0, 10.0))], None),
        ([((1.0, 10.0), (2.0, 10.0))] * 2, (0.5, None)),
        ([((0.0, 10.0), (2.0, 10.0))] * 3, (0.0, (0.0, 0.0))),
    ],
)
def test_a_comparison_needs_a_baseline_that_stalls_and_an_interval_three_pairs(pairs, expected):
    assert relative_ratio(pairs) == expected


def session_of_paper_default(rng):
    """Seconds that two schemes stall in 30 s over one channel of 100 ms slots: half of the time, and a fifth."""
    bursts, bad = [], rng.random() < 1 / 6
    for slot in range(300):
        if bad and bursts and sum(bursts[-1]) == slot:
            bursts[-1][1] += 1
        elif bad:
            bursts.append([slot, 1])
        bad = rng.random() < (0.5 if bad else 0.1)
    slow, busy = 0.0, 0.0
    for first, slots in bursts:
        recovery = 0.45 if slots <= 2 else 0.9 if slots <= 5 else 1.6  # a timeout that doubles
        end = (first + slots) / 10 + recovery
        slow += end - max(busy, first / 10)
        busy = max(busy, end)
    fast = sum(slots / 10 + 0.15 for _, slots in bursts if rng.random() < 0.75)
    return slow, max(30.0, busy), fast, 30.0


@pytest.mark.parametrize("count", [8, 30])
def test_the_interval_holds_the_truth_as_often_as_it_says(count):
    """Of 400 experiments 380 are expected; 5 sigma below that are 358. A percentile bootstrap of 8 sessions has 352."""
    rng = Random(3)
    truth = [sum(column) for column in zip(*(session_of_paper_default(rng) for _ in range(5000)), strict=True)]
    hits = [0, 0, 0]
    for _ in range(400):
        columns = list(zip(*(session_of_paper_default(rng) for _ in range(count)), strict=True))
        for scheme in (0, 1):
            low, high = share_interval(columns[2 * scheme], columns[2 * scheme + 1])
            hits[scheme] += low <= truth[2 * scheme] / truth[2 * scheme + 1] <= high
        _, (low, high) = relative_ratio([((session[2:]), (session[:2])) for session in zip(*columns, strict=True)])
        hits[2] += low <= truth[2] / truth[3] * truth[1] / truth[0] <= high
    assert min(hits) >= 358
    assert max(hits) < 400
