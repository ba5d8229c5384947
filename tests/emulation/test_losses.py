"""PacketLosses in socket buffers and at devices, as the kernel counts them."""

import os
import socket
import subprocess
import sys

import pytest

from eloquent.emulation.losses import PacketLosses, count_drops, count_losses


def test_what_does_not_fit_into_a_socket_is_counted():
    before = count_losses(os.getpid())
    with socket.socket(type=socket.SOCK_DGRAM) as reader, socket.socket(type=socket.SOCK_DGRAM) as writer:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.bind(("127.0.0.1", 0))
        for _ in range(200):
            writer.sendto(bytes(1000), reader.getsockname())
    assert count_losses(os.getpid()) >= before + 100


def test_only_what_was_lost_meanwhile_is_told():
    before, after = PacketLosses({"c1": 3, "c2": 0}), PacketLosses({"c1": 3, "c2": 4, "origin": 1})
    assert before.until(after) == {"c2": 4, "origin": 1}


def test_a_host_that_is_gone_has_lost_nothing():
    assert count_losses(2**22 + 1) == 0
    assert count_drops(2**22 + 1, "lk-") == 0


@pytest.mark.namespaces
def test_what_nobody_fetches_from_a_tap_is_counted(namespace, run_in):
    """A TAP holds as many frames as its queue is long; then whoever sends by it loses them, and is not told."""
    host = namespace()
    keeper = f"import sys; sys.path[:0] = {sys.path!r}; from eloquent.emulation.carriers.wire import open_tap"
    words = ["nsenter", f"--net=/proc/{host}/ns/net", sys.executable, "-c"]
    with subprocess.Popen(
        [*words, f"{keeper}; open_tap('lk-c1'); open_tap('other'); print('made', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as wire:
        assert wire.stdout.readline() == b"made\n"
        for device, net in (("lk-c1", 1), ("other", 2)):
            run_in(host, "ip", "addr", "add", f"10.0.{net}.1/24", "dev", device)
            run_in(host, "ip", "link", "set", device, "txqueuelen", "10", "up")
            run_in(host, "ip", "neigh", "add", f"10.0.{net}.2", "lladdr", "02:00:00:00:00:02", "dev", device)
        before = count_drops(host, "lk-c1")
        send = "import socket; s = socket.socket(type=2); [s.sendto(b'x', ('10.0.1.2', 9)) for _ in range(600)]"
        subprocess.run([*words, send], check=True)
        assert count_drops(host, "lk-") - before >= 50
        assert count_drops(host, "other") == 0
        wire.kill()
