import re
import socket
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from eloquent import telemetry
from eloquent.errors import ConfigurationError

ROLES = [
    telemetry.FrontMetrics,
    telemetry.ModelMetrics,
    telemetry.PathMetrics,
    telemetry.UplinkMetrics,
    telemetry.ViewerMetrics,
    telemetry.LoadMetrics,
    telemetry.ServerMetrics,
    telemetry.OriginMetrics,
    telemetry.SessionMetrics,
    telemetry.EdgeMetrics,
    telemetry.ListenerMetrics,
    telemetry.PageMetrics,
    telemetry.ProbeMetrics,
    telemetry.CarrierMetrics,
]
LABELS = {"client", "scheme", "direction", "kind", "outcome", "reason", "carrier", "datapath"} | {
    "status",
    "state",
    "which",
    "limit",
}


@pytest.mark.parametrize("role", ROLES)
def test_names_help_texts_and_labels_follow_the_rules(role):
    registry = CollectorRegistry()
    metrics = [metric for metric in vars(role(registry)).values() if hasattr(metric, "_labelnames")]
    assert metrics
    for metric in metrics:
        assert re.fullmatch(r"eloquent(_[a-z]+)+", metric._name)
        assert set(metric._labelnames) <= LABELS
    for family in registry.collect():
        assert family.documentation.endswith(".")


@pytest.mark.parametrize("buckets", [telemetry.GAP_BUCKETS, telemetry.FIRST_TOKEN_BUCKETS, telemetry.LAG_BUCKETS])
def test_buckets_rise_and_hold_the_limits_of_the_paper(buckets):
    assert list(buckets) == sorted(set(buckets))
    assert {0.2, 0.4} <= set(buckets)


def test_a_value_outside_its_closed_set_is_other():
    assert telemetry.closed("c1", {"c1", "c2"}) == "c1"
    assert telemetry.closed("c3", {"c1", "c2"}) == "other"


def test_the_page_has_what_was_counted_and_no_creation_times():
    registry = CollectorRegistry()
    telemetry.ViewerMetrics(registry).stall_seconds.labels("c1", "grpc").inc(1.5)
    port = telemetry.serve("127.0.0.1:0", registry)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
        text = page.read().decode()
    assert 'eloquent_stall_seconds_total{client="c1",scheme="grpc"} 1.5' in text
    assert "_created" not in generate_latest(registry).decode()


def test_what_sessions_count_is_shown_as_it_stands():
    registry = CollectorRegistry()
    metrics = telemetry.SessionMetrics(registry)
    labels = {"direction": "out", "kind": "answer"}
    assert registry.get_sample_value("eloquent_datagrams_total", labels) is None
    metrics.sent["answer"] += 2
    metrics.received["open"] += 1
    assert registry.get_sample_value("eloquent_datagrams_total", labels) == 2
    assert registry.get_sample_value("eloquent_datagrams_total", {"direction": "in", "kind": "open"}) == 1


def test_hosts_share_a_page_and_no_number():
    page = CollectorRegistry()
    pages = telemetry.HostPages(page)
    first, second = (telemetry.EdgeMetrics(pages.registry(host)) for host in ("c1", "c2"))
    first.given_up_streams.inc(2)
    second.sent["open"] += 3
    assert page.get_sample_value("eloquent_given_up_streams_total", {"host": "c1"}) == 2
    assert page.get_sample_value("eloquent_given_up_streams_total", {"host": "c2"}) == 0
    sent = {"direction": "out", "kind": "open"}
    assert page.get_sample_value("eloquent_datagrams_total", {"host": "c2", **sent}) == 3
    assert page.get_sample_value("eloquent_datagrams_total", {"host": "c1", **sent}) is None
    text = generate_latest(page).decode()
    assert text.count("# TYPE eloquent_given_up_streams_total") == 1
    with pytest.raises(ValueError, match="Duplicated"):
        telemetry.EdgeMetrics(pages.registry("c1"))


def test_a_port_in_use_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}"):
            telemetry.serve(f"127.0.0.1:{port}", CollectorRegistry())


@pytest.mark.parametrize("begun", [b"", b"GET /metrics HTTP/1.1\r\nhost: x"])
def test_a_client_that_says_nothing_is_left(begun, monkeypatch, capsys):
    monkeypatch.setattr(telemetry, "_REQUEST_TIME", 0.3)
    port = telemetry.serve("127.0.0.1:0", CollectorRegistry())
    with socket.create_connection(("127.0.0.1", port), timeout=60) as silent:
        silent.sendall(begun)
        assert silent.recv(1000) == b""
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("address", ["", "nonsense", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999"])
def test_a_malformed_address_is_refused(address):
    with pytest.raises(ConfigurationError):
        telemetry.serve(address, CollectorRegistry())
