"""The kernel's own TCP over the project's wire, captured by tcpdump at both ends: what one end tells against the truth.

A packet that the sender's capture holds and the receiver's does not was lost: that is the truth, packet by packet.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eloquent import scenarios
from eloquent.emulation.carriers.impairment import ImpairedLink
from eloquent.measure import findings as found
from eloquent.measure.flows import Vantage
from eloquent.measure.transmissions import Fate

pytestmark = pytest.mark.namespaces

SCENARIO = "rtt=40ms rate=10mbit loss=independent(probability=0.15)"
SERVER = """
import socket, time
listener = socket.create_server(("10.9.0.2", 7777))
print("listening", flush=True)
connection, _ = listener.accept()
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
begin = time.monotonic()
for number in range(150):
    time.sleep(max(0.0, begin + number * 0.02 - time.monotonic()))
    connection.sendall(b"t" * 100)
connection.shutdown(socket.SHUT_WR)
connection.recv(1)
"""
CLIENT = """
import socket
with socket.create_connection(("10.9.0.2", 7777)) as connection:
    while connection.recv(65536):
        pass
"""


def inside(pid: int, *words: str) -> list[str]:
    return ["nsenter", f"--net=/proc/{pid}/ns/net", "--", *words]


@pytest.fixture
def namespaces(needs_root: None) -> Iterator[list[int]]:
    """Three network namespaces: the wire's, the client's and the network's."""
    if shutil.which("tcpdump") is None:
        pytest.skip("this test captures packets: install tcpdump")
    quiet = "sysctl -qw net.ipv6.conf.default.disable_ipv6=1; ip link set lo up && echo up && exec sleep infinity"
    holders = [subprocess.Popen(["unshare", "--net", "sh", "-c", quiet], stdout=subprocess.PIPE) for _ in range(3)]
    for holder in holders:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
    yield [holder.pid for holder in holders]
    for holder in holders:
        holder.kill()
        holder.communicate()


def capture(pid: int, device: str, path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        inside(pid, "tcpdump", "-i", device, "-n", "-U", "--immediate-mode", "-s", "128", "-w", str(path), "tcp"),
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    assert b"listening on" in process.stderr.readline()
    return process


@pytest.fixture
def captures(namespaces: list[int], tmp_path: Path) -> dict[Vantage, Path]:
    lab, client, network = namespaces
    link = ImpairedLink("c1", "tap-c", "tap-n", SCENARIO, seed=7)
    wire = subprocess.Popen(
        inside(lab, sys.executable, "-m", "eloquent.emulation.carriers.wire"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    def ask(command: dict[str, object]) -> object:
        assert wire.stdin is not None
        assert wire.stdout is not None
        wire.stdin.write(json.dumps({"id": 1, **command}).encode() + b"\n")
        wire.stdin.flush()
        return json.loads(wire.stdout.readline())

    paths = {Vantage.SENDER: tmp_path / "sender.pcap", Vantage.RECEIVER: tmp_path / "receiver.pcap"}
    try:
        assert ask({"links": [link.to_json()]}) == {"id": 1, "ready": True}
        for pid, device, address in ((client, "tap-c", "10.9.0.1/24"), (network, "tap-n", "10.9.0.2/24")):
            subprocess.run(inside(lab, "ip", "link", "set", device, "netns", str(pid)), check=True)
            subprocess.run(inside(pid, "ip", "addr", "add", address, "dev", device), check=True)
            subprocess.run(inside(pid, "ip", "link", "set", device, "up"), check=True)
        ask({"force": "worst"})  # one state: 15 % of the packets, both ways
        dumps = [capture(network, "tap-n", paths[Vantage.SENDER]), capture(client, "tap-c", paths[Vantage.RECEIVER])]
        server = subprocess.Popen(inside(network, sys.executable, "-c", SERVER), stdout=subprocess.PIPE)
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"
        subprocess.run(inside(client, sys.executable, "-c", CLIENT), check=True, timeout=60)
        server.communicate(timeout=60)
        time.sleep(0.3)
        for dump in dumps:
            dump.send_signal(signal.SIGINT)
            dump.communicate(timeout=10)
    finally:
        wire.communicate(timeout=10)
    return paths


def test_one_end_tells_what_both_ends_saw(captures: dict[Vantage, Path], tmp_path: Path):
    ((near_sender,), (near_receiver,)) = (found.read_streams(captures[vantage]) for vantage in Vantage)
    assert near_sender.vantage is Vantage.SENDER
    assert near_receiver.vantage is Vantage.RECEIVER
    came = {(packet.start, packet.end, packet.ts_value) for packet in near_receiver.direction.data}
    truth = [(packet.start, packet.end, packet.ts_value) not in came for packet in near_sender.direction.data]
    told = [packet.fate is Fate.LOST for packet in near_sender.transmissions]
    assert sum(truth) > 5  # of 150 packets or more, each lost with 0.15: fewer with a probability of 3e-6
    wrong = sum(one != two for one, two in zip(truth, told, strict=True))
    assert wrong <= 0.02 * len(truth)  # where an acknowledgement was lost too, a spurious copy may be mistaken
    assert abs(sum(told) - sum(truth)) <= 0.02 * len(truth)
    assert 0.5 * sum(truth) < near_receiver.lost < 1.5 * sum(truth)  # an estimate
    assert near_sender.direction.payload_bytes == 15_000
    assert any(packet.blocking for packet in near_sender.transmissions)

    found.write(tmp_path / "out", found.find("walk", None, [near_sender]), [near_sender])
    scenario = scenarios.load(tmp_path / "out" / "scenario.yaml")
    assert 0.039 < scenario.rtt < 0.2
    assert scenario.loss_down.worst_loss == 1.0
    assert scenario.loss_down.stationary_loss == pytest.approx(near_sender.loss_rate or 0, abs=0.1)
