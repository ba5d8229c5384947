"""Edge relays of several hosts in one process: each socket is in the network of its host, and in no other."""

import argparse
import asyncio
import ctypes
import fcntl
import os
import socket
import subprocess
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from eloquent import networks
from eloquent.asking.grpc import AsyncGrpcClient
from eloquent.calls import names
from eloquent.nodes.common.clients import Ask
from eloquent.nodes.edge_relay.relay import _host
from eloquent.relay.sealed.key import make_key

CALLS, HTTP, QUIC_HTTP = ("127.0.0.1", 50051), ("127.0.0.1", 8000), ("127.0.0.1", 8001)  # in each network, others
SERVER, ORIGIN, SEALED, QUIC = (f"127.0.0.1:{port}" for port in (50052, 7000, 4433, 4434))
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"  # with settings that set nothing (RFC 9113 §3.4)
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
PIDFD_GETFD = 438  # pidfd_getfd(2)
SIOCGSKNS = 0x894C  # of a socket, its network namespace


def sockets_of(pid: int) -> Iterator[socket.socket]:
    """Yield a duplicate of each Internet socket of a process."""
    system, process = ctypes.CDLL(None, use_errno=True), os.pidfd_open(pid)
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            if not str(entry.readlink()).startswith("socket:"):
                continue
            number = system.syscall(PIDFD_GETFD, process, int(entry.name), 0)
            assert number >= 0, os.strerror(ctypes.get_errno())
            with socket.socket(fileno=number) as found:
                if found.family in {socket.AF_INET, socket.AF_INET6}:  # gRPC speaks IPv4 by the latter
                    yield found
    finally:
        os.close(process)


def network_of(found: socket.socket) -> int:
    """Return the number of the namespace that a socket is in."""
    namespace = fcntl.ioctl(found.fileno(), SIOCGSKNS)
    try:
        return os.fstat(namespace).st_ino
    finally:
        os.close(namespace)


def port_of(found: socket.socket) -> int:
    """Return the port that a socket listens at or is accepted at; of one that asks, the port that it is connected to."""
    own: int = found.getsockname()[1]
    return own if found.type == socket.SOCK_STREAM else found.getpeername()[1]


@pytest.fixture
def hosts(namespace: Callable[[], int]) -> dict[str, Path]:
    """The networks of two hosts."""
    return {name: Path(f"/proc/{namespace()}/ns/net") for name in ("c1", "c2")}


@pytest.fixture
def served(hosts: dict[str, Path], tmp_path: Path) -> Iterator[dict[str, Path]]:
    """The same, with an origin relay on the loopback of each."""
    make_key(tmp_path / "key")
    with ExitStack() as stack:
        started = []
        for network in hosts.values():
            server = ["token_server", "--listen", SERVER]
            origin = ["origin_relay", "--listen", ORIGIN, "--upstream", SERVER, "--schemes", "any"]
            pair = ["--http-upstream", "http://127.0.0.1:1", "--sealed", SEALED, "--quic", QUIC]
            for node, *flags in (server, [*origin, *pair, "--key-file", str(tmp_path / "key")]):
                words = ["nsenter", f"--net={network}", sys.executable, "-m", f"eloquent.nodes.{node}", *flags]
                started.append(stack.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE, text=True)))
                stack.callback(started[-1].kill)
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield hosts


def flags_of(hosts: dict[str, Path], key: Path, metrics: int) -> list[str]:
    listen = ["--listen", "127.0.0.1:50051", "--origin", ORIGIN]
    pair = ["--http", "127.0.0.1:8000", "--sealed-origin", SEALED, "--key-file", str(key)]
    quic = ["--quic-http", "127.0.0.1:8001", "--quic-origin", QUIC]
    named = [f"{name}={network}" for name, network in hosts.items()]
    return [*listen, *pair, *quic, "--metrics", f"127.0.0.1:{metrics}", "--hosts", *named]


@pytest.mark.namespaces
def test_each_host_is_served_in_its_own_network_alone(start_node, served, tmp_path: Path, free_port) -> None:
    page = free_port()
    edge = start_node("edge_relay", *flags_of(served, tmp_path / "key", page))
    with ExitStack() as stack:
        for network in served.values():
            for address, words in ((CALLS, PREFACE), (HTTP, REQUEST), (QUIC_HTTP, REQUEST)):
                with networks.inside(network):
                    client = stack.enter_context(socket.create_connection(address))
                client.settimeout(10)
                client.sendall(words)
                assert client.recv(1), "it is accepted, and stays open"
        found: dict[int, list[int]] = defaultdict(list)
        for one in sockets_of(edge.process.pid):
            found[network_of(one)].append(port_of(one))
    ours = found.pop(Path("/proc/self/ns/net").stat().st_ino)
    assert ours == [page], "nothing but its page of metrics is in the network of the process"
    assert set(found) == {network.stat().st_ino for network in served.values()}
    uplinks = [7000, 4433, 4434]
    for ports in found.values():
        assert set(ports) == {50051, 8000, 8001, *uplinks}
        assert [ports.count(port) for port in uplinks] == [1, 1, 1]
        listeners = [50051, 8000, 8001]
        assert [ports.count(port) for port in listeners] == [2, 2, 2], "each, and what it has accepted"


@pytest.mark.namespaces
def test_answers_come_to_each_host_and_are_counted_by_it(start_node, served, tmp_path: Path, free_port) -> None:
    page = free_port()
    edge = start_node("edge_relay", *flags_of(served, tmp_path / "key", page))

    async def ask(network: Path, times: int) -> int:
        client, tokens = AsyncGrpcClient("127.0.0.1:50051", network), 0
        for _ in range(times):
            metadata = names.owner_metadata(client="x", scheme="eloquent", session="x.r0")
            async for _ in client.answer(Ask(0.5, 0.1), metadata):
                tokens += 1
        await client.close()
        return tokens

    async def ask_all() -> list[int]:
        return await asyncio.gather(*(ask(network, times) for times, network in enumerate(served.values(), 1)))

    assert asyncio.run(ask_all()) == [5, 10]
    with closing(urllib.request.urlopen(f"http://127.0.0.1:{page}/metrics", timeout=10)) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    assert len({family.name for family in families}) == len(families), "a family stands there once"
    samples = [one for family in families for one in family.samples]
    c1, c2 = (
        sum(
            one.value
            for one in samples
            if one.name == "eloquent_datagrams_total" and (one.labels["host"], one.labels["direction"]) == (host, "in")
        )
        for host in served
    )
    assert c2 > c1 > 0
    assert [one.labels for one in samples if one.name == "process_cpu_seconds_total"] == [{}], (
        "it is that of the process"
    )
    assert edge.stop()[0] == 0


@pytest.mark.parametrize("text", ["c1", "=/proc/1/ns/net", "c1=", ""])
def test_what_names_no_host_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not NAME=FILE"):
        _host(text)
