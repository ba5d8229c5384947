"""Datagrams as the binary messages of a WebSocket (RFC 6455), towards an origin relay.

Rules of this file
- A transport is what asyncio's drivers take a UDP socket for: what is given to it may be lost, and is so rather than kept in
  a queue without a bound.
- The connection is opened when something is to be sent and there is none. So an edge that has nothing to ask holds none for
  long, and one whose connection was cut goes on over another; to the sealed server that is a client that has moved.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable

import aiohttp
from aiohttp import web
from yarl import URL

from eloquent import schemes
from eloquent.drivers.udp import UdpClient
from eloquent.protocol.datagram import MAX_DATAGRAM
from eloquent.protocol.session import ClientEvent, Tally
from eloquent.relay.sealed.client import SealedClient

MAX_MESSAGE = 2 * MAX_DATAGRAM  # bytes, from which the other side is none of ours
MAX_WAITING = 64 * 1024  # bytes that may wait for a slow connection; what comes then is dropped
CONNECT_TIMEOUT = 10.0  # seconds
RECONNECT_PAUSE = 1.0  # seconds after a connection that failed or was cut, before the next
HEARTBEAT = 10.0  # seconds between two signs of life that are asked of a connection; half of it later it counts as dead
_PEER = ("", 0)  # a client has one

_log = logging.getLogger(__name__)

Socket = aiohttp.ClientWebSocketResponse | web.WebSocketResponse


class DatagramQueue:
    """Datagrams that wait for a WebSocket to take them.

    Args:
        buffered: Tells how many bytes wait beyond it.
    """

    def __init__(self, buffered: Callable[[], int] = lambda: 0) -> None:
        self._buffered = buffered
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._news = asyncio.Event()

    @property
    def size(self) -> int:
        """Bytes that wait, here and beyond."""
        return self._size + self._buffered()

    def put(self, data: bytes) -> None:
        """Add a datagram, or drop it if too much waits."""
        if self.size <= MAX_WAITING:
            self._waiting.append(bytes(data))
            self._size += len(data)
            self._news.set()

    async def send_by(self, socket: Socket) -> None:
        """Send what waits and what comes, for ever; a connection that is cut ends it."""
        while True:
            await self._news.wait()
            await self.flush(socket)
            self._news.clear()

    async def flush(self, socket: Socket) -> None:
        """Send what waits.

        Raises:
            ConnectionError: The connection is cut.
        """
        while self._waiting:
            data = self._waiting.popleft()
            self._size -= len(data)
            await socket.send_bytes(data)

    def clear(self) -> None:
        """Drop what waits."""
        self._waiting.clear()
        self._size = 0


class WebSocketTransport(asyncio.DatagramTransport):
    """The client's side.

    Args:
        url: Of the origin relay, or of what stands before it: ws or wss.
        protocol: Is told what comes.

    Attributes:
        opened_at: Seconds of the loop's clock; when the last connection was opened; None if none was.
        failure: What the last connection failed with; None if none did.
    """

    def __init__(self, url: str, protocol: asyncio.DatagramProtocol) -> None:
        super().__init__()
        self.opened_at: float | None = None
        self.failure: Exception | None = None
        # The library looks for the proxies of ws and wss in variables of their own, and nobody sets those.
        self._url = URL("http" + url.removeprefix("ws"))
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._queue = DatagramQueue()
        self._connection: asyncio.Task[None] | None = None
        self._not_before = 0.0  # seconds; when the next connection may be opened
        self._closing = asyncio.Event()
        protocol.connection_made(self)

    def sendto(self, data: bytes | bytearray | memoryview, addr: object = None) -> None:  # noqa: ARG002 - there is one
        """Send a datagram, or drop it if there is no connection and none may be opened yet."""
        if self._connection is None:
            if self._closing.is_set() or self._loop.time() < self._not_before:
                return
            self._connection = self._loop.create_task(self._carry())
        self._queue.put(bytes(data))

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait."""
        return self._queue.size

    def is_closing(self) -> bool:
        """Return whether the transport was closed."""
        return self._closing.is_set()

    def close(self) -> None:
        """Close the connection when what waits was sent."""
        self._closing.set()

    def abort(self) -> None:
        """Close the connection at once."""
        self._closing.set()
        if self._connection is not None:
            self._connection.cancel()

    async def wait_closed(self) -> None:
        """Wait until there is no connection any more."""
        if self._connection is not None:
            await asyncio.wait([self._connection])

    async def _carry(self) -> None:
        """Open a connection and carry datagrams both ways until it is cut, or the transport is closed."""
        try:
            async with (
                aiohttp.ClientSession(trust_env=True, cookie_jar=aiohttp.DummyCookieJar()) as session,
                asyncio.timeout(CONNECT_TIMEOUT) as limit,
                session.ws_connect(self._url, max_msg_size=MAX_MESSAGE, heartbeat=HEARTBEAT) as socket,
            ):
                limit.reschedule(None)
                self.opened_at = self._loop.time()
                await self._carry_over(socket)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.failure = error
            _log.debug("= no connection to %s: %s", self._url, error)
        finally:
            self._queue.clear()
            self._connection = None
            self._not_before = self._loop.time() + RECONNECT_PAUSE

    async def _carry_over(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        receiving = self._loop.create_task(self._receive(socket))
        sending = self._loop.create_task(self._queue.send_by(socket))
        closing = self._loop.create_task(self._closing.wait())
        tasks = (receiving, sending, closing)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._closing.is_set():
            await self._queue.flush(socket)

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                self._protocol.datagram_received(message.data, _PEER)


def connect(
    url: str,
    on_event: Callable[[ClientEvent], None],
    *,
    key: bytes,
    tally: Tally | None = None,
) -> UdpClient:
    """Make a client of a sealed server behind a WebSocket; nothing is sent yet.

    Args:
        url: Of the server, ws or wss.
        on_event: Called with each event, in the loop's thread.
        key: 32 bytes, shared with the server.
        tally: Where the sessions' datagrams are counted.
    """
    client = UdpClient(SealedClient(schemes.get, key=key, draw=secrets.token_bytes, tally=tally), on_event)
    WebSocketTransport(url, client)
    return client
