"""Asks over HTTP/3: one connection, made when it is first needed and again when it has ended; many requests at once on it.

Rules of this file: nothing retries. A request that its caller leaves is cancelled at the server. Whatever becomes of the connection
is a `ConnectionError` for each request on it.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DatagramReceived, DataReceived, H3Event, HeadersReceived
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamReset

from eloquent import networks
from eloquent.addresses import Address, parse_address
from eloquent.http3.datagram_body import ReceivedBody
from eloquent.http3.settings import DATAGRAMS_KEY, REQUEST_CANCELLED, Headers, client_configuration
from eloquent.protocol.scheme import Scheme

OK = 200
_FAREWELL_TIME = 1.0  # seconds for the last acknowledgements before a connection is closed


@dataclass(slots=True)
class _Request:
    """A request that is being answered.

    Attributes:
        came: What came of it and was not taken yet: a status, a piece of the body, None for its end, or an error.
        body: Where its HTTP datagrams go.
        is_whole: Whether these have brought all; the server, which ends the stream when it knows, may not know yet.
    """

    came: asyncio.Queue[int | bytes | ConnectionError | None] = field(default_factory=asyncio.Queue)
    body: ReceivedBody | None = None
    is_whole: bool = False


class _Connection(QuicConnectionProtocol):
    """A client's connection."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._http = H3Connection(self._quic, enable_webtransport=True)  # which is how aioquic announces HTTP datagrams
        self._requests: dict[int, _Request] = {}
        self.is_open = True

    async def ask(self, head: Headers, content: bytes, scheme: Scheme | None) -> AsyncGenerator[int | bytes, None]:
        """Ask, and yield the status and the pieces of the body; with datagrams some of it may come before the status.

        Args:
            head: The request's, with its pseudo-headers (RFC 9114, 4.3.1) before all others.
            content: Its body.
            scheme: See `Http3Client.ask`.
        """
        stream = self._quic.get_next_available_stream_id()
        request = self._requests[stream] = _Request()
        if scheme is not None:
            head = {**head, DATAGRAMS_KEY: scheme.name}
            request.body = self._make_body(scheme, stream, request)
        fields = [(name.encode(), value.encode()) for name, value in head.items()]
        try:
            self._http.send_headers(stream, fields, end_stream=not content)
            if content:
                self._http.send_data(stream, content, end_stream=True)
            self.transmit()
            while (came := await request.came.get()) is not None:
                if isinstance(came, ConnectionError):
                    raise came
                yield came
        finally:
            if not request.is_whole and stream in self._requests:
                self._forget(stream)
                if self.is_open:
                    self._quic.reset_stream(stream, REQUEST_CANCELLED)
                    self._quic.stop_stream(stream, REQUEST_CANCELLED)
                    self.transmit()

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take what aioquic tells."""
        if isinstance(event, ConnectionTerminated):
            self.is_open = False
            for stream in list(self._requests):
                self._forget(stream).put_nowait(
                    ConnectionError(f"the connection ended: {event.reason_phrase or 'without a reason'}")
                )
        elif isinstance(event, StreamReset) and event.stream_id in self._requests:
            self._forget(event.stream_id).put_nowait(ConnectionError("the server broke the answer off"))
        for one in self._http.handle_event(event):
            self._take(one)

    def _take(self, event: H3Event) -> None:
        if not isinstance(event, (HeadersReceived, DataReceived, DatagramReceived)):
            return
        request = self._requests.get(event.stream_id)
        if request is None:
            return
        match event:
            case DatagramReceived():
                if request.body is not None:
                    request.body.receive(event.data)
                return
            case HeadersReceived():
                fields = dict(event.headers)
                if request.body is not None and DATAGRAMS_KEY.encode() not in fields:
                    request.body.close()
                    request.body = None
                request.came.put_nowait(int(fields[b":status"]))
            case DataReceived(data=data) if data:
                request.came.put_nowait(data)
        if event.stream_ended:
            self._forget(event.stream_id)
            if request.body is None:
                request.came.put_nowait(None)
            elif not request.is_whole:
                request.came.put_nowait(ConnectionError("the server ended the answer before all of it had come"))

    def _forget(self, stream: int) -> "asyncio.Queue[int | bytes | ConnectionError | None]":
        """Let go of a request whose stream has ended, and return where its reader waits, if he still does."""
        request = self._requests.pop(stream)
        if request.body is not None:
            request.body.close()
        return request.came

    def _make_body(self, scheme: Scheme, stream: int, request: _Request) -> ReceivedBody:
        def send(data: bytes) -> None:
            self._http.send_datagram(stream, data)
            self._transmit_soon()

        def end(reason: str) -> None:
            request.is_whole = not reason
            request.came.put_nowait(ConnectionError(reason) if reason else None)

        return ReceivedBody(scheme, send, request.came.put_nowait, end)


class Http3Client:
    """Asks one server.

    Args:
        target: `HOST:PORT`, over QUIC.
        network: The file of the network that the connection leaves from; None for the process's own.

    Raises:
        ConfigurationError: The address is malformed.
    """

    def __init__(self, target: str, network: Path | None = None) -> None:
        self._target = target
        self._network = network
        self._address = parse_address(target)
        self._connection: _Connection | None = None
        self._transport: asyncio.BaseTransport | None = None
        self._connecting = asyncio.Lock()

    async def connect(self) -> None:
        """Connect, unless there is a connection.

        Raises:
            ConnectionError: The server is not there.
        """
        await self._connected()

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        path: str,
        *,
        content: bytes = b"",
        headers: Headers | None = None,
        scheme: Scheme | None = None,
    ) -> AsyncIterator[AsyncIterator[int | bytes]]:
        """Ask, and give what comes: the status once, and the body piece by piece.

        Args:
            method: `GET`, `POST`.
            path: With its query.
            content: The request's body.
            headers: The request's.
            scheme: Whose packets in HTTP datagrams are to carry the body, pieces of which may then come before the status; None for
                the QUIC stream.

        Raises:
            ConnectionError: The connection ended, or the server broke the answer off.
        """
        connection = await self._connected()
        head = {":method": method, ":scheme": "https", ":authority": self._target, ":path": path, **(headers or {})}
        async with aclosing(connection.ask(head, content, scheme)) as answer:
            yield answer

    async def close(self) -> None:
        """Close the connection, once the server knows what has come: it could not account that after."""
        if self._connection is not None and self._connection.is_open:
            with suppress(TimeoutError, ConnectionError):
                await asyncio.wait_for(self._connection.ping(), _FAREWELL_TIME)
            self._connection.close()
        if self._transport is not None:
            self._transport.close()

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or not self._connection.is_open:
                if self._transport is not None:
                    self._transport.close()
                self._transport, self._connection = await _connect(self._address, self._network)
            return self._connection


async def _connect(address: Address, network: Path | None) -> tuple[asyncio.BaseTransport, _Connection]:
    loop = asyncio.get_running_loop()
    # aioquic names its peer by the address that datagrams come from, so a name has to be resolved first.
    [(_, _, _, _, (host, port, *_)), *_] = await loop.getaddrinfo(*address, type=socket.SOCK_DGRAM)
    peer = str(host), int(port)
    datagrams = networks.make_socket(
        peer[0], socket.SOCK_DGRAM, network
    )  # not connected: aioquic always names its peer
    configuration = client_configuration()
    configuration.server_name = address[0]
    transport, connection = await loop.create_datagram_endpoint(
        lambda: _Connection(QuicConnection(configuration=configuration)), sock=datagrams
    )
    try:
        connection.connect(peer)
        await connection.wait_connected()
    except BaseException:
        transport.close()
        raise
    return transport, connection
