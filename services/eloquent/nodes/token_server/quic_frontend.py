"""HTTP/3 at the token server: the application of its HTTP frontend (ASGI), served by aioquic as it is.

Rules of this file: each message of a response is sent at once. Who asks for it in a header (`DATAGRAMS_KEY`) gets the body of a
successful response in HTTP datagrams that a scheme of ours makes, and its stream ends when he has acknowledged all. A client
that leaves, or stops reading, ends its answer's production; a response that is not whole resets its stream.
"""

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Iterable, MutableMapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DatagramReceived, DataReceived, H3Event, HeadersReceived
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StopSendingReceived, StreamReset
from starlette.types import ASGIApp

from eloquent import schemes
from eloquent.addresses import listen_on
from eloquent.errors import ConfigurationError
from eloquent.http3.datagram_body import SentBody
from eloquent.http3.settings import (
    DATAGRAMS_KEY,
    INTERNAL_ERROR,
    NO_ERROR,
    REQUEST_CANCELLED,
    server_configuration,
)
from eloquent.nodes.common.stream_record import Spent
from eloquent.nodes.token_server.http_connection import ABORT, ACCOUNT
from eloquent.nodes.token_server.quic_account import PacketLogger, PacketTrace
from eloquent.protocol.scheme import Scheme
from eloquent.relay.quic.certificate import derive_identity, make_certificate

_MAX_UNREAD = 1_000_000  # bytes of a request that nobody has taken
_MAX_UNACKNOWLEDGED = 1_000_000  # bytes of a stream on their way, until the answer has to wait
_OK = 200
_POLL = 0.05  # seconds between two looks at connections that have to settle

_logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]


class _Gone(ConnectionError):
    """The client has left."""


class _Exchange:
    """A request and its answer.

    Args:
        connection: Which it is on.
        stream: Its number.
        headers: The request's.
    """

    def __init__(self, connection: "Http3Connection", stream: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._connection = connection
        self._stream = stream
        self._unread = bytearray()
        self._has_all = False  # of the request
        self._was_told_all = False
        self._came = asyncio.Event()  # something of the request, or the client has left
        self._pseudo = {name: value for name, value in headers if name.startswith(b":")}
        self._headers = [(name, value) for name, value in headers if not name.startswith(b":")]
        self._body: SentBody | None = None
        self._has_left = False
        self._was_aborted = False

    async def run(self, app: ASGIApp) -> None:
        """Have the request answered."""
        is_whole = False
        try:
            await app(self._scope(), self._receive, self._send)
            is_whole = not self._was_aborted
        except ConnectionError:
            pass  # the client has left
        except Exception:  # the other requests go on; its traceback is logged
            _logger.exception("a request over HTTP/3 failed")
        finally:
            if self._body is not None:
                self._body.close()
            if not is_whole:
                self._connection.reset(self._stream, INTERNAL_ERROR)
            if not self._has_all:
                self._connection.stop(self._stream)

    def feed(self, data: bytes, *, is_last: bool) -> None:
        """Take a piece of the request."""
        self._unread += data
        self._has_all |= is_last
        self._came.set()
        if len(self._unread) > _MAX_UNREAD:  # its reader has better things to do
            self._connection.reset(self._stream, REQUEST_CANCELLED)
            self.leave()

    def receive_datagram(self, data: bytes) -> None:
        """Take an HTTP datagram."""
        if self._body is not None:
            self._body.receive(data)

    def leave(self) -> None:
        """Take it that the client has left."""
        self._has_left = True
        self._came.set()
        if self._body is not None:
            self._body.close()

    def _scope(self) -> Message:
        path, _, query = self._pseudo.get(b":path", b"").partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "3",
            "method": self._pseudo[b":method"].decode("ascii", "replace"),
            "scheme": "https",
            "path": path.decode("utf-8", "replace"),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [(b"host", self._pseudo.get(b":authority", b"")), *self._headers],
            "client": self._connection.peer,
            "server": self._connection.local,
            "state": {ABORT: self._abort, ACCOUNT: self._account},
        }

    async def _receive(self) -> Message:
        while not self._has_left:
            if self._unread or (self._has_all and not self._was_told_all):
                data = bytes(self._unread)
                self._unread.clear()
                self._was_told_all = self._has_all
                return {"type": "http.request", "body": data, "more_body": not self._has_all}
            self._came.clear()
            await self._came.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._has_left:
            raise _Gone("the client has left")
        if message["type"] == "http.response.start":
            self._start(message["status"], list(message["headers"]))
            return
        data, is_last = message.get("body", b""), not message.get("more_body", False)
        if self._body is None:
            await self._connection.make_room(self._stream)
            if self._has_left:
                raise _Gone("the client has left")
            self._connection.write(self._stream, data, is_last=is_last)
            return
        if data:
            await self._body.write(data)
        if is_last:
            await self._body.finish()
            self._connection.write(self._stream, b"", is_last=True)

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        scheme = self._wanted_datagrams() if status == _OK else None
        if scheme is not None:
            headers = [*headers, (DATAGRAMS_KEY.encode(), scheme.name.encode())]
            self._body = SentBody(scheme, partial(self._connection.send_datagram, self._stream))
        self._connection.start(self._stream, [(b":status", str(status).encode()), *headers])

    def _wanted_datagrams(self) -> Scheme | None:
        name = dict(self._headers).get(DATAGRAMS_KEY.encode())
        if name is None:
            return None
        try:
            scheme = schemes.get(name.decode("ascii", "replace"))
        except ConfigurationError:
            return None
        return scheme if scheme.kind == "datagram" else None

    def _account(self, on_spent: Callable[[Spent], None], on_unaccounted: Callable[[str], None]) -> None:
        def on_settled(spent: Spent) -> None:
            if self._body is not None:  # the stream had the head and the end alone
                carried = self._body.account
                spent = replace(spent, original_bytes=carried.original_bytes, redundant_bytes=carried.redundant_bytes)
            on_spent(spent)

        self._connection.trace.begin(self._stream, on_settled, on_unaccounted)

    def _abort(self) -> None:
        self._was_aborted = True


