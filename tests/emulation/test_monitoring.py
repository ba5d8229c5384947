"""Prometheus's configuration, judged by its own tool."""

import json
import subprocess
from pathlib import Path

from eloquent.emulation.monitoring import Target, Targets, make_board, make_prometheus
from eloquent.watch.facts import BrowserAccess, RunFacts

TARGETS = [Target("viewer", "c1", "10.255.0.4:9100"), Target("carrier", "lab", "10.255.0.1:9100")]


def test_the_configuration_is_one_that_prometheus_takes(needs_promtool: None, tmp_path):
    folder = tmp_path / "prometheus"
    Targets(folder, "paper-default").write("lab", TARGETS)
    make_prometheus(folder, logs=tmp_path)
    checked = subprocess.run(
        ["promtool", "check", "config", str(folder / "prometheus.yml")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert (
        checked.stdout.count("rules found") == 3
    )  # recording rules, and alerts of the lab and of production; none of their tests


def test_every_target_has_its_role_its_host_and_the_scenario(tmp_path):
    Targets(tmp_path, "paper-default").write("lab", TARGETS)
    assert json.loads((tmp_path / "targets" / "lab.json").read_text()) == [
        {"targets": [one.address], "labels": {"role": one.role, "host": one.host, "scenario": "paper-default"}}
        for one in TARGETS
    ]


def test_a_group_is_replaced_and_taken_away_alone(tmp_path):
    targets, folder = Targets(tmp_path, "paper-default"), tmp_path / "targets"
    targets.write("lab", TARGETS)
    targets.write("load", TARGETS)
    targets.write("load", TARGETS[:1])
    assert len(json.loads((folder / "load.json").read_text())) == 1
    targets.write("load", [])
    targets.write("load", [])
    assert [path.name for path in folder.iterdir()] == ["lab.json"]


def test_the_board_reads_what_the_lab_wrote(tmp_path):
    facts = RunFacts(
        folder=tmp_path,
        scenario="paper-default",
        link="rtt=400ms",
        seed=7,
        carrier="wire",
        datapath="user",
        schemes=("grpc", "eloquent"),
        token_gap_s=0.1,
        clients={"c1": ("nsenter", "--net=/proc/12/ns/net", "--")},
        server="10.0.0.1:50051",
        http="10.0.0.1:8000",
        quic="10.0.0.1:8443",
        edge="127.0.0.1:50051",
        edge_http="127.0.0.1:8000",
        edge_quic="127.0.0.1:8001",
        model=None,
        browser=BrowserAccess(
            client="c1",
            requests="10.255.0.4:8000",
            scheme="sse-cubic",
            port=8080,
            certificate_hash=tmp_path / "hash",
            module=tmp_path / "eloquent.js",
        ),
        control=tmp_path / "control",
        schedule=tmp_path / "schedule.json",
        urls={"the board": "http://127.0.0.1:8080"},
    )
    words = make_board(facts, metrics="10.255.0.1:9106", logs=tmp_path).words
    assert RunFacts.read(Path(words[words.index("--facts") + 1])) == facts
    assert words[words.index("--listen") + 1].startswith("127.0.0.1:")
