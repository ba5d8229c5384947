"""Let edges in over TCP: each WebSocket is one more client of the sealed server, with an address of its own.

Rules of this file
- A stranger costs one connection for some seconds. Who has the key shows it by what the server says to him: an acceptance, or
  a datagram of an association. Until then a connection has `STRANGER_TIME` and `STRANGER_MESSAGES`, and afterwards as long
  as an association of which nothing comes.
- Connections are counted from when they are accepted, before TLS and HTTP: in all, and of one IPv4 address or IPv6 /64.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from aiohttp import web

from eloquent import telemetry
from eloquent.drivers.udp import UdpServer
from eloquent.protocol.server_endpoint import source_of
from eloquent.relay.carriers.websocket import MAX_MESSAGE, DatagramQueue
from eloquent.relay.sealed.limits import SealLimits
from eloquent.relay.sealed.packets import ACCEPT, SERVER_SEALED

STRANGER_TIME = 10.0  # seconds
STRANGER_MESSAGES = 16
SILENCE = SealLimits().silence  # seconds without a word to who has the key
MAX_UNSENT = 16 * 1024  # bytes that the kernel takes of a connection beyond what is on its way
_PAUSE = 0.5  # seconds after the system could not accept a connection
_TO_FRIENDS = frozenset({ACCEPT, SERVER_SEALED})  # kinds that nobody without the key is ever told

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of the connections at once. Many systems let a process have 1024 files open, and the model needs some.

    Attributes:
        connections: In all.
        connections_per_source: Of one IPv4 address, or one IPv6 network of 64 bits.
    """

    connections: int = 512
    connections_per_source: int = 64


class WebSocketListener:
    """Listens for edges on TCP.

    Args:
        server: The sealed server, which also has a UDP socket.
        metrics: What is counted.
        limits: The bounds.
    """

    def __init__(
        self, server: UdpServer, metrics: telemetry.ListenerMetrics, *, limits: ConnectionLimits | None = None
    ) -> None:
        self._server = server
        self._metrics = metrics
        self._limits = ConnectionLimits() if limits is None else limits
        self._loop = asyncio.get_running_loop()
        self._http = _HttpServer(self)
        self._connections: dict[web.RequestHandler, _Connection] = {}
        self._sources: Counter[str] = Counter()  # connections, by source
        self._accepting: asyncio.Task[None] | None = None
        self._opening: set[asyncio.Task[None]] = set()

    def open(self, listener: socket.socket, *, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections.

        Args:
            listener: A socket that listens.
            tls: To be spoken with edges; None for none, or where a proxy before this relay speaks it.
        """
        listener.settimeout(0.0)  # as the loop wants it
        self._accepting = self._loop.create_task(self._accept(listener, tls))

    async def close(self) -> None:
        """Close all connections and the socket."""
        tasks = [task for task in (self._accepting, *self._opening) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.shutdown(0.0)

    async def _accept(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        with listener:
            while True:
                try:
                    accepted, peer = await self._loop.sock_accept(listener)
                except OSError as error:  # too many files are open, or who connected is gone
                    _log.warning("a connection cannot be accepted: %s", error)
                    await asyncio.sleep(_PAUSE)
                    continue
                if (reason := self._obstacle(source := source_of(peer))) is not None:
                    self._metrics.refused_connections.labels(reason).inc()
                    accepted.close()
                    continue
                handler = self._http()
                self._connections[handler] = _Connection(source)
                self._sources[source] += 1
                self._metrics.connections.set(len(self._connections))
                task = self._loop.create_task(self._open(accepted, handler, tls))
                self._opening.add(task)
                task.add_done_callback(self._opening.discard)

    def _obstacle(self, source: str) -> str | None:
        """Return why no more connections are taken from a source, or None."""
        if len(self._connections) >= self._limits.connections:
            return "full"
        return "source" if self._sources[source] >= self._limits.connections_per_source else None

    async def _open(self, accepted: socket.socket, handler: web.RequestHandler, tls: ssl.SSLContext | None) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT)
        limit = None if tls is None else STRANGER_TIME
        try:
            await self._loop.connect_accepted_socket(lambda: handler, accepted, ssl=tls, ssl_handshake_timeout=limit)
        except OSError as error:
            _log.debug("< no connection: %s", error)
            self.lost(handler)

    def made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Give a stranger his time, from when HTTP may be spoken."""
        self._connections[handler].begin(transport)

    def lost(self, handler: web.RequestHandler) -> None:
        """Forget a connection."""
        if (connection := self._connections.pop(handler, None)) is not None:
            connection.end()
            self._sources -= Counter((connection.source,))
            self._metrics.connections.set(len(self._connections))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Carry the datagrams of one connection until it is cut."""
        websocket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE, compress=False)
        connection = self._connections.get(request.protocol)
        if connection is None or not websocket.can_prepare(request):
            return web.Response(status=HTTPStatus.UPGRADE_REQUIRED, headers={"upgrade": "websocket"})
        await websocket.prepare(request)
        address = self._server.attach(connection.source, connection)
        sending = self._loop.create_task(connection.queue.send_by(websocket))
        try:
            async for message in websocket:
                if message.type is not aiohttp.WSMsgType.BINARY or not connection.may_speak():
                    break
                self._server.datagram_received(message.data, address)
        finally:
            self._server.detach(address)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            with suppress(ConnectionError):
                await connection.queue.flush(websocket)  # a farewell
        return websocket


class _Connection(asyncio.DatagramTransport):
    """The way to one client, who is a stranger at first.

    Args:
        source: Where it comes from.

    Attributes:
        source: The same.
        queue: What waits to be sent.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.queue = DatagramQueue()
        self._loop = asyncio.get_running_loop()
        self._is_stranger = True
        self._messages = 0  # that came
        self._until = 0.0  # seconds; when it is closed
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def begin(self, transport: asyncio.Transport) -> None:
        """Take the stream."""
        self._transport = transport
        self.queue = DatagramQueue(transport.get_write_buffer_size)
        self._until = self._loop.time() + STRANGER_TIME
        self._check()

    def end(self) -> None:
        """Close it, if it is not closed yet."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    def may_speak(self) -> bool:
        """Return whether one more message is taken, and count it."""
        self._messages += 1
        return not self._is_stranger or self._messages <= STRANGER_MESSAGES

    def sendto(self, data: bytes | bytearray | memoryview, addr: object = None) -> None:  # noqa: ARG002 - there is one
        """Send a datagram, or drop it if too much waits."""
        if data[0] in _TO_FRIENDS:
            self._is_stranger = False
            self._until = self._loop.time() + SILENCE
        self.queue.put(bytes(data))

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait."""
        return self.queue.size

    def _check(self) -> None:
        if self._loop.time() >= self._until:
            self.end()
        else:
            self._timer = self._loop.call_at(self._until, self._check)


class _HttpServer(web.Server):
    """Tells when a connection comes and goes.

    Args:
        owner: Is told.
    """

    def __init__(self, owner: WebSocketListener) -> None:
        super().__init__(owner.handle, handler_cancellation=True, access_log=None)
        self._owner = owner

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection."""
        super().connection_made(handler, transport)
        self._owner.made(handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Lose one."""
        super().connection_lost(handler, exc)
        self._owner.lost(handler)
