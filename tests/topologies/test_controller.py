"""The controller before real switches: a private Open vSwitch in user space, in namespaces that end with the test."""

import contextlib
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
CONTROLLER = REPOSITORY / "topologies" / "controller.py"
PYTHON = Path(os.environ.get("CONTROLLER_PYTHON", REPOSITORY / ".venv-controller" / "bin" / "python"))
HOSTS = {"h1": "s1", "h2": "s2", "h3": "s2"}  # host -> its switch; s1 and s2 are linked
MACS = {"h1": "02:00:00:00:00:01", "h2": "02:00:00:01:01:02", "h3": "02:00:00:07:00:07"}
CLIENTS = {"h2": "c258", "h3": MACS["h3"]}  # in the topology, which does not know the last
OPENFLOW, METRICS = "127.0.0.1:6653", "127.0.0.1:9105"  # in the private network namespace

START = """
set -eu
for folder in /run /etc/openvswitch /var/log/openvswitch /var/lib/openvswitch; do mount -t tmpfs tmpfs "$folder"; done
mkdir /run/openvswitch
ip link set lo up
ovsdb-tool create /etc/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server --remote=punix:/run/openvswitch/db.sock --pidfile --detach --log-file --no-chdir -vconsole:off
ovs-vsctl --no-wait init
ovs-vswitchd --pidfile --detach --log-file --no-chdir -vconsole:off
echo up
exec sleep infinity
"""


class Network:
    """Namespaces with two switches in user space, three hosts, and a controller that can be killed."""

    def __init__(self, init: int) -> None:
        self._enter = ["nsenter", f"--target={init}", "--net", "--mount", "--pid"]
        self._controller: subprocess.Popen[str] | None = None

    def run(self, command: str, *more: str) -> str:
        return subprocess.run(
            [*self._enter, *command.split(), *more], check=True, capture_output=True, text=True
        ).stdout

    def build(self) -> None:
        for switch in ("s1", "s2"):
            self.run(f"ovs-vsctl add-br {switch} -- set bridge {switch} datapath_type=netdev fail_mode=secure")
            self.run(f"ovs-vsctl set bridge {switch} protocols=OpenFlow13 other-config:datapath-id={switch[1:]:0>16}")
            self.run(f"ovs-vsctl set-controller {switch} tcp:{OPENFLOW}")
            self.run(f"ovs-vsctl set controller {switch} max_backoff=1000")
        self.run("ip link add trunk1 type veth peer name trunk2")
        for number in (1, 2):
            self.run(f"ip link set trunk{number} up")
            self.run(f"ovs-vsctl add-port s{number} trunk{number}")
        for host, switch in HOSTS.items():
            self.run(f"ip netns add {host}")
            self.run(f"ip link add {host}-eth0 address {MACS[host]} type veth peer name to-{host}")
            self.run(f"ip link set {host}-eth0 netns {host}")
            self.run(f"ip -n {host} address add {self.address(host)}/24 dev {host}-eth0")
            self.run(f"ip -n {host} link set {host}-eth0 up")
            self.run(f"ip link set to-{host} up")
            self.run(f"ovs-vsctl add-port {switch} to-{host}")

    def address(self, host: str) -> str:
        return f"10.0.0.{host[1:]}"

    def ping(self, source: str, target: str) -> None:
        self.run(f"ip netns exec {source} ping -q -c 2 -i 0.05 -W 2 {self.address(target)}")

    def ping_all(self) -> None:
        for source, target in itertools.permutations(HOSTS, 2):
            self.ping(source, target)

    def start_controller(self) -> None:
        command = [*self._enter, PYTHON, CONTROLLER, "--listen", OPENFLOW, "--metrics", METRICS]
        self._controller = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._controller.stdout is not None
        assert self._controller.stdout.readline() == "ready\n"
        self.wait_for(lambda counters: counters.get("eloquent_connected_switches") == 2.0)

    def kill_controller(self) -> None:
        if self._controller is not None:
            with self._controller as process:  # nsenter waits for its child: the child is what has to be killed
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
                for child in children.split():
                    os.kill(int(child), signal.SIGKILL)
            self._controller = None

    def counters(self) -> dict[str, float]:
        fetch = f"import urllib.request; print(urllib.request.urlopen('http://{METRICS}/metrics').read().decode())"
        text = self.run(f"{PYTHON} -c", fetch)
        return {name: float(value) for name, value in re.findall(r"^(\w\S*) (\S+)$", text, re.MULTILINE)}

    def wait_for(self, condition, *, timeout: float = 10.0) -> dict[str, float]:
        deadline = time.monotonic() + timeout
        while not condition(counters := self.counters()):
            assert time.monotonic() < deadline, f"never came to pass; the counters are {counters}"
            time.sleep(0.1)
        return counters


