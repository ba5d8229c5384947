"""Losses in sockets, at devices and in queues, as the kernel counts them: each is named with its place."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eloquent.addresses import format_address
from eloquent.emulation.losses import LAB, PacketLosses

GONE = 2**22 + 1
SOCKETS = "import socket; s = socket.socket"
STALLED_SWITCH = """
import asyncio, json, os, signal, socket, sys, time
from pathlib import Path
from eloquent.emulation.losses import LAB, PacketLosses
from eloquent.emulation.processes import run_command
from eloquent.emulation.switches import start_open_vswitch

async def main():
    folder = Path(sys.argv[1])
    database, switch = await start_open_vswitch(folder, logs=folder)
    run_command("ip", "link", "set", "lo", "up")
    run_command("ip", "link", "add", "port", "type", "veth", "peer", "name", "host")
    for words in ("link set port up", "link set host up", "addr add 10.1.1.1/24 dev host"):
        run_command("ip", *words.split())
    run_command("ip", "neigh", "add", "10.1.1.2", "lladdr", "02:00:00:00:00:02", "dev", "host")
    bridge = "add-br s1 -- set bridge s1 datapath_type=netdev -- add-port s1 port"
    run_command("ovs-vsctl", *bridge.split())
    before = PacketLosses.in_networks({LAB: os.getpid()})
    os.kill(switch.process.pid, signal.SIGSTOP)
    with socket.socket(type=socket.SOCK_DGRAM) as writer:
        for _ in range(1000):
            writer.sendto(bytes(1000), ("10.1.1.2", 9))
    os.kill(switch.process.pid, signal.SIGCONT)
    print(json.dumps(before.until(PacketLosses.in_networks({LAB: os.getpid()}))))
    await switch.stop()
    await database.stop()

