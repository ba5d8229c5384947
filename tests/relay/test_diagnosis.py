"""What is computed from pings: exact numbers for exact sequences, and the fit gives back what it was made of."""

import random

import pytest

from eloquent.relay.diagnosis import Losses, RoundTrips, Size, losses_down, losses_up, round_trips, sizes
from eloquent.relay.sealed.prober import SentPing


def pings(fates: str) -> list[SentPing]:
    """Make pings: `+` was answered after 0.1 s, `^` lost on the way up, `v` its pong on the way down, `?` not known."""
    came = {"+": True, "v": True, "^": False, "?": None}
    return [SentPing(192, float(i), i + 0.1 if fate == "+" else None, came[fate]) for i, fate in enumerate(fates)]


def test_losses_are_told_apart_by_direction() -> None:
    found = pings("++^^++v++v+^")
    assert losses_up(found) == Losses(12, 3, 0.25, 2, 1.5, 2, pytest.approx(1 - 2 / 9), pytest.approx(1 - 2 / 3))
    assert losses_down(found) == Losses(9, 2, pytest.approx(2 / 9), 2, 1.0, 1, pytest.approx(1 - 2 / 6), 0.0)


def test_what_no_pong_tells_of_was_lost_both_ways() -> None:
    found = pings("++????++")
    assert losses_up(found) == losses_down(found)
    assert losses_up(found) == Losses(8, 4, 0.5, 1, 4.0, 4, pytest.approx(1 - 1 / 3), pytest.approx(0.75))


def test_without_losses_there_is_no_bad_state() -> None:
    assert losses_up(pings("+++")) == Losses(3, 0, 0.0, 0, None, 0, 1.0, None)
    assert losses_up([]) is None


def test_the_fit_finds_the_chain_that_lost_the_pings() -> None:
    draw, fates, is_bad = random.Random(1), "", False
    for _ in range(50_000):
        is_bad = draw.random() < (0.7 if is_bad else 0.02)
        fates += "^" if is_bad else "+"
    found = losses_up(pings(fates))
    assert found is not None
    assert found.stay_bad == pytest.approx(0.7, abs=0.02)
    assert found.stay_good == pytest.approx(0.98, abs=0.002)
    assert found.mean_burst == pytest.approx(1 / 0.3, rel=0.05)


def test_round_trips_are_of_what_came_back() -> None:
    some = [SentPing(192, 0.0, answered_at=i / 100, came=True) for i in range(1, 102)]
    assert round_trips([*some, SentPing(192, 0.0)]) == RoundTrips(
        pytest.approx(0.01), pytest.approx(0.51), pytest.approx(0.96)
    )
    assert round_trips(some[:1]) == RoundTrips(0.01, 0.01, 0.01)
    assert round_trips([SentPing(192, 0.0)]) is None


def test_sizes_are_counted_each() -> None:
    some = [SentPing(1452, 0.0), SentPing(1200, 0.0, 0.1, came=True), SentPing(1452, 0.0, came=True)]
    assert sizes(some) == (Size(1200, 1, 1, 1), Size(1452, 2, 1, 0))
