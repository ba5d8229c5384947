"""A gRPC server on sockets that listen already: a task a call, and none a message.

Rules of this file
- A handler gets a call, reads its requests, writes answers and returns; what it raises is the status of the call.
- A client that leaves, or whose deadline passes, has its handler cancelled.
- What is not understood is refused with a status: methods that nobody offers, messages that are compressed or too long.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NoReturn

import grpc
from h2.errors import ErrorCodes
from h2.events import Event, RequestReceived

from eloquent.addresses import BACKLOG
from eloquent.rpc.headers import CONTENT_TYPE, decode_timeout, metadata_pairs, status_headers
from eloquent.rpc.http2 import Http2Connection, MessageStream

MAX_REQUEST = 4 << 20  # bytes of a message (gRPC's own default)
_USER_TIMEOUT = 120_000  # ms without an acknowledgement after which the kernel gives a connection up (tcp(7))
_ANSWER = [(b":status", b"200"), (b"content-type", CONTENT_TYPE), (b"grpc-accept-encoding", b"identity")]

_log = logging.getLogger(__name__)


class Ended(Exception):
    """What a handler ends its call with.

    Args:
        code: The status.
        details: For the client.
    """

    def __init__(self, code: grpc.StatusCode, details: str = "") -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


class Call(MessageStream):
    """A call, as its handler sees it.

    Attributes:
        metadata: The client's text metadata.
    """

    def __init__(self, connection: "ServerConnection", event: RequestReceived) -> None:
        super().__init__(connection, event.stream_id, max_message=MAX_REQUEST)
        headers = dict(event.headers)
        self.metadata = metadata_pairs(event.headers)
        self._loop = asyncio.get_running_loop()
        timeout = decode_timeout(headers.get(b"grpc-timeout", b""))
        self._deadline = None if timeout is None else self._loop.time() + timeout
        self._requests: deque[bytes] = deque()
        self._news = asyncio.Event()  # something came, or there is room
        self._is_whole = False
        self._has_begun = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._owner = connection

    # --- what a handler does

    @property
    def descriptor(self) -> int:
        """The descriptor of its connection's socket; -1 when that is closed."""
        transport = self._owner.transport
        return -1 if transport.is_closing() else int(transport.get_extra_info("socket").fileno())

    def time_remaining(self) -> float | None:
        """Return the seconds until its deadline; None if it has none."""
        return None if self._deadline is None else max(self._deadline - self._loop.time(), 0.0)

    async def read(self) -> bytes | None:
        """Wait for the next request; None after the last."""
        while not self._requests:
            if self._is_whole:
                return None
            self._news.clear()
            await self._news.wait()
        self.resume()
        return self._requests.popleft()

    def put(self, message: bytes) -> bool:
        """Send an answer; return whether there is room for another at once."""
        if not self._has_begun:
            self._begin()
        return self.send(message)

    async def room(self) -> None:
        """Wait until there is room."""
        while not self.has_room:
            self._news.clear()
            await self._news.wait()

    async def write(self, message: bytes) -> None:
        """Send an answer, and wait until there is room for another."""
        if not self.put(message):
            await self.room()

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        """End the call with a status."""
        raise Ended(code, details)

    # --- what its connection does

    def start(self, handler: "Handler") -> None:
        """Handle it."""
        self._task = self._loop.create_task(self._run(handler))
        if self._deadline is not None:
            self._timer = self._loop.call_at(self._deadline, self._expire)

    def refuse(self, reason: str, *, is_too_long: bool) -> None:
        """See `MessageStream`."""
        if self._task is not None:
            self._task.cancel()
        self.finish(grpc.StatusCode.RESOURCE_EXHAUSTED if is_too_long else grpc.StatusCode.UNIMPLEMENTED, reason)

    def finish(self, code: grpc.StatusCode, details: str = "") -> None:
        """Send the status that ends it."""
        if self._timer is not None:
            self._timer.cancel()
        status = status_headers(code, details)
        self.end(status if self._has_begun else [*_ANSWER, *status])

    def on_message(self, message: bytes) -> None:
        """See `MessageStream`."""
        self._requests.append(message)
        self.pause()
        self._news.set()

    def on_half_closed(self) -> None:
        """See `MessageStream`."""
        self._is_whole = True
        self._news.set()

    def on_lost(self, reason: str) -> None:  # noqa: ARG002 - whatever it was, the client is gone
        """See `MessageStream`."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def on_room(self) -> None:
        """See `MessageStream`."""
        self._news.set()

    def _begin(self) -> None:
        self._has_begun = True
        self._owner.send_headers(self, _ANSWER)

    def _expire(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self.finish(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline has passed")

    async def _run(self, handler: "Handler") -> None:
        code, details = grpc.StatusCode.OK, ""
        try:
            await handler(self)
        except Ended as ended:
            code, details = ended.code, ended.details
        except Exception as error:  # noqa: BLE001 - whatever it was, the client is told, and other calls go on
            _log.exception("a call failed")
            code, details = grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}"
        self.finish(code, details)

    @property
    def is_whole(self) -> bool:
        """Whether the client has sent all that it has to send."""
        return self._is_whole


Handler = Callable[[Call], Awaitable[None]]


class ServerConnection(Http2Connection):
    """A client's connection."""

    def __init__(self, server: "Server") -> None:
        super().__init__(is_client=False)
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._server.connections.add(self)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._server.connections.discard(self)
        self._server.note_closed()
        super().connection_lost(exc)

    def on_event(self, event: Event) -> None:
        """Take a call."""
        if not isinstance(event, RequestReceived):
            return
        call = Call(self, event)
        self.streams[call.id] = call
        headers = dict(event.headers)
        handler = self._server.methods.get(headers.get(b":path", b""))
        if not headers.get(b"content-type", b"").startswith(CONTENT_TYPE):
            self.h2.send_headers(call.id, [(b":status", b"415")], end_stream=True)
            self.reset(call, ErrorCodes.NO_ERROR)
        elif handler is None:
            call.finish(grpc.StatusCode.UNIMPLEMENTED, "nobody offers that method here")
        else:
            call.start(handler)

    def send_last(self, stream: MessageStream, headers: list[tuple[bytes, bytes]]) -> None:
        """See `Http2Connection`."""
        if self.streams.pop(stream.id, None) is None:
            return  # the client is gone
        self.h2.send_headers(stream.id, headers, end_stream=True)
        if isinstance(stream, Call) and not stream.is_whole:  # what it has yet to send is not wanted
            self.h2.reset_stream(stream.id, ErrorCodes.NO_ERROR)
        self.flush()


