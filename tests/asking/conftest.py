"""A token server and both relays as processes, for clients of every way."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from eloquent.asking import Addresses
from eloquent.relay.sealed.key import make_key


@contextmanager
def _node(module: str, *flags: object, network: Path = Path("/proc/self/ns/net")) -> Iterator[None]:
    words = ["nsenter", f"--net={network}", sys.executable, "-m", f"eloquent.nodes.{module}", *map(str, flags)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


@pytest.fixture(scope="session")
def node() -> Callable[..., object]:
    """Context manager: a node as a process, ready, in a network."""
    return _node


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[tuple[Addresses, str]]:
    """Addresses of a token server for 20 streams and of the relays in front of it, and of the server's metrics."""
    ports = [f"127.0.0.1:{free_port()}" for _ in range(10)]
    grpc, http, quic, edge, edge_http, edge_quic, origin, sealed, origin_quic, metrics = ports
    with ExitStack() as nodes:
        listeners = ("--listen", grpc, "--http", http, "--quic", quic, "--metrics", metrics)
        nodes.enter_context(_node("token_server", *listeners, "--max-streams", 20))
        make_key(key_file := tmp_path_factory.mktemp("relays") / "key")
        beyond = (
            "--http-upstream",
            f"http://{http}",
            "--sealed",
            sealed,
            "--key-file",
            key_file,
            "--quic",
            origin_quic,
        )
        nodes.enter_context(_node("origin_relay", "--listen", origin, "--upstream", grpc, *beyond))
        front = ("--http", edge_http, "--sealed-origin", sealed, "--key-file", key_file)
        front += ("--quic-http", edge_quic, "--quic-origin", origin_quic)
        nodes.enter_context(_node("edge_relay", "--listen", edge, "--origin", origin, *front))
        yield Addresses(grpc, http, quic, edge, edge_http, edge_quic, origin), metrics
