"""How answers are asked for, one file a way: by gRPC, by HTTP with server-sent events, over HTTP/3, by Eloquent itself.

All run on an asyncio loop, and leave from whatever network they are given: one process asks for many hosts. `connect` gives the way
of a scheme.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eloquent import congestion, schemes
from eloquent.addresses import parse_address
from eloquent.asking.client import AsyncClient, Metadata, Question
from eloquent.asking.grpc import AsyncGrpcClient
from eloquent.asking.http3 import AsyncQuicClient
from eloquent.asking.library import AsyncLibraryClient
from eloquent.asking.sse import AsyncSseClient
from eloquent.http3 import settings as http3

__all__ = ["Addresses", "AsyncClient", "Metadata", "Question", "Via", "connect", "where_of"]

Via = Literal["edge", "library"]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the nodes are asked, each as HOST:PORT; empty where no scheme in use needs it.

    Attributes:
        token_server: gRPC at the token server.
        http_server: HTTP at the token server.
        quic_server: HTTP/3 at the token server.
        edge_relay: gRPC at the edge relay of the client's host.
        edge_http: HTTP there.
        edge_quic: The same before the way over QUIC.
        origin_relay: UDP at the origin relay.
    """

    token_server: str = ""
    http_server: str = ""
    quic_server: str = ""
    edge_relay: str = ""
    edge_http: str = ""
    edge_quic: str = ""
    origin_relay: str = ""


def where_of(scheme: str, *, via: Via = "edge") -> str:
    """Return which of the `Addresses` answers by a scheme are asked from.

    Args:
        scheme: Name of the scheme.
        via: Where datagrams end: in the edge relay, or in the process that asks.

    Raises:
        ConfigurationError: There is no such scheme.
    """
    chosen = schemes.get(scheme)
    if chosen.kind == "quic":
        return "quic_server"
    if chosen.transport == "sse":
        return "http_server"
    if chosen.kind == "pair":
        return "edge_quic" if chosen.carrier == "quic" else "edge_http"
    if chosen.kind == "kernel":
        return "token_server"
    return "origin_relay" if via == "library" else "edge_relay"


def connect(
    scheme: str,
    addresses: Addresses,
    *,
    network: Path | None = None,
    via: Via = "edge",
    model: str | None = None,
    shares: bool = False,
) -> AsyncClient:
    """Return the way to the answers by a scheme; nothing is sent yet.

    Args:
        scheme: Name of the scheme.
        addresses: Where servers and relays are; that of `where_of` is given.
        network: The file of the network to ask from; None for the process's own.
        via: See `where_of`.
        model: Which model is asked over HTTP, of a server that is not the testbed's own; None for that.
        shares: Whether sessions share a connection where that costs the measurement nothing: over QUIC, and on the host itself.

    Raises:
        ConfigurationError: There is no such scheme, or the address is malformed.
    """
    chosen, where = schemes.get(scheme), where_of(scheme, via=via)
    target: str = getattr(addresses, where)
    parse_address(target)
    match where:
        case "quic_server":
            own = http3.address_of(target, chosen.congestion_control)
            return AsyncQuicClient(own, chosen, network, is_shared=shares)
        case "http_server" | "edge_http" | "edge_quic":
            return AsyncSseClient(congestion.address_of(target, chosen.congestion_control), network, model=model)
        case "origin_relay":
            return AsyncLibraryClient(target, scheme, network)
    own = congestion.address_of(target, chosen.congestion_control)
    return AsyncGrpcClient(own, network, is_shared=shares and where == "edge_relay")
