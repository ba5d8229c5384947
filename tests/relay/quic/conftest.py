"""A QUIC client and a QUIC server in virtual time."""

import contextlib
import datetime as dt
import importlib.util
import random
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eloquent import schemes
from eloquent.errors import RemoteProtocolError
from eloquent.relay.quic.account import QuicAccount
from eloquent.relay.quic.certificate import (
    PinnedKey,
    ServerCertificate,
    derive_bearer,
    derive_identity,
    make_certificate,
)
from eloquent.relay.quic.client import QuicClient
from eloquent.relay.quic.connection import DatagramConnection, configure
from eloquent.relay.quic.edges import ALPN, Edges
from eloquent.relay.quic.limits import QuicLimits
from eloquent.relay.quic.server import QuicServer

_FILE = Path(__file__).parents[2] / "protocol" / "conftest.py"
_spec = importlib.util.spec_from_file_location("quic_network", _FILE)
assert _spec is not None
assert _spec.loader is not None
network: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(network)

KEY = bytes(range(32))
PACE = 0.01  # seconds in which what QUIC paces has gone, where there is no delay


def certificate(key: bytes = KEY) -> ServerCertificate:
    """What an origin relay shows that has nothing but the key."""
    return make_certificate(derive_identity(key), now=dt.datetime.now(dt.UTC))


def client(seed: int = 2, *, key: bytes = KEY, identity: Any = None) -> QuicClient:
    identity = PinnedKey.of_key_file(key) if identity is None else identity
    return QuicClient(schemes.get, key=key, identity=identity, draw=random.Random(seed).randbytes)


def server(seed: int = 1, *, key: bytes = KEY, shown: ServerCertificate | None = None, **bounds: Any) -> QuicServer:
    shown = certificate(key) if shown is None else shown
    return QuicServer(
        schemes.get,
        applications={ALPN: Edges(derive_bearer(key, shown.certificate))},
        certificate=shown,
        draw=random.Random(seed).randbytes,
        **bounds,
    )


class QuicTalk(network.Talk):  # type: ignore[misc]  # it is loaded by its path
    """A QUIC client (a) and a QUIC server (b) that answers each request with its tokens, behind a NAT.

    What the server sends to an address that is the client's no more is lost.
    """

    def __init__(self, path: Any = None, *, answers: Any = None, own: Any = None, **options: Any) -> None:
        self.options = options
        super().__init__(path, answers=answers)
        self.client = self.pair.ends["a"] = client() if own is None else own

    def make_server(self, secret: bytes = b"\1") -> Any:
        return server(secret[0], **self.options)

    def rebind(self, at: float) -> None:
        """Let the NAT choose another port."""

        def move() -> None:
            host, port = self.server.address
            self.server.address = host, port + 1

        self.pair.at(at, move)


class Peer:
    """A client's side by hand, with a server that is asked at once."""

    def __init__(self, server: QuicServer, *, seed: int = 3, source: Any = network.CLIENT, own: Any = None) -> None:
        self.server = server
        self.source = source
        self.now = 0.0
        self.client = client(seed) if own is None else own

    def say(self, data: bytes, *, now: float, source: Any = None) -> list[tuple[bytes, Any]]:
        """Say something, and return all that the server sends in answer; what it drops raises nothing here."""
        with contextlib.suppress(RemoteProtocolError):
            self.server.receive_datagram(data, source or self.source, now=now)
        return self.server.datagrams_to_send(now=now)

    def exchange(self, now: float = 0.0) -> list[bytes]:
        """Carry datagrams without delay until both sides are quiet, and return what the client said."""
        said: list[bytes] = []
        self.now = max(now, self.now)
        for _ in range(2):
            instant = self.now = self.now + PACE
            self.client.handle_timer(now=instant)
            self.server.handle_timer(now=instant)
            said += self._exchange(instant)
        return said

    def _exchange(self, now: float) -> list[bytes]:
        said = []
        while datagrams := self.client.datagrams_to_send(now=now):
            said += datagrams
            for data in datagrams:
                for answer, to in self.say(data, now=now):
                    if to == self.source:
                        with contextlib.suppress(RemoteProtocolError):
                            self.client.receive_datagram(answer, now=now)
        return said

    def join(self, now: float = 0.0) -> list[bytes]:
        """Ask something, so that there is a connection and a stream, and return what was said."""
        self.client.open_stream(b"question", scheme="eloquent", now=now)
        return self.exchange(now)


class Stranger:
    """A client's connection by hand, without an endpoint inside; it can say anything once its handshake is complete."""

    def __init__(self, server: QuicServer, *, source: Any = network.CLIENT, protocol: str = ALPN) -> None:
        configuration = configure(is_client=True, protocols=[protocol])
        configuration.verify_mode = ssl.CERT_NONE
        self.server = server
        self.source = source
        self.connection = DatagramConnection(QuicAccount(), configuration=configuration)
        self.events: list[Any] = []
        self.now = 0.0
        self.connection.connect(("server", 0), now=0.0)

    def exchange(self, now: float = 0.0) -> list[bytes]:
        """Carry datagrams without delay until both sides are quiet, and return what the client said."""
        said = []
        self.now = max(now, self.now)
        for _ in range(2):
            instant = self.now = self.now + PACE
            self.server.handle_timer(now=instant)
            self.hear(instant)
            while datagrams := self.connection.flush(now=instant):
                for data, _ in datagrams:
                    said.append(data)
                    with contextlib.suppress(RemoteProtocolError):
                        self.server.receive_datagram(data, self.source, now=instant)
                    self.hear(instant)
        return said

    def hear(self, now: float) -> None:
        """Take what the server says now."""
        for data, to in self.server.datagrams_to_send(now=now):
            if to == self.source:
                self.connection.receive_datagram(data, ("server", 0), now)
        self.events += iter(self.connection.next_event, None)

    def say_on_stream(self, data: bytes, *, stream: int = 0, end: bool = True, now: float = 0.0) -> None:
        self.connection.send_stream_data(stream, data, end_stream=end)
        self.exchange(now)

    def say(self, datagram: bytes, *, now: float = 0.0) -> None:
        self.connection.carry(datagram)
        self.exchange(now)

    def bearer(self, key: bytes = KEY) -> bytes:
        """What an edge shows to this server."""
        certificate = self.connection.peer_certificate
        assert certificate is not None
        return derive_bearer(key, certificate)


@pytest.fixture(scope="session")
def quic() -> Any:
    """The helpers of this file, for tests that cannot import them."""
    return SimpleNamespace(
        KEY=KEY,
        Path=network.Path,
        terrible=network.terrible,
        CLIENT=network.CLIENT,
        Talk=QuicTalk,
        Peer=Peer,
        Stranger=Stranger,
        client=client,
        server=server,
        certificate=certificate,
        limits=QuicLimits,
    )
