"""Sockets in the networks of hosts: one stays in the network in which it was made, wherever its process goes on."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from pyroute2.netns import setns

from eloquent.addresses import Address, family_of

HERE = Path("/proc/thread-self/ns/net")


@contextlib.contextmanager
def inside(network: Path | None) -> Iterator[None]:
    """Let this thread be in a network for a moment, without waiting for anything meanwhile.

    Args:
        network: The file of its namespace, such as `/proc/PID/ns/net`; None for the thread's own.
    """
    if network is None:
        yield
        return
    with HERE.open("rb") as ours, network.open("rb") as theirs:
        setns(theirs.fileno())
        try:
            yield
        finally:
            setns(ours.fileno())


def make_socket(host: str, kind: socket.SocketKind, network: Path | None) -> socket.socket:
    """Make a socket in a network, which does not wait for anything.

    Args:
        host: An address of the family that it is for, not a name.
        kind: Of the socket.
        network: The file of the namespace that it belongs to; None for this thread's own.
    """
    with inside(network):
        made = socket.socket(family_of(host), kind)
    made.settimeout(0)
    return made


async def connect(address: Address, network: Path | None) -> socket.socket:
    """Connect over TCP from a network.

    Args:
        address: Where to; a host with an address, not a name.
        network: The file of the namespace that the connection leaves from; None for this thread's own.

    Raises:
        OSError: Nobody answers.
    """
    connection = make_socket(address[0], socket.SOCK_STREAM, network)
    try:
        await asyncio.get_running_loop().sock_connect(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_datagrams(address: Address, network: Path | None) -> socket.socket:
    """Open a UDP socket towards an address from a network.

    Args:
        address: Where datagrams go; a host with an address, not a name.
        network: The file of the namespace that they leave from; None for this thread's own.

    Raises:
        OSError: There is no way to that address.
    """
    datagrams = make_socket(address[0], socket.SOCK_DGRAM, network)
    try:
        datagrams.connect(address)
    except BaseException:
        datagrams.close()
        raise
    return datagrams
