"""The main job on real input: 8 clients, four schemes, one round over impaired links, and every account of it agrees."""

import csv
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eloquent import scenarios
from eloquent.channel.schedule import Direction
from eloquent.measure import findings
from eloquent.measure.sessions import read_sessions
from eloquent.measure.transmissions import Fate
from eloquent.records.run_directory import RunDirectory

pytestmark = pytest.mark.lab

SCHEMES = ("grpc", "duplicate-2", "eloquent", "eloquent-packed")
CLIENTS = [f"c{number}" for number in range(1, 9)]
ON_THE_EDGE = 0.010  # seconds from a change of state, within which a packet may have met either


def test_every_session_of_every_scheme_ended_well(experiment):
    schemes = experiment.summary()["schemes"]
    assert set(schemes) == set(SCHEMES)
    for figures in schemes.values():
        assert (figures["sessions"], figures["failed"]) == (8, 0)
        assert figures["tokens"] == 8 * 299  # "Count to 150": 150 numbers and 149 commas


def test_eloquent_stalls_at_most_half_as_much_as_tcp(experiment):
    schemes = experiment.summary()["schemes"]
    assert schemes["eloquent"]["stall_ratio"] <= schemes["grpc"]["stall_ratio"] / 2
    assert schemes["eloquent"]["stall_ratio"] < schemes["duplicate-2"]["stall_ratio"]
    assert schemes["eloquent-packed"]["stall_ratio"] <= schemes["grpc"]["stall_ratio"] / 2


def test_redundancy_is_measured_for_every_scheme(experiment):
    schemes = experiment.summary()["schemes"]
    assert 0 < schemes["grpc"]["redundancy_rate"] < 1  # the kernel's retransmissions
    assert 1 < schemes["duplicate-2"]["redundancy_rate"] < 2.5  # a copy of each, and retransmissions
    assert 1 < schemes["eloquent"]["redundancy_rate"] < 10
    assert 1 < schemes["eloquent-packed"]["redundancy_rate"] < 10
    assert all(figures["wire_bytes_per_token"] > 20 for figures in schemes.values())


def test_measured_loss_is_the_schedules(experiment):
    summary = experiment.summary()
    assert summary["loss_rate"] == pytest.approx(own_loss(experiment.manifest()), abs=0.02)


def own_loss(manifest) -> float:
    return sum(link["schedule"]["down"]["mean_loss"] for link in manifest["links"]) / len(manifest["links"])


def test_the_manifest_says_how_the_run_was_made(experiment):
    manifest = experiment.manifest()
    assert manifest["carrier"]["name"] in {"netem", "wire"}
    assert manifest["datapath"]["name"] in {"kernel", "user"}
    assert manifest["carrier"]["why"]
    assert manifest["kernel"]
    assert manifest["congestion_control"]
    assert manifest["versions"]["core"] == "pure"
    assert all(manifest["versions"][name] for name in ("python", "grpcio", "mininet", "openvswitch", "controller"))
    assert [link["name"] for link in manifest["links"]] == CLIENTS
    for link in manifest["links"]:
        assert link["self_test"]["rtt_s"] == pytest.approx(0.4, abs=0.002)
        assert link["self_test"]["bad_loss"] > 0.7
    assert manifest["lateness"]["changes"] > 100
    # The bound of 5 ms is the run's own warning; a test on a shared machine only asks that it was measured.
    assert 0 < manifest["lateness"]["p99_s"] < 0.1
    assert manifest["lateness"]["instants"] > 100


def test_the_lag_of_every_node_is_logged_and_the_time_of_every_thread_looked_at(experiment):
    nodes = {node for node, _, _ in RunDirectory(experiment.run).node_lags()}
    assert nodes == {"token_server", "origin_relay", "edge_relay", "link_probe"}
    assert experiment.summary()["node_lag_p99_s"] > 0
    assert experiment.manifest()["threads"]["seconds"] >= 30


def test_the_schedule_in_the_manifest_is_a_pure_function_of_its_seed(experiment):
    manifest = experiment.manifest()
    for link in manifest["links"]:
        schedule = scenarios.load("paper-default").schedule(Direction.DOWN, seed=1, link=link["name"])
        assert link["schedule"]["down"]["digest"] == schedule.digest(manifest["rounds_s"])
        assert [tuple(stretch) for stretch in link["schedule"]["down"]["stretches"]] == schedule.run_lengths(
            manifest["rounds_s"]
        )


