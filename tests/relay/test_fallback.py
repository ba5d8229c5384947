"""Which carrier new streams take, when the other one is tried, and what becomes of the answers: decided in virtual time."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from eloquent import telemetry
from eloquent.relay.fallback import GRACE, MAX_RETRY_PAUSE, PATIENCE, RETRY_PAUSE, TRIAL, FallbackUplink
from eloquent.relay.uplink import CarrierName


class Way:
    """Is heard of as a test says."""

    def __init__(self, *, silent_from: float | None) -> None:
        self.silent_from = silent_from  # seconds; None while all is well
        self.heard_at: float | None = None
        self.is_idle = True
        self.hellos = 0
        self.end = ""

    def hear(self, now: float) -> None:
        self.heard_at, self.silent_from = now, None

    def silence(self, now: float) -> float:
        return 0.0 if self.silent_from is None else now - self.silent_from

    def open(self, request: bytes, *, scheme: str) -> Any:
        return self

    def say_hello(self) -> None:
        self.hellos += 1

    def close(self) -> None:
        self.end = "closed"

    def abandon(self, reason: str) -> None:
        self.end = reason


class Ride:
    """Turns every 0.1 s, and opens ways that a test may speak for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.opened: list[tuple[float, CarrierName]] = []
        self.way = {CarrierName.UDP: Way(silent_from=0.0)}
        self.registry = CollectorRegistry()
        self.uplink = FallbackUplink(
            self.way[CarrierName.UDP],  # type: ignore[arg-type]
            {carrier: lambda carrier=carrier: self._open(carrier) for carrier in CarrierName},  # type: ignore[misc]
            telemetry.EdgeMetrics(self.registry),
            now=0.0,
        )

    async def _open(self, carrier: CarrierName) -> Any:
        self.opened.append((self.now, carrier))
        self.way[carrier] = Way(silent_from=self.now)
        return self.way[carrier]

    @property
    def udp(self) -> Way:
        return self.way[CarrierName.UDP]

    @property
    def tcp(self) -> Way:
        return self.way[CarrierName.TCP]

    def until(self, end: float) -> "Ride":
        async def turns() -> None:
            while self.now < end - 0.05:
                self.now = round(self.now + 0.1, 1)
                await self.uplink.turn(now=self.now)

        asyncio.run(turns())
        return self

    def carried_by(self) -> Any:
        return self.uplink.open(b"", scheme="")


@pytest.fixture
def ride() -> Ride:
    return Ride()


@pytest.fixture
def on_tcp(ride: Ride) -> Ride:
    """At 3 s, UDP having been blocked from the beginning."""
    ride.until(2.5).tcp.hear(ride.now)
    return ride.until(3.0)


def test_while_udp_works_nothing_else_is_tried(ride: Ride) -> None:
    ride.udp.hear(0.0)
    ride.until(100.0)
    assert ride.opened == []
    assert ride.carried_by() is ride.udp


def test_a_blocked_udp_has_tcp_tried_beside_it_and_whichever_is_up_first_carries(ride: Ride) -> None:
    ride.until(PATIENCE - 0.1)
    assert ride.opened == []
    ride.until(PATIENCE + 1.0)
    assert ride.opened == [(PATIENCE, CarrierName.TCP)]
    assert ride.carried_by() is ride.udp
    ride.tcp.hear(ride.now)
    ride.until(PATIENCE + 1.1)
    assert ride.carried_by() is ride.tcp
    assert ride.udp.end == "nothing is heard over UDP"
    assert ride.registry.get_sample_value("eloquent_carrier", {"carrier": "tcp"}) == 1
    assert ride.registry.get_sample_value("eloquent_carrier", {"carrier": "udp"}) == 0
    assert ride.registry.get_sample_value("eloquent_carrier_changes_total", {"carrier": "tcp"}) == 1


def test_a_slow_udp_that_is_up_first_keeps_new_streams_and_tcp_is_closed(ride: Ride) -> None:
    ride.until(2.5).udp.hear(2.5)
    ride.until(2.6)
    assert ride.tcp.end == "closed"
    ride.until(50.0)
    assert ride.carried_by() is ride.udp
    assert len(ride.opened) == 1


def test_a_udp_that_worked_is_given_some_grace_when_tcp_is_up(ride: Ride) -> None:
    """After an interruption of the whole path both come back at once: then nothing changes."""
    ride.udp.hear(0.0)
    ride.until(10.0).udp.silent_from = 10.0
    ride.until(12.5).tcp.hear(12.5)
    ride.until(12.5 + GRACE - 0.2)
    assert ride.carried_by() is ride.udp
    ride.udp.hear(ride.now)
    ride.until(20.0)
    assert ride.carried_by() is ride.udp
    ride.udp.silent_from = 20.0
    ride.until(22.5).tcp.hear(22.5)
    ride.until(22.5 + GRACE + 0.2)
    assert ride.carried_by() is ride.tcp


