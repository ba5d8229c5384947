"""What both ends of an HTTP/3 connection of the testbed agree on.

Rules of this file: all but the congestion control is as aioquic has it, or there is no comparison.
"""

import ssl
from collections.abc import Mapping

from aioquic.h3.connection import H3_ALPN
from aioquic.quic.configuration import QuicConfiguration

from eloquent.addresses import format_address, parse_address

CONTROLS = ("reno", "cubic")
"""Congestion controls of aioquic. A server listens at the given port with the first, and at the ports after it with the others."""

DATAGRAMS_KEY = "x-eloquent-datagrams"
"""Header of a request, and of a response that grants it: the scheme whose packets carry the body in HTTP datagrams."""

DATAGRAM_BUDGET = 1100  # bytes of an HTTP datagram: aioquic blocks for ever on what does not fit into a packet (1170)
IDLE_TIME = 3600.0  # seconds that a connection may wait for its next request, as over TCP
REQUEST_CANCELLED = 0x10C  # RFC 9114, 8.1: H3_REQUEST_CANCELLED
NO_ERROR = 0x100  # RFC 9114, 8.1: H3_NO_ERROR
INTERNAL_ERROR = 0x102  # RFC 9114, 8.1: H3_INTERNAL_ERROR

Headers = Mapping[str, str]


def address_of(address: str, control: str) -> str:
    """Return where a token server listens over QUIC with a congestion control.

    Args:
        address: `HOST:PORT` where it listens with the first of `CONTROLS`.
        control: One of `CONTROLS`.

    Raises:
        ConfigurationError: The address is malformed, or has no ports after it.
    """
    host, port = parse_address(address)
    found = format_address((host, port + CONTROLS.index(control)))
    parse_address(found)
    return found


def client_configuration() -> QuicConfiguration:
    """Return the settings of a client.

    The server's certificate is not checked: the testbed's network is closed, and gRPC and HTTP cross it in plaintext.
    """
    return QuicConfiguration(
        is_client=True,
        alpn_protocols=H3_ALPN,
        max_datagram_frame_size=65536,
        idle_timeout=IDLE_TIME,
        verify_mode=ssl.CERT_NONE,
    )


def server_configuration(control: str) -> QuicConfiguration:
    """Return the settings of a server without its certificate.

    Args:
        control: One of `CONTROLS`.
    """
    return QuicConfiguration(
        is_client=False,
        alpn_protocols=H3_ALPN,
        max_datagram_frame_size=65536,
        idle_timeout=IDLE_TIME,
        congestion_control_algorithm=control,
    )