class Server:
    """Serves methods on any number of sockets.

    Args:
        methods: Handlers by the full name of the method, such as `/grpc.health.v1.Health/Check`.

    Attributes:
        methods: The same, by what stands in headers.
        connections: Those that are open.
    """

    def __init__(self, methods: Mapping[str, Handler]) -> None:
        self.methods = {name.encode(): handler for name, handler in methods.items()}
        self.connections: set[ServerConnection] = set()
        self._listening: list[asyncio.Server] = []
        self._closed = asyncio.Event()

    async def serve(self, listener: socket.socket) -> None:
        """Let clients in who connect to a socket that listens."""
        loop = asyncio.get_running_loop()
        self._listening.append(await loop.create_server(lambda: ServerConnection(self), sock=listener, backlog=BACKLOG))

    async def close(self, grace: float) -> None:
        """Let nobody in any more, cut what calls there are, and wait until what was written has left.

        Args:
            grace: Seconds for that at most.
        """
        for server in self._listening:
            server.close()
        for connection in list(self.connections):
            for call in list(connection.streams.values()):
                call.on_lost("the server is closing")
                call.finish(grpc.StatusCode.UNAVAILABLE, "this node is shutting down")
            connection.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self.connections:
                    self._closed.clear()
                    await self._closed.wait()
        for connection in list(self.connections):
            connection.transport.abort()

    def note_closed(self) -> None:
        """Take note that a connection is gone."""
        self._closed.set()
