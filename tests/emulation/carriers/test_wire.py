"""The wire on real TAP devices between real namespaces."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from eloquent.emulation.carriers.impairment import ImpairedLink
from eloquent.emulation.selftest import FALSE_ALARM, binomial_tail

pytestmark = pytest.mark.namespaces

RTT = 0.060
SCENARIO = "rtt=60ms rate=10mbit queue=100 loss=markov(stay_good=0.5,stay_bad=0.5,loss_in_bad=0.5,slot=20ms)"


@dataclass
class WireUnderTest:
    process: subprocess.Popen[str]
    client: int
    network: int
    asked: int = 0

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.asked += 1
        self.process.stdin.write(json.dumps({"id": self.asked, **command}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert answer.pop("id") == self.asked
        return answer


@pytest.fixture
def wire(namespace: Callable[[], int], run_in: Callable[..., str]) -> Iterator[WireUnderTest]:
    lab, client, network = namespace(), namespace(), namespace()
    link = ImpairedLink("c1", "tap-c", "tap-n", SCENARIO, seed=5)
    with subprocess.Popen(
        ["nsenter", f"--net=/proc/{lab}/ns/net", "--", sys.executable, "-m", "eloquent.emulation.carriers.wire"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        under_test = WireUnderTest(process, client, network)
        assert under_test.ask({"links": [link.to_json()]}) == {"ready": True}
        for pid, device, address in ((client, "tap-c", "10.9.0.1/24"), (network, "tap-n", "10.9.0.2/24")):
            run_in(lab, "ip", "link", "set", device, "netns", str(pid))
            run_in(pid, "ip", "addr", "add", address, "dev", device)
            run_in(pid, "ip", "link", "set", device, "up")
        yield under_test
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def ping(wire: WireUnderTest, *flags: str) -> str:
    words = ["nsenter", f"--net=/proc/{wire.network}/ns/net", "--", "ping", "-n", "-W", "2", *flags, "10.9.0.1"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def test_delay_and_loss_are_the_scenarios(wire: WireUnderTest):
    wire.ask({"force": "best"})
    times = sorted(float(time) for time in re.findall(r"time=([0-9.]+)", ping(wire, "-c", "20", "-i", "0.02")))
    assert len(times) == 20
    # Generous to a busy machine above; below there is no excuse, the frame would have come out before its time.
    assert RTT * 1e3 - 1 < times[10] < RTT * 1e3 + 20

    wire.ask({"force": "worst"})
    lost = 300 - ping(wire, "-c", "300", "-i", "0.005").count("time=")
    assert binomial_tail(lost, 300, 0.5) > FALSE_ALARM
    down, up = wire.ask({"count": True})["directions"]
    assert (down["direction"], down["loss"]) == ("down", 0.5)
    assert down["lost"] == lost  # every lost ping was lost here, on the way down, and nothing else was
    assert (up["direction"], up["lost"], up["overflowed"]) == ("up", 0, 0)


def test_the_schedule_is_followed_and_its_lateness_told(wire: WireUnderTest):
    wire.ask({"schedule": time.monotonic()})
    ping(wire, "-c", "50", "-i", "0.02")
    lateness = wire.ask({"lateness": True})
    assert (
        lateness["changes"] > 10
    )  # 50 slots, each followed by another state with probability 0.5: fails once in 1e5 seeds
    assert 0 <= lateness["p50_s"] <= lateness["p99_s"] <= lateness["max_s"] < 1.0


def test_tcp_crosses_the_wire(wire: WireUnderTest):
    """A stream of 200 kB, so that frames queue and are acknowledged, arrives whole."""
    wire.ask({"force": "best"})
    server = subprocess.Popen(
        ["nsenter", f"--net=/proc/{wire.client}/ns/net", "--", sys.executable, "-c", SERVER],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    with server.stdout:
        assert server.stdout.readline() == "listening\n"
        subprocess.run(
            ["nsenter", f"--net=/proc/{wire.network}/ns/net", "--", sys.executable, "-c", CLIENT],
            check=True,
            timeout=60,
        )
        assert server.stdout.readline() == "200000\n"
    assert server.wait(10) == 0


SERVER = """
import socket
listener = socket.create_server(("10.9.0.1", 7777))
print("listening", flush=True)
connection, _ = listener.accept()
total = 0
while chunk := connection.recv(65536):
    total += len(chunk)
print(total)
"""
CLIENT = """
import socket
with socket.create_connection(("10.9.0.1", 7777)) as connection:
    connection.sendall(bytes(200_000))
"""