asyncio.run(main())
"""


def overrun(reader: socket.socket) -> None:
    """Send a socket more than its buffer holds."""
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with socket.socket(reader.family, socket.SOCK_DGRAM) as writer:
        for _ in range(200):
            writer.sendto(bytes(1000), reader.getsockname()[:2])


def account() -> PacketLosses:
    return PacketLosses.in_networks({"origin": os.getpid()})


def lost_since(before: PacketLosses, key: str = "socket_losses") -> dict[str, int]:
    return before.until(account())[key]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_socket_that_is_overrun_is_named_and_no_other(host: str):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as reader, socket.socket(family, socket.SOCK_DGRAM) as other:
        for one in (reader, other):
            one.bind((host, 0))
        names = [f"the UDP socket {format_address(one.getsockname()[:2])} of origin" for one in (reader, other)]
        before = account()
        overrun(reader)
        lost = lost_since(before)
    assert lost[names[0]] >= 100
    assert names[1] not in lost


@pytest.mark.namespaces
def test_what_a_socket_lost_that_has_closed_is_told_by_its_host(namespace: Callable[[], int]):
    host = namespace()
    before = PacketLosses.in_networks({"c1": host})
    script = (
        f"{SOCKETS}(type=2); s.setsockopt(1, 8, 4096); s.bind(('127.0.0.1', 7000));"
        "w = socket.socket(type=2); [w.sendto(bytes(1000), ('127.0.0.1', 7000)) for _ in range(200)]"
    )
    subprocess.run(["nsenter", f"--net=/proc/{host}/ns/net", sys.executable, "-c", script], check=True)
    lost = before.until(PacketLosses.in_networks({"c1": host}))["socket_losses"]
    assert list(lost) == ["closed UDP sockets of c1"]
    assert lost["closed UDP sockets of c1"] >= 100


def test_only_what_was_lost_meanwhile_is_told():
    old, new = ("c1", "the UDP socket 10.0.0.1:7", "5"), ("c1", "the UDP socket 10.0.0.1:7", "6")
    before = PacketLosses({old: 3}, {"c1": 9, "c2": 4}, {("device_drops", "c1-eth0 of c1"): 7})
    after = PacketLosses(
        {new: 2}, {"c1": 12, "c2": 4}, {("device_drops", "c1-eth0 of c1"): 8, ("queue_drops", "of processor 0"): 1}
    )
    assert before.until(after) == {
        "socket_losses": {"the UDP socket 10.0.0.1:7 of c1": 2, "closed UDP sockets of c1": 1},
        "device_drops": {"c1-eth0 of c1": 1},
        "queue_drops": {"of processor 0": 1},
    }
    assert not any(after.until(after).values())


def test_a_network_that_is_gone_has_lost_nothing():
    assert not any(account().until(PacketLosses.in_networks({"c1": GONE})).values())


@pytest.mark.namespaces
def test_what_nobody_fetches_from_a_tap_is_counted(namespace: Callable[[], int], run_in: Callable[..., str]):
    """A TAP holds as many frames as its queue is long; then whoever sends by it loses them, and is not told."""
    host = namespace()
    keeper = f"import sys; sys.path[:0] = {sys.path!r}; from eloquent.emulation.carriers.wire import open_tap"
    words = ["nsenter", f"--net=/proc/{host}/ns/net", sys.executable, "-c"]
    with subprocess.Popen(
        [*words, f"{keeper}; open_tap('lk-c1'); open_tap('other'); print('made', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as wire:
        assert wire.stdout is not None
        assert wire.stdout.readline() == b"made\n"
        for device, net in (("lk-c1", 1), ("other", 2)):
            run_in(host, "ip", "addr", "add", f"10.0.{net}.1/24", "dev", device)
            run_in(host, "ip", "link", "set", device, "txqueuelen", "10", "up")
            run_in(host, "ip", "neigh", "add", f"10.0.{net}.2", "lladdr", "02:00:00:00:00:02", "dev", device)
        before = PacketLosses.in_networks({"c1": host})
        send = "import socket; s = socket.socket(type=2); [s.sendto(b'x', ('10.0.1.2', 9)) for _ in range(600)]"
        subprocess.run([*words, send], check=True)
        lost = before.until(PacketLosses.in_networks({"c1": host}))["device_drops"]
        assert list(lost) == ["lk-c1 of c1"]
        assert lost["lk-c1 of c1"] >= 50
        wire.kill()


@pytest.mark.namespaces
def test_what_a_switch_does_not_fetch_from_its_port_is_counted(namespace: Callable[[], int]):
    """Open vSwitch in user space reads its ports by packet sockets, whose drops no device counts."""
    lab = namespace()
    script = (
        f"{SOCKETS}(17, 3, socket.htons(3)); s.setsockopt(1, 8, 4096); s.bind(('lo', 0)); print(flush=True); input();"
        "w = socket.socket(type=2); [w.sendto(bytes(1000), ('127.0.0.1', 9)) for _ in range(200)];"
        "print(int.from_bytes(s.getsockopt(263, 6, 8)[4:], 'little'), flush=True); input()"  # PACKET_STATISTICS
    )
    words = ["nsenter", f"--net=/proc/{lab}/ns/net", sys.executable, "-c", script]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as switch:
        assert switch.stdin is not None
        assert switch.stdout is not None
        switch.stdout.readline()
        before = PacketLosses.in_networks({LAB: lab})
        switch.stdin.write("\n")
        switch.stdin.flush()
        dropped = int(switch.stdout.readline())
        lost = before.until(PacketLosses.in_networks({LAB: lab}))["socket_losses"]
        assert dropped >= 100
        assert lost == {f"the packet socket at lo of {LAB}": dropped}
        switch.kill()


@pytest.mark.namespaces
def test_what_open_vswitch_loses_while_it_does_not_run_is_told_by_its_port(needs_root: None, tmp_path: Path):
    words = ["unshare", "--net", sys.executable, "-c", STALLED_SWITCH, str(tmp_path)]
    lost = json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])
    assert list(lost["socket_losses"]) == [f"the packet socket at port of {LAB}"]
    assert lost["socket_losses"][f"the packet socket at port of {LAB}"] >= 500
    assert lost["queue_drops"] == {}
