import socket
from pathlib import Path

import pytest

from eloquent.measure.own_sockets import own_sockets


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_this_end_of_each_connection_to_a_port(host: str):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if ":" in host and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        assert own_sockets(port) == set()
        with socket.create_connection((host, port)) as one, socket.create_connection((host, port)) as two:
            assert own_sockets(port) == {one.getsockname()[:2], two.getsockname()[:2]}
            one.sendall(b"still open")
        assert own_sockets(port) == set()


def test_looking_leaves_nothing_open():
    """Of what each look opens, at least one for the socket here, nothing stays; a few of others may come meanwhile."""
    with socket.create_server(("127.0.0.1", 0)):
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(50):
            own_sockets(1)
        assert len(list(Path("/proc/self/fd").iterdir())) < before + 25