class Http3Connection(QuicConnectionProtocol):
    """A server's connection.

    Args:
        app: Answers the requests.
        logger: Has just made this connection's log.
        aioquic: What aioquic gives each connection.
    """

    def __init__(self, *aioquic: Any, app: ASGIApp, logger: PacketLogger, **named: Any) -> None:
        super().__init__(*aioquic, **named)
        self._app = app
        self._http = H3Connection(self._quic, enable_webtransport=True)  # which is how aioquic announces HTTP datagrams
        self.trace: PacketTrace = logger.latest
        self._exchanges: dict[int, _Exchange] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._progress = asyncio.Event()  # something came, such as an acknowledgement

    @property
    def peer(self) -> tuple[str, int]:
        """The client's address."""
        address = self._quic.get_peer_address()
        assert address is not None, "it has sent something"
        return address[0], address[1]

    @property
    def local(self) -> tuple[str, int]:
        """Ours."""
        assert self._transport is not None
        host, port, *_ = self._transport.get_extra_info("sockname")
        return host, port

    def start(self, stream: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the beginning of a response."""
        self._http.send_headers(stream, headers)
        self._transmit_soon()

    def write(self, stream: int, data: bytes, *, is_last: bool) -> None:
        """Send a piece of a response."""
        if data or is_last:
            self._http.send_data(stream, data, end_stream=is_last)
            self._transmit_soon()

    async def make_room(self, stream: int) -> None:
        """Wait while too much of a response is on its way, or until there is no answer any more."""
        while self.trace.unacknowledged(stream) > _MAX_UNACKNOWLEDGED:
            self._progress.clear()
            await self._progress.wait()

    def send_datagram(self, stream: int, data: bytes) -> None:
        """Send an HTTP datagram."""
        self._http.send_datagram(stream, data)
        self._transmit_soon()

    def reset(self, stream: int, code: int) -> None:
        """Break a response off."""
        self.trace.abandon(stream)
        self._quic.reset_stream(stream, code)
        self._transmit_soon()

    def stop(self, stream: int) -> None:
        """Ask for no more of a request."""
        self._quic.stop_stream(stream, NO_ERROR)
        self._transmit_soon()

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        """Take a packet."""
        super().datagram_received(data, addr)
        self.trace.look()
        self._progress.set()

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take what aioquic tells."""
        if isinstance(event, ConnectionTerminated):
            for exchange in self._exchanges.values():
                exchange.leave()
            self._progress.set()
        elif isinstance(event, (StopSendingReceived, StreamReset)) and event.stream_id in self._exchanges:
            self.trace.abandon(event.stream_id)
            self._exchanges[event.stream_id].leave()
        for one in self._http.handle_event(event):
            self._take(one)

    def _take(self, event: H3Event) -> None:
        match event:
            case HeadersReceived(stream_id=stream) if stream not in self._exchanges:
                self._begin(stream, event.headers)
            case DatagramReceived(stream_id=stream) if stream in self._exchanges:
                self._exchanges[stream].receive_datagram(event.data)
        if isinstance(event, (HeadersReceived, DataReceived)) and event.stream_id in self._exchanges:
            data = event.data if isinstance(event, DataReceived) else b""
            if data or event.stream_ended:
                self._exchanges[event.stream_id].feed(data, is_last=event.stream_ended)

    def _begin(self, stream: int, headers: list[tuple[bytes, bytes]]) -> None:
        exchange = self._exchanges[stream] = _Exchange(self, stream, headers)
        task = asyncio.create_task(exchange.run(self._app))
        self._tasks.add(task)

        def end(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            del self._exchanges[stream]

        task.add_done_callback(end)


class QuicFrontend:
    """Serves an ASGI application over HTTP/3.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._servers: list[tuple[QuicServer, PacketLogger]] = []

    async def open(self, address: str, *, congestion_control: str) -> int:
        """Listen, at one more address if it does already.

        Args:
            address: HOST:PORT over UDP; port 0 takes a free one.
            congestion_control: One of `http3.settings.CONTROLS`.

        Returns:
            The port.

        Raises:
            ConfigurationError: The address is malformed or cannot be bound.
        """
        listener = listen_on(address, socket.SOCK_DGRAM)
        configuration = server_configuration(congestion_control)
        own = make_certificate(derive_identity(secrets.token_bytes(32)), now=datetime.now(UTC))
        configuration.certificate, configuration.private_key = own.certificate, own.private_key
        logger = configuration.quic_logger = PacketLogger()
        _, server = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: QuicServer(
                configuration=configuration, create_protocol=partial(Http3Connection, app=self._app, logger=logger)
            ),
            sock=listener,
        )
        self._servers.append((server, logger))
        return int(listener.getsockname()[1])

    async def close(self, grace: float) -> None:
        """Wait until what was sent is acknowledged, at most so many seconds, and end all connections."""
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while not all(trace.is_settled for _, logger in self._servers for trace in logger.open):  # noqa: ASYNC110
                    await asyncio.sleep(_POLL)  # acknowledgements set no event
        for server, _ in self._servers:
            server.close()