def test_clients_start_where_their_number_says(experiment):
    """So that two runs with one seed differ in nothing that the schedule would notice."""
    offsets = experiment.manifest()["start_offsets_s"]
    assert offsets == {client: pytest.approx(number * 0.0125) for number, client in enumerate(CLIENTS)}


def test_prometheus_has_every_client_and_scheme(experiment):
    series = experiment.prometheus("eloquent_stall_seconds_total")
    found = {(one["metric"]["client"], one["metric"]["scheme"]) for one in series}
    assert found == {(client, scheme) for client in CLIENTS for scheme in SCHEMES}
    assert experiment.prometheus("count(up == 0) or vector(0)")[0]["value"][1] == "0"


def test_prometheus_has_the_controllers_port_counters(experiment):
    series = experiment.prometheus("eloquent_switch_port_packets_total > 0")
    ports = {one["metric"]["port"]: one["metric"]["switch"] for one in series}
    assert set(ports.values()) == {"s1", "s2"}
    access = {port for port, switch in ports.items() if switch == "s2"}
    if experiment.manifest()["datapath"]["name"] == "user":
        assert access == {"s2-eth1", "s2-uplink"}, "links meet on a bridge before the switch"
    else:
        assert len(access) == 1 + len(CLIENTS)


def test_prometheus_has_the_controllers_counters_of_each_client(experiment):
    """By flows: where the datapath is in user space, all clients share one port."""
    series = experiment.prometheus("eloquent_switch_client_packets_total > 0")
    labels = ("switch", "client", "direction")
    found = {tuple(one["metric"][label] for label in labels) for one in series}
    assert found == set(itertools.product(("s1", "s2"), CLIENTS, ("up", "down")))


def test_each_connection_comes_from_the_network_of_its_client(experiment):
    """Viewers of many clients share a process; what they ask over the link has to leave from each client's own network."""
    hosts = json.loads(experiment.call("status").stdout)["hosts"]
    for client in CLIENTS:
        listed = experiment.call("exec", client, "--", "ss", "-Htn", "state", "established").stdout.splitlines()
        ends = [tuple(line.split()[2:4]) for line in listed]
        to_server = [local for local, peer in ends if peer.startswith("10.0.0.1:")]
        assert len(to_server) == 1, "one session over TCP at a time, whose connection is kept"
        assert to_server[0].startswith(f"10.0.1.{client[1:]}:")
    assert len(hosts) == len(CLIENTS) + 2


def test_prometheus_agrees_with_the_summary(experiment):
    """Both count every gap of every session; the summary from the log, Prometheus from what the viewers exported."""
    for scheme, figures in experiment.summary()["schemes"].items():
        selector = f'{{scheme="{scheme}"}}'
        query = f"sum(eloquent_stall_seconds_total{selector}) / sum(eloquent_stream_seconds_total{selector})"
        assert float(experiment.prometheus(query)[0]["value"][1]) == pytest.approx(figures["stall_ratio"], rel=0.01)
        tokens = experiment.prometheus(f"sum(eloquent_rendered_tokens_total{selector})")
        assert float(tokens[0]["value"][1]) == figures["tokens"]
        redundancy = f"sum(eloquent_redundant_bytes_total{selector}) / sum(eloquent_original_bytes_total{selector})"
        assert float(experiment.prometheus(redundancy)[0]["value"][1]) == pytest.approx(
            figures["redundancy_rate"], rel=0.01
        )


def test_the_screen_shows_the_comparison(experiment):
    for word in (
        "stalls",
        "redundancy",
        "TTFT",
        "loss measured",
        "carrier",
        "switch datapath",
        "http://127.0.0.1:",
    ):
        assert word in experiment.output


def test_the_figures_can_be_computed_again(experiment):
    (experiment.run / "summary.json").unlink()
    again = experiment.call("summary", str(experiment.run))
    assert again.returncode == 0
    assert "Eloquent" in again.stdout
    assert set(experiment.summary()["schemes"]) == set(SCHEMES)


def test_the_simulator_agrees_with_the_lab(experiment):
    """Within 10 % over 64 sessions (docs/agreement.md); 8 spread more, and a starved machine adds stalls: 36 % were seen."""
    answer = experiment.call("agreement", str(experiment.run), "--repeats", "3", "--tolerance", "1000")
    assert answer.returncode == 0, answer.stderr
    with (experiment.run / "agreement.csv").open(encoding="utf-8") as file:
        rows = {row["scheme"]: row for row in csv.DictReader(file) if row["measure"] == "stall_ratio_210"}
    assert set(rows) == set(SCHEMES)
    for scheme, row in rows.items():
        assert 0.7 < float(row["lab"]) / float(row["simulator"]) < 1.5, scheme


