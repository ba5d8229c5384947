"""The judgement of a link's self-test."""

import asyncio
import math
from types import SimpleNamespace

import pytest

from eloquent import scenarios
from eloquent.emulation import selftest
from eloquent.emulation.selftest import LOSS_PINGS, LinkTest, binomial_tail
from eloquent.errors import EmulationError


def link_test(**changes: float) -> LinkTest:
    values = {
        "rtt_s": 0.4,
        "rtt_mean_s": 0.4,
        "rtt_expected_s": 0.4,
        "bad_loss": 0.9,
        "bad_loss_expected": 0.9,
    } | changes
    return LinkTest(link="c1", **values)


def test_a_faithful_link_passes():
    assert link_test(bad_loss=0.85).complaint(0.002) is None


def test_a_link_without_loss_is_refused():
    assert link_test(bad_loss=0.0).complaint(0.002) == "c1: 0% lost in the bad state instead of 90%"


def test_a_link_without_delay_is_refused():
    assert link_test(rtt_s=0.0005).complaint(0.002) == "c1: RTT 0.5 ms instead of 400 ms"


def test_a_clean_link_may_not_lose_anything():
    assert link_test(bad_loss=0.0, bad_loss_expected=0.0).complaint(0.002) is None
    assert link_test(bad_loss=1 / LOSS_PINGS, bad_loss_expected=0.0).complaint(0.002) is not None


@pytest.mark.parametrize(
    ("hits", "expected"), [(0, 0.5**10), (10, 0.5**10), (5, sum(math.comb(10, k) for k in range(6)) / 2**10)]
)
def test_binomial_tail(hits: int, expected: float):
    assert binomial_tail(hits, 10, 0.5) == pytest.approx(expected)


def test_smallest_loss_that_the_test_can_tell_from_none():
    """Said in the docs: 7 % and more is refused when absent; less is only seen by the probes of the run."""
    assert link_test(bad_loss=0.0, bad_loss_expected=0.07).complaint(0.002) is not None
    assert link_test(bad_loss=0.0, bad_loss_expected=0.05).complaint(0.002) is None


@pytest.mark.parametrize(("slow_times", "passes"), [(0, True), (2, True), (3, False)])
def test_a_link_that_seems_slow_is_pinged_again_and_no_other(monkeypatch, slow_times, passes):
    """As a machine that does something else for a moment makes it."""
    asked = []

    async def ping(_, client, *, count, **__):
        if count == LOSS_PINGS:
            return selftest._Pings(received=20, rtt_s=0.4, rtt_mean_s=0.4)
        if count == selftest.RTT_PINGS:
            asked.append(client.name)
        is_slow = client.name == "c2" and asked.count("c2") <= slow_times
        return selftest._Pings(received=count, rtt_s=0.4025 if is_slow else 0.4005, rtt_mean_s=0.41)

    async def force(**_):
        pass

    monkeypatch.setattr(selftest, "_ping", ping)
    clients = [SimpleNamespace(name="c1"), SimpleNamespace(name="c2")]
    check = selftest.check_links(
        SimpleNamespace(force=force), scenarios.load("paper-default"), prober=None, clients=clients
    )
    if passes:
        assert [test.rtt_s for test in asyncio.run(check)] == [0.4005, 0.4005]
        assert asked == ["c1", "c2"] + ["c2"] * slow_times
    else:
        with pytest.raises(EmulationError, match=r"c2: RTT 402\.5 ms instead of 400\.157 ms"):
            asyncio.run(check)
