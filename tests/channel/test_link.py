"""The rule by which a link treats a packet."""

import math
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from eloquent.channel.link import LinkModel


def link(**changes: Any) -> LinkModel:
    return LinkModel(**({"delay": 0.1, "rate": 1000.0, "queue": 2, "rng": Random(1)} | changes))


def test_rate_serialises_and_the_full_queue_drops_the_tail():
    direction = link()
    assert direction.admit(500, 10.0, 0.0) == pytest.approx(10.6)  # 0.5 s to send, 0.1 s to travel
    assert direction.admit(500, 10.0, 0.0) == pytest.approx(11.1)  # waits for the first
    assert direction.admit(500, 10.0, 0.0) is None
    assert (direction.under_way, direction.overflowed, direction.lost) == (2, 1, 0)


def test_a_packet_that_came_out_makes_room():
    direction = link(queue=1)
    assert direction.admit(500, 10.0, 0.0) is not None
    assert direction.admit(500, 10.6, 0.0) is None
    direction.leave()
    assert direction.admit(500, 10.6, 0.0) == pytest.approx(11.2)


def test_a_lost_packet_takes_no_capacity():
    direction = link()
    assert direction.admit(500, 10.0, 1.0) is None
    assert (direction.lost, direction.under_way, direction.free_at) == (1, 0, 0.0)


def test_without_a_rate_a_packet_takes_the_delay_alone():
    assert link(rate=math.inf).admit(1_000_000, 10.0, 0.0) == 10.1


def test_jitter_delays_and_keeps_the_order():
    direction = link(rate=math.inf, queue=1000, jitter=0.05)
    sent = [index * 0.001 for index in range(500)]
    out = [direction.admit(100, now, 0.0) for now in sent]
    assert all(after >= before for before, after in pairwise(out) if before is not None and after is not None)
    assert all(when is not None and 0.1 <= when - now < 0.15 + 1e-9 for now, when in zip(sent, out, strict=True))
    assert len({round(when - now, 6) for now, when in zip(sent, out, strict=True) if when is not None}) > 10


def test_the_share_lost_is_the_probability():
    direction = link(rate=math.inf, queue=10**9)
    for _ in range(10_000):
        direction.admit(100, 0.0, 0.9)
    # The standard deviation is 30; five of them are passed by chance less than once in a million.
    assert abs(direction.lost - 9000) < 150
