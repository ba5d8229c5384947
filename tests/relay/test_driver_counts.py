"""What drivers count, as the metrics page shows it."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

from eloquent import telemetry
from eloquent.relay.driver_counts import DriverCounts
from eloquent.relay.sealed.account import SealAccount
from eloquent.relay.sealed.client import SealedClient


def test_a_counter_never_goes_back_though_a_late_datagram_was_none_that_was_lost() -> None:
    registry, account = CollectorRegistry(), SealAccount()
    endpoint: Any = SealedClient(lambda _: None, key=bytes(32), draw=bytes)  # type: ignore[arg-type, return-value]
    endpoint.account = account
    driver: Any = SimpleNamespace(malformed=0, bytes_in=0, bytes_out=0, endpoint=endpoint)
    counts = DriverCounts(driver, telemetry.SessionMetrics(registry))
    lost = []
    for expected, opened in ((10, 8), (10, 9), (20, 18), (20, 18), (30, 25)):
        account.expected, account.opened = expected, opened
        counts.look()
        lost.append(registry.get_sample_value("eloquent_path_lost_packets_total"))
    assert lost == [2, 2, 2, 2, 5]
    assert registry.get_sample_value("eloquent_path_packets_total") == 30


def test_what_the_seal_keeps_out_is_told_by_reason() -> None:
    registry = CollectorRegistry()
    endpoint: Any = SealedClient(lambda _: None, key=bytes(32), draw=bytes)  # type: ignore[arg-type, return-value]
    driver: Any = SimpleNamespace(malformed=3, bytes_in=100, bytes_out=200, endpoint=endpoint)
    counts = DriverCounts(driver, telemetry.SessionMetrics(registry))
    endpoint.account.dropped = Counter({"forged": 2, "replayed": 1})
    counts.look()
    endpoint.account.dropped["forged"] += 1
    counts.look()
    assert registry.get_sample_value("eloquent_dropped_datagrams_total", {"reason": "forged"}) == 3
    assert registry.get_sample_value("eloquent_dropped_datagrams_total", {"reason": "replayed"}) == 1
    assert registry.get_sample_value("eloquent_malformed_datagrams_total") == 3
    assert registry.get_sample_value("eloquent_datagram_bytes_total", {"direction": "out"}) == 200
