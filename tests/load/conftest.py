"""Jobs of load tests; a token server and both relays as processes, for clients that block."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eloquent.load.job import LoadJob
from eloquent.load.options import LoadOptions
from eloquent.relay.sealed.key import make_key


@contextmanager
def _node(module: str, *flags: object) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-m", f"eloquent.nodes.{module}", *map(str, flags)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def _free_port() -> int:
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            return int(tcp.getsockname()[1])


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Finds a port that is free for TCP and UDP."""
    return _free_port


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Addresses of a token server for 20 streams, its metrics, and of the relays in front of it."""
    names = ("grpc", "http", "quic", "metrics", "origin", "edge", "sealed", "edge_http", "origin_quic", "edge_quic")
    addresses = SimpleNamespace(**{name: f"127.0.0.1:{_free_port()}" for name in names})
    with ExitStack() as nodes:
        listeners = ("--listen", addresses.grpc, "--http", addresses.http, "--quic", addresses.quic)
        listeners += ("--metrics", addresses.metrics)
        nodes.enter_context(_node("token_server", *listeners, "--max-streams", 20))
        make_key(key_file := tmp_path_factory.mktemp("relays") / "key")
        origin = ("--http-upstream", f"http://{addresses.http}", "--sealed", addresses.sealed, "--key-file", key_file)
        origin += ("--quic", addresses.origin_quic)
        nodes.enter_context(_node("origin_relay", "--listen", addresses.origin, "--upstream", addresses.grpc, *origin))
        edge = ("--http", addresses.edge_http, "--sealed-origin", addresses.sealed, "--key-file", key_file)
        edge += ("--quic-http", addresses.edge_quic, "--quic-origin", addresses.origin_quic)
        nodes.enter_context(_node("edge_relay", "--listen", addresses.edge, "--origin", addresses.origin, *edge))
        yield addresses


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., LoadJob]:
    """Makes a job for some hosts; further words are options."""

    def make(*, hosts: int, **options: Any) -> LoadJob:
        return LoadJob(
            number=1,
            options=LoadOptions(**options),
            folder=tmp_path,
            token_server="10.0.0.1:50051",
            http_server="10.0.0.1:8000",
            quic_server="10.0.0.1:8443",
            edge_relay="127.0.0.1:50051",
            edge_http="127.0.0.1:8000",
            edge_quic="127.0.0.1:8001",
            origin_relay="10.0.0.2:7000",
            model=None,
            metrics={f"c{number}": f"10.255.0.{number}:9103" for number in range(1, hosts + 1)},
            master_metrics="10.255.0.1:9103",
        )

    return make
