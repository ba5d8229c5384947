"""QUIC endpoints on UDP sockets: the constructors that the relays use."""

from collections.abc import Callable, Mapping

from eloquent.drivers.udp import Destination, UdpClient, UdpServer
from eloquent.protocol.address_token import Address
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.session import ClientEvent, ServerEvent, ServerSession, Tally
from eloquent.protocol.session_base import SchemeLookup
from eloquent.relay.quic.application import ApplicationFactory
from eloquent.relay.quic.certificate import Identity, ServerCertificate
from eloquent.relay.quic.client import QuicClient
from eloquent.relay.quic.limits import QuicLimits
from eloquent.relay.quic.server import QuicServer


async def connect(
    server: Destination,
    scheme_of: SchemeLookup,
    on_event: Callable[[ClientEvent], None],
    *,
    key: bytes,
    identity: Identity,
    tally: Tally | None = None,
) -> UdpClient:
    """Open a socket towards a QUIC server; nothing is sent yet.

    Args:
        server: Its host and port, or a socket that is connected to it.
        scheme_of: Finds the schemes.
        on_event: Called with each event, in the loop's thread.
        key: 32 bytes, shared with the server.
        identity: Whom to take for the server.
        tally: Where the sessions' datagrams are counted.

    Raises:
        OSError: There is no way to that address.
    """
    return await UdpClient.carry(QuicClient(scheme_of, key=key, identity=identity, tally=tally), server, on_event)


async def bind(
    address: Address,
    scheme_of: SchemeLookup,
    on_event: Callable[[ServerSession, ServerEvent], None],
    *,
    applications: Mapping[str, ApplicationFactory],
    certificate: ServerCertificate,
    limits: EndpointLimits | None = None,
    quic_limits: QuicLimits | None = None,
    tally: Tally | None = None,
) -> UdpServer:
    """Listen on an address for whoever speaks QUIC, and one of some protocols over it.

    Args:
        address: Host and port; port 0 takes a free one.
        scheme_of: Finds the schemes that are offered.
        on_event: Called with each event and its session, in the loop's thread.
        applications: What is spoken, by ALPN.
        certificate: Who the server is.
        limits: The bounds of the sessions.
        quic_limits: The bounds of what is around them.
        tally: Where the sessions' datagrams are counted.

    Raises:
        OSError: The address is in use or not ours.
    """
    endpoint = QuicServer(
        scheme_of,
        applications=applications,
        certificate=certificate,
        limits=limits,
        quic_limits=quic_limits,
        tally=tally,
    )
    return await UdpServer.carry(endpoint, address, on_event)
