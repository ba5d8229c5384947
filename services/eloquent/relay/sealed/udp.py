"""Sealed endpoints on UDP sockets: the constructors that the relays use."""

import secrets
from collections.abc import Callable

from eloquent.drivers.udp import Destination, UdpClient, UdpServer
from eloquent.protocol.address_token import Address
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.session import ClientEvent, ServerEvent, ServerSession, Tally
from eloquent.protocol.session_base import SchemeLookup
from eloquent.relay.sealed.client import SealedClient
from eloquent.relay.sealed.limits import SealLimits
from eloquent.relay.sealed.padding import DEFAULT_PADDING, Padding
from eloquent.relay.sealed.server import SealedServer


async def connect(
    server: Destination,
    scheme_of: SchemeLookup,
    on_event: Callable[[ClientEvent], None],
    *,
    key: bytes,
    padding: Padding | None = DEFAULT_PADDING,
    tally: Tally | None = None,
) -> UdpClient:
    """Open a socket towards a sealed server; nothing is sent yet.

    Args:
        server: Its host and port, or a socket that is connected to it.
        scheme_of: Finds the schemes.
        on_event: Called with each event, in the loop's thread.
        key: 32 bytes, shared with the server.
        padding: The sizes of sealed datagrams, or None for no padding.
        tally: Where the sessions' datagrams are counted.

    Raises:
        OSError: There is no way to that address.
    """
    endpoint = SealedClient(scheme_of, key=key, draw=secrets.token_bytes, padding=padding, tally=tally)
    return await UdpClient.carry(endpoint, server, on_event)


async def bind(
    address: Address,
    scheme_of: SchemeLookup,
    on_event: Callable[[ServerSession, ServerEvent], None],
    *,
    key: bytes,
    limits: EndpointLimits | None = None,
    seal_limits: SealLimits | None = None,
    padding: Padding | None = DEFAULT_PADDING,
    tally: Tally | None = None,
) -> UdpServer:
    """Listen on an address for whoever has the key.

    Args:
        address: Host and port; port 0 takes a free one.
        scheme_of: Finds the schemes that are offered.
        on_event: Called with each event and its session, in the loop's thread.
        key: 32 bytes, shared with the clients.
        limits: The bounds of the sessions.
        seal_limits: The bounds of what is around them.
        padding: The sizes of sealed datagrams, or None for no padding.
        tally: Where the sessions' datagrams are counted.

    Raises:
        OSError: The address is in use or not ours.
    """
    endpoint = SealedServer(
        scheme_of,
        key=key,
        draw=secrets.token_bytes,
        limits=limits,
        seal_limits=seal_limits,
        padding=padding,
        tally=tally,
    )
    return await UdpServer.carry(endpoint, address, on_event)