def test_udp_is_tried_again_more_and_more_rarely(on_tcp: Ride) -> None:
    on_tcp.until(3000.0)
    trials = [at for at, carrier in on_tcp.opened if carrier is CarrierName.UDP]
    pauses = [after - before - TRIAL for before, after in pairwise(trials)]
    assert trials[0] == pytest.approx(2.6 + RETRY_PAUSE, abs=0.2)
    assert pauses[:5] == pytest.approx([120.0, 240.0, 480.0, MAX_RETRY_PAUSE, MAX_RETRY_PAUSE], abs=0.3)
    assert on_tcp.carried_by() is on_tcp.tcp
    assert on_tcp.udp.end == "closed"


def test_a_udp_that_answers_again_takes_new_streams_and_tcp_ends_what_it_began(on_tcp: Ride) -> None:
    on_tcp.tcp.is_idle = False
    on_tcp.until(3.0 + RETRY_PAUSE).udp.hear(on_tcp.now)
    on_tcp.until(70.0)
    assert on_tcp.carried_by() is on_tcp.udp
    assert on_tcp.tcp.end == ""
    on_tcp.tcp.is_idle = True
    on_tcp.until(70.1)
    assert on_tcp.tcp.end == "closed"


def test_a_udp_that_does_not_last_is_tried_later_the_next_time(on_tcp: Ride) -> None:
    on_tcp.until(3.0 + RETRY_PAUSE).udp.hear(on_tcp.now)
    on_tcp.until(64.0).udp.silent_from = 64.0
    on_tcp.until(66.5).tcp.hear(66.5)
    on_tcp.until(70.0)
    assert on_tcp.carried_by() is on_tcp.tcp
    on_tcp.until(68.5 + 2 * RETRY_PAUSE - 1.0)
    assert sum(carrier is CarrierName.UDP for _, carrier in on_tcp.opened) == 1
    on_tcp.until(68.5 + 2 * RETRY_PAUSE + 1.0)
    assert sum(carrier is CarrierName.UDP for _, carrier in on_tcp.opened) == 2


def test_a_silent_tcp_has_udp_tried_at_once(on_tcp: Ride) -> None:
    on_tcp.until(10.0).tcp.silent_from = 10.0
    on_tcp.until(12.1)
    assert on_tcp.opened[-1] == (12.0, CarrierName.UDP)
    on_tcp.udp.hear(12.1)
    on_tcp.until(12.3)
    assert on_tcp.carried_by() is on_tcp.udp
    assert on_tcp.tcp.end == "nothing is heard over TCP"


def test_answers_that_tcp_was_to_end_move_on_when_it_dies(on_tcp: Ride) -> None:
    on_tcp.tcp.is_idle = False
    on_tcp.until(3.0 + RETRY_PAUSE).udp.hear(on_tcp.now)
    on_tcp.until(70.0).tcp.silent_from = 70.0
    on_tcp.until(70.0 + PATIENCE + GRACE + 0.2)
    assert on_tcp.tcp.end == "nothing is heard over TCP"
    assert on_tcp.carried_by() is on_tcp.udp


def test_while_neither_answers_both_are_tried_and_that_is_said_once(
    ride: Ride, caplog: pytest.LogCaptureFixture
) -> None:
    ride.until(100.0)
    assert ride.opened == [(2.0, CarrierName.TCP)]
    assert (ride.udp.end, ride.tcp.end) == ("", "")
    assert min(ride.udp.hellos, ride.tcp.hellos) > 900  # one that is given up after 40 s is said again
    assert [record.message for record in caplog.records] == [
        "the origin relay answers neither over UDP nor over TCP; questions wait for it"
    ]
    ride.udp.hear(ride.now)
    ride.until(101.0)
    assert caplog.records[-1].message == "the origin relay answers"


def test_a_way_over_udp_that_cannot_be_opened_is_a_trial_that_failed(
    on_tcp: Ride, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def refuse() -> Any:
        asked.append(on_tcp.now)
        raise OSError(101, "Network is unreachable")

    monkeypatch.setitem(on_tcp.uplink._openers, CarrierName.UDP, refuse)  # type: ignore[arg-type]
    on_tcp.until(200.0)
    assert asked == pytest.approx([2.6 + RETRY_PAUSE, 2.6 + RETRY_PAUSE + 2 * RETRY_PAUSE], abs=0.3)
    assert on_tcp.carried_by() is on_tcp.tcp
