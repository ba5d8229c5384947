"""TCP's congestion control: set on a socket that listens, read from any, and at which port of a token server each one is.

Rules of this file: connections inherit what is set on the socket that accepted them (tcp(7), TCP_CONGESTION). A token server that
offers some listens at the given port with the machine's own, and at the ports after it with each of `schemes.CONGESTION_CONTROLS`.
"""

import errno
import socket
from pathlib import Path

from eloquent import schemes
from eloquent.addresses import format_address, parse_address, reason_of
from eloquent.errors import ConfigurationError

_AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
_NAME_SIZE = 16  # bytes of a name, as the kernel gives it (TCP_CA_NAME_MAX)


def set_control(connection: socket.socket, control: str) -> None:
    """Set the congestion control of a socket.

    Args:
        connection: A TCP socket; one that listens hands it on to what it accepts.
        control: Its name, such as `cubic`.

    Raises:
        ConfigurationError: The kernel lacks it, or does not allow it.
    """
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())
    except OSError as error:
        reason = f"it has {_available()}" if error.errno == errno.ENOENT else reason_of(error)
        raise ConfigurationError(f"this kernel's TCP has no congestion control '{control}' for us: {reason}") from error


def read_control(connection: socket.socket) -> str:
    """Return the name of the congestion control that a TCP socket uses.

    Raises:
        OSError: It is not a TCP socket.
    """
    raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _NAME_SIZE)
    return raw.partition(b"\0")[0].decode()


def probe(control: str) -> str | None:
    """Return why this process cannot use a congestion control, or None where it can."""
    with socket.socket() as tried:
        try:
            set_control(tried, control)
        except ConfigurationError as error:
            return str(error)
    return None


def offered() -> tuple[str, ...]:
    """Return those of `schemes.CONGESTION_CONTROLS` that this kernel has."""
    return tuple(control for control in schemes.CONGESTION_CONTROLS if probe(control) is None)


def require(names: tuple[str, ...]) -> None:
    """Check that this kernel has the congestion control of each of these schemes.

    Args:
        names: Names of schemes.

    Raises:
        ConfigurationError: It lacks one.
    """
    for name in names:
        scheme = schemes.get(name)
        control = scheme.congestion_control if scheme.kind == "kernel" else ""
        if control and (refusal := probe(control)) is not None:
            raise ConfigurationError(f"'{name}' cannot run here: {refusal}")


def address_of(address: str, control: str) -> str:
    """Return where a token server listens with a congestion control.

    Args:
        address: `HOST:PORT` where it listens with the machine's own.
        control: One of `schemes.CONGESTION_CONTROLS`, or empty for the machine's own.

    Raises:
        ConfigurationError: There is no such congestion control, the address is malformed, or has no ports after it.
    """
    if not control:
        return address
    if control not in schemes.CONGESTION_CONTROLS:
        raise ConfigurationError(
            f"'{control}' is no congestion control: choose from {', '.join(schemes.CONGESTION_CONTROLS)}"
        )
    host, port = parse_address(address)
    found = format_address((host, port + 1 + schemes.CONGESTION_CONTROLS.index(control)))
    parse_address(found)
    return found


def _available() -> str:
    return ", ".join(_AVAILABLE.read_text(encoding="ascii").split())
