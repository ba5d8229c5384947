"""What an edge counts for its clients: the measures of a session, at little cost."""

import random

import pytest
from prometheus_client import CollectorRegistry

from eloquent import telemetry
from eloquent.qoe.session import gaps, measure
from eloquent.relay.front_accounts import FrontAccounts
from eloquent.relay.uplink import CarrierName

EVENT = b"data: 1\n\n"


class Clients:
    """The accounts of a front, with a clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.registry = CollectorRegistry()
        self.accounts = FrontAccounts(telemetry.FrontMetrics(self.registry), time=lambda: self.now)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"eloquent_{name}", labels)


@pytest.fixture
def clients() -> Clients:
    return Clients()


def test_stalls_are_those_of_the_measures(clients: Clients) -> None:
    """Gaps around the threshold, many of exactly 200 ms, which are none; some events come together."""
    draw = random.Random(1)
    account = clients.accounts.begin("eloquent-packed")
    times: list[float] = []
    for _ in range(500):
        clients.now = round(clients.now + draw.choice([0.02, 0.1, 0.199, 0.2, 0.201, 0.35, 1.2]), 3)
        together = draw.choice([1, 1, 3])
        account.take([EVENT] * together, CarrierName.UDP)
        times += [clients.now] * together
    measures = measure(times, [None] * len(times))
    labels = {"scheme": "eloquent-packed", "carrier": "udp"}
    assert clients.value("stalls_total", **labels) == measures.stalls > 100
    assert clients.value("stall_seconds_total", **labels) == pytest.approx(measures.stall_s)
    assert clients.value("stream_seconds_total", **labels) == pytest.approx(measures.stream_s)
    assert clients.value("token_gap_seconds_count", **labels) == len(times) - 1
    below = sum(gap <= 0.2 for gap in gaps(times))
    assert clients.value("token_gap_seconds_bucket", le="0.2", **labels) == below


def test_the_first_event_is_waited_for_and_no_gap(clients: Clients) -> None:
    account = clients.accounts.begin("eloquent")
    clients.now += 0.7
    account.take([EVENT], CarrierName.UDP)
    labels = {"scheme": "eloquent", "carrier": "udp"}
    assert clients.value("time_to_first_token_seconds_sum", **labels) == pytest.approx(0.7)
    assert clients.value("stream_seconds_total", **labels) == 0.0
    assert clients.value("stalls_total", **labels) == 0.0


def test_comments_are_nothing_to_read(clients: Clients) -> None:
    account = clients.accounts.begin("eloquent")
    account.take([b": processing\n\n"], CarrierName.UDP)
    account.take([EVENT], CarrierName.UDP)
    clients.now += 0.3
    account.take([b": processing\n\n"], CarrierName.UDP)
    clients.now += 0.3
    account.take([b": processing\n\n", EVENT], CarrierName.UDP)
    assert clients.value("stall_seconds_total", scheme="eloquent", carrier="udp") == pytest.approx(0.6)


def test_a_stall_is_of_the_carrier_that_left_the_client_waiting(clients: Clients) -> None:
    account = clients.accounts.begin("eloquent")
    for carrier, pause in (
        (CarrierName.UDP, 0.1),
        (CarrierName.UDP, 5.0),
        (CarrierName.TCP, 0.4),
        (CarrierName.TCP, 0),
    ):
        account.take([EVENT], carrier)
        clients.now += pause
    assert clients.value("stall_seconds_total", scheme="eloquent", carrier="udp") == pytest.approx(5.0)
    assert clients.value("stall_seconds_total", scheme="eloquent", carrier="tcp") == pytest.approx(0.4)


def test_the_longest_wait_is_that_of_an_open_event_stream(clients: Clients) -> None:
    assert clients.value("longest_wait_seconds") == 0.0
    first, second, other = (clients.accounts.begin("eloquent") for _ in range(3))
    first.is_event_stream = second.is_event_stream = True
    clients.now += 2.0
    second.take([EVENT], CarrierName.UDP)
    clients.now += 1.0
    assert clients.value("active_streams") == 3
    assert clients.value("longest_wait_seconds") == pytest.approx(3.0)
    first.outcome = "ok"
    clients.accounts.end(first, resumptions=2)
    assert clients.value("longest_wait_seconds") == pytest.approx(1.0)
    clients.accounts.end(second, resumptions=0)
    clients.accounts.end(other, resumptions=0)
    assert clients.value("longest_wait_seconds") == clients.value("active_streams") == 0.0
    assert clients.value("answers_total", outcome="ok") == 1
    assert clients.value("answers_total", outcome="left") == 2
    assert clients.value("resumed_answers_total") == 2
