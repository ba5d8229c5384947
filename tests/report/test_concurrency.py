"""How much went on at once, on sessions that are known."""

import pytest

from eloquent.report.concurrency import Concurrency, concurrency


def test_sessions_are_counted_while_they_are_open():
    found = concurrency([(0, 10), (5, 10), (10, 20)], [0, 1, 19], window=(0, 20))
    assert found == Concurrency(mean=pytest.approx(1.25), peak=2, tokens_per_s=pytest.approx(0.15))


def test_only_the_window_counts():
    found = concurrency([(0, 4), (0, 30), (8, 30), (40, 50)], [1, 12, 25], window=(10, 20))
    assert found == Concurrency(mean=pytest.approx(2.0), peak=2, tokens_per_s=pytest.approx(0.1))


def test_a_window_without_length_has_nothing():
    assert concurrency([(0, 1)], [0.5], window=(float("inf"), float("-inf"))) is None
    assert concurrency([], [], window=(3, 3)) is None
