import pytest

from eloquent.protocol.rtt import KnownRtt, RttEstimator


def test_before_the_first_sample_one_second() -> None:
    assert RttEstimator().timeout() == 1.0


def test_first_sample() -> None:
    rtt = RttEstimator()
    rtt.sample(0.4)
    assert (rtt.smoothed, rtt.variance) == (0.4, 0.2)
    assert rtt.timeout() == pytest.approx(0.4 + 4 * 0.2)


def test_second_sample_by_the_formulas_of_rfc_6298() -> None:
    rtt = RttEstimator()
    rtt.sample(0.4)
    rtt.sample(0.6)
    assert rtt.variance == pytest.approx(0.75 * 0.2 + 0.25 * 0.2)
    assert rtt.smoothed == pytest.approx(7 / 8 * 0.4 + 1 / 8 * 0.6)


def test_on_a_steady_path_rtt_plus_200_ms() -> None:
    rtt = RttEstimator()
    for _ in range(50):
        rtt.sample(0.4)
    assert rtt.timeout() == pytest.approx(0.6, abs=1e-4)


def test_each_retransmission_doubles_up_to_a_minute() -> None:
    rtt = RttEstimator()
    assert [rtt.timeout(n) for n in (0, 1, 2, 5, 6, 10_000)] == [1, 2, 4, 32, 60, 60]


def test_a_known_round_trip_time_never_changes() -> None:
    rtt = KnownRtt(0.4)
    rtt.sample(3.0)
    assert rtt.smoothed == 0.4
    assert [rtt.timeout(n) for n in range(3)] == pytest.approx([0.6, 1.2, 2.4])
