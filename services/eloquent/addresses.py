"""Addresses as people write them, `HOST:PORT`: read here and nowhere else, listened on, and why that cannot be done.

Rules of this file: the host is an IPv4 address, an IPv6 address in brackets, or a name. What is refused, is so in one sentence.
"""

import errno
import ipaddress
import os
import re
import socket

from eloquent.errors import ConfigurationError

Address = tuple[str, int]

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
BACKLOG = 2048  # connections that wait to be accepted
_PORT = re.compile(r"[0-9]{1,5}")


def parse_address(text: str, *, listen: bool = False) -> Address:
    """Split `HOST:PORT`, such as `127.0.0.1:9100`, `[::1]:9100` or `server.example:9100`.

    Args:
        text: The address.
        listen: Whether it is one to listen on, where port 0 takes a free one.

    Returns:
        Host, without brackets, and port.

    Raises:
        ConfigurationError: The text is no such address.
    """
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        is_host = _is_ipv6(host)
    else:
        is_host = _is_name_or_ipv4(host)
    if not is_host or not _PORT.fullmatch(port):
        raise ConfigurationError(f"'{text}' is not an address: write HOST:PORT, such as 127.0.0.1:9100 or [::1]:9100")
    if not (0 if listen else 1) <= int(port) <= 65535:
        raise ConfigurationError(f"'{text}' is not an address: its port is not from {0 if listen else 1} to 65535")
    return host, int(port)


def format_address(address: Address) -> str:
    """Write an address the way `parse_address` reads it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def family_of(host: str) -> socket.AddressFamily:
    """Return the family of the socket that reaches a host; a name is looked up as IPv4."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def reason_of(error: OSError) -> str:
    """Return why the system refuses an address; some event loops leave `strerror` empty, or write a tale into it."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error) or type(error).__name__
    return os.strerror(error.errno) if error.errno in errno.errorcode else str(error)


def listen_on(address: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """Open a socket that listens.

    Args:
        address: `HOST:PORT`; port 0 takes a free one.
        kind: Of the socket, `SOCK_STREAM` for TCP or `SOCK_DGRAM` for UDP.

    Raises:
        ConfigurationError: The address is malformed or cannot be bound.
    """
    where = parse_address(address, listen=True)
    # asyncio switches Nagle's delay off only where the protocol is spelt out.
    protocol = socket.IPPROTO_TCP if kind is socket.SOCK_STREAM else socket.IPPROTO_UDP
    listener = socket.socket(family_of(where[0]), kind, protocol)
    try:
        if kind is socket.SOCK_STREAM:
            listener.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # a port whose old connections linger is free
        listener.bind(where)
        if kind is socket.SOCK_STREAM:
            listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise cannot_listen(address, error) from error
    return listener


def cannot_listen(address: str, error: OSError) -> ConfigurationError:
    """Make the error of a socket that cannot be bound.

    Args:
        address: As the user wrote it.
        error: What the system said.
    """
    return ConfigurationError(f"cannot listen on {address}: {reason_of(error)}")


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _is_name_or_ipv4(host: str) -> bool:
    if host.rstrip(".").rpartition(".")[2].isdecimal():  # no name ends in a number
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            return False
        return True
    return len(host) <= 253 and _NAME.fullmatch(host) is not None
