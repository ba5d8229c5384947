"""Inbound forwards: ports of the machine's 127.0.0.1 that lead to services in the lab.

Inside, a service listens on the loopback of the lab's own namespace. Outside, a socket is opened on the machine's 127.0.0.1 before
the lab exists, and handed in; the lab forwards each connection. Nothing of the machine's network is changed, and the
forwards end with the lab.
"""

import asyncio
import contextlib
import functools
import os
import socket
import struct
from dataclasses import dataclass

from eloquent.addresses import reason_of
from eloquent.errors import ConfigurationError

LISTEN_ADDRESS = os.environ.get("ELOQUENT_LISTEN", "127.0.0.1")
"""Where the forwards listen; only a container, whose own network nobody else shares, sets another address."""
CHUNK = 65536
_TRIES = 20  # for a port that is free for TCP and UDP: each fails where another's UDP socket happens to have its number


@dataclass(frozen=True, slots=True)
class InboundForward:
    """One service of the lab that its user reaches.

    Attributes:
        name: What it is called in messages and events.
        option: Which variable of `make up` names its port outside.
        inner_port: Where it listens on the lab's own loopback.
    """

    name: str
    option: str
    inner_port: int

    def listen_outside(self, port: int) -> socket.socket:
        """Listen outside, where the user connects to.

        Args:
            port: The port; 0 takes a free one.

        Raises:
            ConfigurationError: The port is in use.
        """
        outside = socket.socket()
        outside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            outside.bind((LISTEN_ADDRESS, port))
        except OSError as error:
            outside.close()
            raise self._refusal(f"port {port}", error, port + 1) from None
        outside.listen()
        return outside

    def listen_for_datagrams(self, port: int) -> tuple[socket.socket, socket.socket]:
        """Listen outside, and at the port of the same number for datagrams, as servers of HTTP/3 do.

        Args:
            port: The port; 0 takes a free one.

        Returns:
            The socket for connections, and that for datagrams.

        Raises:
            ConfigurationError: The port is in use, for TCP or for UDP.
        """
        for _ in range(_TRIES if port == 0 else 1):
            outside = self.listen_outside(port)
            number = outside.getsockname()[1]
            datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                datagrams.bind((LISTEN_ADDRESS, number))
            except OSError as error:
                outside.close()
                datagrams.close()
                refusal = self._refusal(f"UDP port {number}", error, number + 1)
            else:
                return outside, datagrams
        raise refusal

    def _refusal(self, what: str, error: OSError, another: int) -> ConfigurationError:
        return ConfigurationError(
            f"{what} of {LISTEN_ADDRESS} cannot be used for {self.name} ({reason_of(error)}):"
            f" choose another, as in {self.option}={another}"
        )

    async def serve(self, outside: socket.socket) -> asyncio.Server:
        """Forward each connection to the service; called inside the lab.

        Args:
            outside: What `listen_outside` gave.
        """
        connected = functools.partial(forward, host="127.0.0.1", port=self.inner_port)
        return await asyncio.start_server(connected, sock=outside)


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, host: str, port: int) -> None:
    """Forward one connection to a service, until both sides have ended, or one of them is reset, which resets the other.

    Args:
        reader: What comes from the caller.
        writer: What goes to the caller; closed at the end.
        host: Where the service is.
        port: Its port.
    """
    with contextlib.closing(writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:
            return  # the service is not up yet, or gone: the caller sees its connection closed
        with contextlib.closing(far_writer):
            try:
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(_copy(reader, far_writer))
                    ways.create_task(_copy(far_reader, writer))
            except* OSError:
                for end in (writer, far_writer):
                    _reset(end)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, no faster than it is taken, and then the end of it.

    Raises:
        OSError: A side is reset.
    """
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection at once, so that its far end sees a reset too, and not an end in good order."""
    connection: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


PROMETHEUS = InboundForward("Prometheus", "PROMETHEUS_PORT", 9090)
BOARD = InboundForward("the board", "BOARD_PORT", 8080)
LOCUST = InboundForward("Locust", "LOCUST_PORT", 8089)
METRICS = InboundForward("the metrics", "METRICS_PORT", 9091)
"""For a Prometheus that is not in the lab (watch/metrics_gate.py)."""
INBOUND_FORWARDS = (PROMETHEUS, BOARD, LOCUST, METRICS)
