"""A sealed client and a sealed server in virtual time, and what an onlooker on the path can do."""

import contextlib
import importlib.util
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eloquent import schemes
from eloquent.errors import RemoteProtocolError
from eloquent.relay.sealed.client import SealedClient
from eloquent.relay.sealed.limits import SealLimits
from eloquent.relay.sealed.padding import DEFAULT_PADDING
from eloquent.relay.sealed.server import SealedServer

_FILE = Path(__file__).parents[2] / "protocol" / "conftest.py"
_spec = importlib.util.spec_from_file_location("sealed_network", _FILE)
assert _spec is not None
assert _spec.loader is not None
network: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(network)

KEY = bytes(range(32))


def client(seed: int = 2, *, key: bytes = KEY, padding: Any = DEFAULT_PADDING) -> SealedClient:
    return SealedClient(schemes.get, key=key, draw=random.Random(seed).randbytes, padding=padding)


def server(seed: int = 1, *, key: bytes = KEY, padding: Any = DEFAULT_PADDING, **bounds: Any) -> SealedServer:
    return SealedServer(schemes.get, key=key, draw=random.Random(seed).randbytes, padding=padding, **bounds)


class SealedTalk(network.Talk):  # type: ignore[misc]  # it is loaded by its path
    """A sealed client (a) and a sealed server (b) that answers each request with its tokens, behind a NAT.

    What the server sends to an address that is the client's no more is lost.
    """

    def __init__(self, path: Any = None, *, answers: Any = None, key: bytes = KEY, **options: Any) -> None:
        self.options = options
        super().__init__(path, answers=answers)
        self.client = self.pair.ends["a"] = client(key=key, padding=options.get("padding", DEFAULT_PADDING))

    def make_server(self, secret: bytes = b"\1") -> Any:
        return server(secret[0], **self.options)

    def rebind(self, at: float) -> None:
        """Let the NAT choose another port."""

        def move() -> None:
            host, port = self.server.address
            self.server.address = host, port + 1

        self.pair.at(at, move)

    def sizes(self, side: str) -> list[int]:
        return [len(data) for _, data in self.pair.sent[side]]


class Peer:
    """A client's side by hand, which can say anything at any time, with a server that is asked at once."""

    def __init__(self, server: SealedServer, *, seed: int = 3, source: Any = network.CLIENT, key: bytes = KEY) -> None:
        self.server = server
        self.source = source
        self.client = client(seed, key=key)
        self.came = 0  # bytes from the server to this address

    def say(self, data: bytes, *, now: float, source: Any = None) -> list[tuple[bytes, Any]]:
        """Say something, and return all that the server sends in answer; what it drops raises nothing here."""
        with contextlib.suppress(RemoteProtocolError):
            self.server.receive_datagram(data, source or self.source, now=now)
        return self.server.datagrams_to_send(now=now)

    def exchange(self, now: float = 0.0) -> list[bytes]:
        """Carry datagrams without delay until both sides are quiet, and return what the client said."""
        said = []
        while datagrams := self.client.datagrams_to_send(now=now):
            said += datagrams
            for data in datagrams:
                for answer, to in self.say(data, now=now):
                    if to == self.source:
                        self.client.receive_datagram(answer, now=now)
        return said

    def join(self, now: float = 0.0) -> list[bytes]:
        """Ask something, so that there is an association and a stream, and return what was said."""
        self.client.open_stream(b"question", scheme="eloquent", now=now)
        return self.exchange(now)


@pytest.fixture(scope="session")
def sealed() -> Any:
    """The helpers of this file, for tests that cannot import them."""
    return SimpleNamespace(
        KEY=KEY,
        Path=network.Path,
        terrible=network.terrible,
        CLIENT=network.CLIENT,
        Talk=SealedTalk,
        Peer=Peer,
        client=client,
        server=server,
        limits=SealLimits,
    )