def test_status_tells_what_runs(experiment):
    answer = experiment.call("status")
    assert answer.returncode == 0
    assert '"stage": "up"' in answer.stdout
    assert "false" not in answer.stdout  # every process is running


def test_a_command_runs_in_a_host(experiment):
    """In the present folder, on the host's network, where hosts have names; its exit status is the command's."""
    answer = experiment.call("exec", "c2", "--", "sh", "-c", "pwd; ip -brief address; getent hosts server; exit 7")
    assert answer.returncode == 7
    assert answer.stdout.startswith(f"{Path.cwd()}\n")
    for word in ("c2-eth0", "mgmt0", "server"):
        assert word in answer.stdout
    refused = experiment.call("exec", "c9", "--", "true")
    assert refused.returncode == 1
    assert "the testbed has no host 'c9'" in refused.stderr


@contextmanager
def packets_of(experiment, host: str, path: Path) -> Iterator[None]:
    """Capture a host's packets of gRPC while the block runs."""
    words = ("tcpdump", "-i", "any", "-n", "-U", "--immediate-mode", "-s", "128", "-w", str(path), "tcp port 50051")
    with subprocess.Popen(
        experiment.command("exec", host, "--", *words),
        env=experiment.environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as tcpdump:
        try:
            assert tcpdump.stderr is not None
            assert any("listening on" in line for line in tcpdump.stderr)
            yield
        finally:
            os.killpg(tcpdump.pid, signal.SIGINT)


def test_losses_measured_in_the_lab_are_the_schedules_and_can_be_replayed(experiment, tmp_path):
    """The paper's 4.3 on the lab's own TCP: stream, capture, find the lost packets, simulate over their trace.

    In 16 s no slot is bad less than once in ten million.
    """
    capture, study = tmp_path / "server.pcap", tmp_path / "study"
    measure = experiment.command("measure", "run", "--grpc", "server:50051", "--sessions", "1", "--name", "study")
    with packets_of(experiment, "server", capture):
        measured = experiment.call("exec", "c1", "--", *measure, "--runs", str(tmp_path))
    assert measured.returncode == 0, measured.stderr
    figures = json.loads((study / "measurement.json").read_text())
    assert (figures["sessions"], figures["failed"], figures["tokens"], figures["vantage"]) == (1, 0, 159, "receiver")

    read = experiment.call("measure", "read", str(capture), "--log", str(study), "--out", str(tmp_path / "out"))
    assert read.returncode == 0, read.stderr
    (stream,) = findings.read_streams(capture)
    (session,) = read_sessions(RunDirectory(study))
    manifest = experiment.manifest()
    schedule = scenarios.load("paper-default").schedule(Direction.DOWN, seed=manifest["seed"], link="c1")
    begin = manifest["epoch_s"] + session.wall_offset_s
    known = [packet for packet in stream.transmissions if packet.fate is not Fate.UNKNOWN]
    lost = [packet for packet in known if packet.fate is Fate.LOST]
    in_good = [
        packet
        for packet in lost
        if not any(schedule.loss_at(packet.sent_s - begin + apart) for apart in (-ON_THE_EDGE, 0.0, ON_THE_EDGE))
    ]
    assert lost
    assert len(in_good) <= max(1, 0.1 * len(lost))  # a copy that was mistaken for another
    expected = sum(schedule.loss_at(packet.sent_s - begin) for packet in known) / len(known)
    assert len(lost) / len(known) == pytest.approx(expected, abs=0.06)  # 6 sigma

    words = ("--schemes", "tcp-bbr,eloquent", "--sessions", "2", "--session", "16", "--workers", "1")
    replay = ("--scenario", str(tmp_path / "out" / "scenario.yaml"), "--out", str(tmp_path / "replay"))
    simulated = experiment.call("simulate", *words, *replay)
    assert simulated.returncode == 0, simulated.stderr
    with (tmp_path / "replay" / "figures.csv").open() as file:
        ratios = {row["scheme"]: float(row["stall_ratio"]) for row in csv.DictReader(file)}
    assert ratios["eloquent"] < ratios["tcp-bbr"]
