"""The ways in which answers are carried between two relays that share a connection, each a pair of machines.

Rules of this file

- All but `quic-stream` carry the same sessions, schemes and datagrams; what is around them differs.
- Identifiers and keys of ours are drawn from a seed. Those of TLS and QUIC are aioquic's own, and change no size and no instant
  but a byte or two of the handshake, which is over before anything is lost.
"""

import datetime as dt
from collections.abc import Callable
from functools import cache, partial
from random import Random
from typing import Any, NamedTuple

from aioquic.quic.configuration import QuicConfiguration

from eloquent import schemes
from eloquent.protocol.client_endpoint import ClientEndpoint
from eloquent.protocol.datagram import CONNECTION_ID_SIZE, PAYLOAD_BUDGET
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.server_endpoint import ServerEndpoint
from eloquent.relay.quic.certificate import (
    PinnedKey,
    ServerCertificate,
    derive_bearer,
    derive_identity,
    make_certificate,
)
from eloquent.relay.quic.client import QuicClient
from eloquent.relay.quic.edges import ALPN, Edges
from eloquent.relay.quic.limits import QUIC_PAYLOAD_BUDGET
from eloquent.relay.quic.server import QuicServer
from eloquent.relay.sealed.client import SealedClient
from eloquent.relay.sealed.server import SealedServer
from eloquent.sim.quic.stock import StockDatagramClient, StockDatagramServer, StreamClient, StreamServer, configure

KEY = bytes(range(32))


REFERENCE = "sealed"
"""The way that the relays use unless told otherwise, with which the others are compared."""


class Contender(NamedTuple):
    """How answers are carried.

    Attributes:
        name: What tables call it.
        make_server: Makes a server; from a seed.
        make_client: Makes one of its clients, likewise.
        scheme: Between the endpoints; empty where there are none.
    """

    name: str
    make_server: Callable[[int], Any]
    make_client: Callable[[int], Any]
    scheme: str = schemes.BETWEEN_RELAYS


def _client(seed: int, *, payload: int = PAYLOAD_BUDGET) -> ClientEndpoint:
    draw = Random(f"client {seed}").randbytes
    return ClientEndpoint(schemes.get, new_id=partial(draw, CONNECTION_ID_SIZE), payload=payload)


def _server(_: int, *, limits: EndpointLimits) -> ServerEndpoint:
    return ServerEndpoint(schemes.get, secret=KEY, limits=limits)


def _sealed_client(seed: int) -> SealedClient:
    return SealedClient(schemes.get, key=KEY, draw=Random(f"client {seed}").randbytes)


def _sealed_server(seed: int) -> SealedServer:
    return SealedServer(schemes.get, key=KEY, draw=Random(f"server {seed}").randbytes)


@cache
def _certificate() -> ServerCertificate:
    return make_certificate(derive_identity(KEY), now=dt.datetime.now(dt.UTC))


def _quic_client(seed: int) -> QuicClient:
    draw = Random(f"client {seed}").randbytes
    return QuicClient(schemes.get, key=KEY, identity=PinnedKey.of_key_file(KEY), draw=draw)


def _quic_server(seed: int) -> QuicServer:
    own = _certificate()
    edges = Edges(derive_bearer(KEY, own.certificate))
    draw = Random(f"server {seed}").randbytes
    return QuicServer(schemes.get, applications={ALPN: edges}, certificate=own, draw=draw)


def _stock_server(algorithm: str) -> QuicConfiguration:
    configuration = configure(algorithm, is_client=False)
    own = _certificate()
    configuration.certificate, configuration.private_key = own.certificate, own.private_key
    return configuration


def _datagrams(algorithm: str) -> Contender:
    return Contender(
        f"quic-datagram-{algorithm}",
        lambda seed: StockDatagramServer(
            _server(seed, limits=EndpointLimits(payload=QUIC_PAYLOAD_BUDGET)), _stock_server(algorithm)
        ),
        lambda seed: StockDatagramClient(_client(seed, payload=QUIC_PAYLOAD_BUDGET), algorithm),
    )


def _streams(algorithm: str) -> Contender:
    return Contender(
        f"quic-stream-{algorithm}",
        lambda _: StreamServer(_stock_server(algorithm)),
        lambda _: StreamClient(algorithm),
        "",
    )


WAYS = {
    way.name: way
    for way in (
        Contender("udp", partial(_server, limits=EndpointLimits()), _client),
        Contender(REFERENCE, _sealed_server, _sealed_client),
        Contender("eloquent-quic", _quic_server, _quic_client),
        _datagrams("reno"),
        _datagrams("cubic"),
        _streams("reno"),
        _streams("cubic"),
    )
}
