import time
import urllib.request

import pytest

from eloquent.nodes.link_probe.probes import LOST_AFTER
from eloquent.records.run_directory import RunDirectory


def page(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return answer.read().decode()


def test_probes_over_loopback_are_counted_and_logged(start_node, free_port, tmp_path):
    reflector, nowhere, metrics = (free_port() for _ in range(3))
    far = start_node("link_probe", "reflect", "--bind", f"127.0.0.1:{reflector}")
    sender = start_node(
        "link_probe",
        *("send", "--to", f"c1=127.0.0.1:{reflector}", f"c2=127.0.0.1:{nowhere}", "--interval", 0.02),
        *("--metrics", f"127.0.0.1:{metrics}", "--run-dir", tmp_path),
    )
    deadline = time.monotonic() + 20
    while sum(1 for client, _ in RunDirectory(tmp_path).probes() if client == "c1") < 20:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    text = page(metrics)
    assert 'eloquent_link_probes_lost_total{client="c1",direction="down"} 0.0' in text
    assert 'eloquent_link_rtt_seconds{client="c1"}' in text
    assert 'eloquent_link_rtt_seconds{client="c2"}' not in text  # not measured is not 0
    assert sender.stop()[0] == 0
    assert far.stop()[0] == 0
    probes = list(RunDirectory(tmp_path).probes())
    near = [probe for client, probe in probes if client == "c1"]
    assert [probe.sequence for probe in near] == list(range(len(near)))
    for probe in near:
        assert probe.sent_s < probe.received_s
        assert 0 < probe.rtt_s < 1
        assert probe.received_s < probe.sent_s + probe.rtt_s
    steps = [(probe.sent_s - near[0].sent_s) / 0.02 - probe.sequence for probe in near]
    assert min(steps) > -1  # on the clock: never early by a whole interval
    lost = [probe for client, probe in probes if client == "c2"]
    assert lost
    assert {(probe.received_s, probe.rtt_s) for probe in lost} == {(None, None)}


def test_the_rows_of_a_dead_link_are_in_the_file_soon_after_the_probes_are_lost(start_node, free_port, tmp_path):
    """What the lab relies on when it reads the probes of the sessions' last seconds while the sender still runs."""
    start_node("link_probe", "send", "--to", f"c1=127.0.0.1:{free_port()}", "--interval", 0.1, "--run-dir", tmp_path)
    ready = time.monotonic()
    while not (rows := [row for _, row in RunDirectory(tmp_path).probes()]):
        assert time.monotonic() < ready + LOST_AFTER + 0.5
        time.sleep(0.05)
    assert rows[0].sequence == 0
    time.sleep(0.5)
    read = time.monotonic()
    last = max(row.sent_s for _, row in RunDirectory(tmp_path).probes())
    assert last > read - LOST_AFTER - 0.5  # with a probe every 0.1 s none older than that is missing


def test_a_probe_that_never_left_is_no_loss_of_the_link(start_node, free_port, tmp_path):
    """The kernel refuses to send to everybody, as it refuses what does not fit into a full socket."""
    reflector, metrics = free_port(), free_port()
    start_node("link_probe", "reflect", "--bind", f"127.0.0.1:{reflector}")
    sender = start_node(
        "link_probe",
        *("send", "--to", f"c1=127.0.0.1:{reflector}", "c2=255.255.255.255:9", "--interval", 0.02),
        *("--metrics", f"127.0.0.1:{metrics}", "--run-dir", tmp_path),
    )
    deadline = time.monotonic() + LOST_AFTER + 20
    while sum(1 for client, _ in RunDirectory(tmp_path).probes() if client == "c1") < (LOST_AFTER + 1) / 0.02:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    text = page(metrics)
    assert sender.stop()[0] == 0
    assert {client for client, _ in RunDirectory(tmp_path).probes()} == {"c1"}
    assert 'eloquent_link_probes_lost_total{client="c2",direction="down"} 0.0' in text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("send", "--to", "c1=nonsense"), "HOST:PORT"),
        (("send", "--to", "c1=127.0.0.1:9", "--interval", "0"), "--interval"),
        (("reflect", "--bind", "nonsense"), "HOST:PORT"),
        (("reflect", "--bind", "192.0.2.1:9"), "cannot listen on 192.0.2.1:9"),
    ],
)
def test_a_wrong_flag_is_one_sentence(start_node, flags, message):
    status, error = start_node("link_probe", *flags, ready=False).wait()
    assert status == 2
    assert message in error
    assert "Traceback" not in error