def packets(switch: str, port: str, direction: str) -> str:
    return f'eloquent_switch_port_packets_total{{direction="{direction}",port="{port}",switch="{switch}"}}'


def client_packets(switch: str, host: str, direction: str) -> str:
    labels = f'client="{CLIENTS[host]}",direction="{direction}",switch="{switch}"'
    return f"eloquent_switch_client_packets_total{{{labels}}}"


@pytest.fixture
def network() -> Iterator[Network]:
    """Bring the network and a controller up, and end everything with the namespaces' first process."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if shutil.which("ovs-vswitchd") is None:
        pytest.skip("Open vSwitch is not installed (make testbed)")
    if not PYTHON.exists():
        pytest.skip("the controller's virtual environment is missing (make testbed)")
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with subprocess.Popen([*unshare, "sh", "-c", START], stdout=subprocess.PIPE, text=True) as outer:
        try:
            assert outer.stdout is not None
            assert outer.stdout.readline() == "up\n"
            init = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text())
            network = Network(init)
            network.build()
            network.start_controller()
            try:
                yield network
            finally:
                network.kill_controller()
        finally:
            outer.kill()


@pytest.mark.namespaces
def test_learned_hosts_reach_each_other_without_the_controller(network: Network) -> None:
    # For s1, h2 and h3 are behind one port, and h3 says nothing to all: it has to be learned from its answers to h1.
    for _ in range(2):
        network.ping("h1", "h2")
        network.ping("h1", "h3")
        network.kill_controller()


@pytest.mark.namespaces
def test_counters_name_switches_and_ports_and_are_back_after_a_restart(network: Network) -> None:
    ports = (("s1", "to-h1"), ("s1", "trunk1"), ("s2", "trunk2"), ("s2", "to-h2"))
    names = [packets(*port, direction) for port in ports for direction in ("rx", "tx")]
    network.ping("h1", "h2")
    before = network.wait_for(lambda counters: all(counters.get(name, 0) >= 3 for name in names))
    for name in names:
        assert before[name.replace("packets", "bytes", 1)] >= 3 * 42, "three packets, none shorter than one of ARP"
        assert name.replace("packets", "dropped_packets", 1) in before

    network.kill_controller()
    network.start_controller()
    network.wait_for(lambda counters: all(counters.get(name, 0) >= before[name] for name in names))


@pytest.mark.namespaces
def test_clients_are_counted_wherever_they_share_a_port(network: Network) -> None:
    network.ping("h1", "h2")
    network.ping("h1", "h3")
    for _ in range(3):
        network.ping("h1", "h2")
    counted = [client_packets(switch, "h2", direction) for switch in ("s1", "s2") for direction in ("up", "down")]
    counters = network.wait_for(lambda counters: all(counters.get(name, 0) >= 6 for name in counted), timeout=20)
    for name in counted:
        assert counters[name.replace("packets", "bytes")] >= 6 * 98
    assert 1 <= counters[client_packets("s1", "h3", "up")] < 6, "behind the same port as h2"
    clients = {found[1] for name in counters if (found := re.search(r'client_packets.*client="([^"]*)"', name))}
    assert clients == set(CLIENTS.values()), "h1 is no client"


@pytest.mark.namespaces
@pytest.mark.parametrize("restarted", [False, True], ids=["same-controller", "restarted-controller"])
def test_host_that_moved_is_found_again(network: Network, restarted: bool) -> None:
    network.ping_all()
    if restarted:
        network.kill_controller()
    network.run("ovs-vsctl del-port s2 to-h2 -- add-port s1 to-h2")
    if restarted:
        network.start_controller()
    network.ping("h2", "h1")
    network.ping_all()


@pytest.mark.namespaces
def test_switch_that_goes_is_not_counted(network: Network) -> None:
    network.run("ovs-vsctl del-br s2")
    counters = network.wait_for(lambda counters: counters["eloquent_connected_switches"] == 1.0)
    assert not any('switch="s2"' in name for name in counters)


@pytest.mark.processes
def test_taken_port_is_one_sentence_and_an_error() -> None:
    if not PYTHON.exists():
        pytest.skip("the controller's virtual environment is missing (make testbed)")
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [PYTHON, CONTROLLER, "--listen", address, "--metrics", "127.0.0.1:0"]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1
    assert result.stderr == f"controller: cannot listen at {address}: Address already in use\n"
