"""A gRPC client: calls with one request and many answers, each answer handed out by a callback.

Rules of this file
- A connection is made when it is first wanted, and again when it is gone; a call that there is none for fails with UNAVAILABLE.
- Calls share a connection as far as the server lets them, and others have another.
- Who takes answers says when he has enough: the call is paused then, and the server soon, too.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import grpc
from h2.events import Event, ResponseReceived, TrailersReceived
from h2.exceptions import TooManyStreamsError

from eloquent.addresses import parse_address, reason_of
from eloquent.rpc.headers import CONTENT_TYPE, Pairs, encode_timeout, status_of
from eloquent.rpc.http2 import Http2Connection, MessageStream

Take = Callable[[bytes], bool]
"""Takes an answer; returns whether there is room for another."""


class CallFailed(Exception):
    """A call that did not end with OK.

    Args:
        code: Its status.
        details: What was told.
    """

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


class _Call(MessageStream):
    """A call under way; `take` gets its answers."""

    def __init__(
        self, connection: "_ClientConnection", stream_id: int, take: Take, news: asyncio.Event, *, max_message: int
    ) -> None:
        super().__init__(connection, stream_id, max_message=max_message)
        self._take_answer = take
        self._news = news  # it has ended, or whoever takes answers has enough
        self.is_full = False
        self.status: tuple[grpc.StatusCode, str] | None = None

    def on_message(self, message: bytes) -> None:
        """See `MessageStream`."""
        if not self._take_answer(message):
            self.is_full = True
            self.pause()
            self._news.set()

    def go_on(self) -> None:
        """Go on after there was enough."""
        self.is_full = False
        self.resume()

    def end_with(self, code: grpc.StatusCode, details: str) -> None:
        """Note how it ended."""
        if self.status is not None:
            return
        if code is grpc.StatusCode.OK and self._partial:
            code, details = grpc.StatusCode.DATA_LOSS, "the answer ended in the middle of a message"
        self.status = code, details
        self._news.set()

    def on_half_closed(self) -> None:
        """See `MessageStream`."""
        self._connection.streams.pop(self.id, None)
        self.end_with(grpc.StatusCode.UNKNOWN, "the answer ended without a status")

    def on_lost(self, reason: str) -> None:
        """See `MessageStream`."""
        self.end_with(grpc.StatusCode.UNAVAILABLE, reason)

    def on_room(self) -> None:
        """See `MessageStream`."""

    def refuse(self, reason: str, *, is_too_long: bool) -> None:
        """See `MessageStream`."""
        self.reset()
        self.end_with(grpc.StatusCode.RESOURCE_EXHAUSTED if is_too_long else grpc.StatusCode.UNIMPLEMENTED, reason)


class _ClientConnection(Http2Connection):
    """A connection to a server."""

    def __init__(self) -> None:
        super().__init__(is_client=True)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def call(self, headers: Pairs, request: bytes, take: Take, news: asyncio.Event, *, max_message: int) -> _Call:
        """Begin a call.

        Raises:
            TooManyStreamsError: The server takes no more on this connection.
        """
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, headers)
        self.flush()
        call = self.streams[stream_id] = _Call(self, stream_id, take, news, max_message=max_message)
        call.send(request)
        call.end([])
        return call

    def send_last(self, stream: MessageStream, headers: list[tuple[bytes, bytes]]) -> None:  # noqa: ARG002 - requests have none
        """See `Http2Connection`."""
        if stream.id in self.streams:
            self.h2.end_stream(stream.id)
            self.flush()

    def on_event(self, event: Event) -> None:
        """Take the head or the end of an answer."""
        if isinstance(event, ResponseReceived | TrailersReceived):
            call = self.streams.get(event.stream_id)
            headers = dict(event.headers)
            if call is not None and (isinstance(event, TrailersReceived) or event.stream_ended is not None):
                call.end_with(*status_of(headers))
            elif call is not None and headers.get(b":status") != b"200":
                call.end_with(*status_of(headers))
                call.reset()


class CallChannel:
    """The way to a server.

    Args:
        target: Its HOST:PORT.
        max_message: Bytes of the longest answer that is taken.
        open_socket: Makes a socket that is connected to it, such as one in another network; None for an ordinary one.
    """

    def __init__(
        self, target: str, *, max_message: int, open_socket: Callable[[], Awaitable[socket.socket]] | None = None
    ) -> None:
        self._target = target
        self._open_socket = open_socket
        self._address = parse_address(target)
        self._max_message = max_message
        self._connections: list[_ClientConnection] = []
        self._connecting: asyncio.Task[_ClientConnection] | None = None

    def begin(self) -> None:
        """Begin to connect, so that the first call need not wait for it."""
        self._connect()

    async def connect(self) -> None:
        """Connect, unless there is a connection.

        Raises:
            OSError: The server does not answer.
        """
        if not self._usable():
            await asyncio.shield(self._connect())

    async def close(self) -> None:
        """Close the connections; calls that go on fail."""
        if self._connecting is not None:
            self._connecting.cancel()
        for connection in self._connections:
            connection.close()

    async def ask(
        self,
        method: str,
        request: bytes,
        take: Take,
        room: Callable[[], Awaitable[None]],
        *,
        metadata: Sequence[tuple[str, str]] = (),
        patience: float | None = None,
    ) -> None:
        """Call a method, and return when its answer has ended well; cancelled, cancel the call.

        Args:
            method: Its full name.
            request: The request message.
            take: Gets each answer as it comes.
            room: Waits until there is room, after `take` has said that there is none.
            metadata: Text metadata.
            patience: Seconds until the call is given up; None for never.

        Raises:
            CallFailed: It ended otherwise.
        """
        headers = self._headers(method, metadata, patience)
        news = asyncio.Event()
        try:
            async with asyncio.timeout(patience):
                async with self._call(headers, request, take, news) as call:
                    while call.status is None or call.is_full:
                        await news.wait()
                        news.clear()
                        while call.is_full:
                            await room()
                            call.go_on()
        except TimeoutError:
            raise CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline has passed") from None

    async def answers(
        self, method: str, request: bytes, *, metadata: Sequence[tuple[str, str]] = (), patience: float | None = None
    ) -> AsyncGenerator[list[bytes], None]:
        """Call a method, and yield its answers, those that have come at once together; whoever closes it early cancels the call.

        Args:
            method: Its full name.
            request: The request message.
            metadata: Text metadata.
            patience: Seconds until the server gives the call up; None for never.

        Raises:
            CallFailed: It did not end well, and all answers before that have been taken.
        """
        came: list[bytes] = []
        news = asyncio.Event()

        def take(answer: bytes) -> bool:
            came.append(answer)
            news.set()
            return True

        async with self._call(self._headers(method, metadata, patience), request, take, news) as call:
            while call.status is None or came:
                await news.wait()
                if taken := came.copy():
                    came.clear()
                    yield taken
                if not came and call.status is None:
                    news.clear()

    def _headers(self, method: str, metadata: Sequence[tuple[str, str]], patience: float | None) -> Pairs:
        return [
            *((b":method", b"POST"), (b":scheme", b"http"), (b":path", method.encode())),
            *((b":authority", self._target.encode()), (b"te", b"trailers"), (b"content-type", CONTENT_TYPE)),
            *(((b"grpc-timeout", encode_timeout(patience)),) if patience is not None else ()),
            *((name.encode(), value.encode("latin-1", "replace")) for name, value in metadata),
        ]

    @asynccontextmanager
    async def _call(self, headers: Pairs, request: bytes, take: Take, news: asyncio.Event) -> AsyncIterator[_Call]:
        """Make a call for as long as the block runs, after which it has to have ended well."""
        call = await self._begin_call(headers, request, take, news)
        try:
            yield call
        finally:
            if call.status is None:
                call.reset()
        assert call.status is not None, "the block runs until it has ended"
        code, details = call.status
        if code is not grpc.StatusCode.OK:
            raise CallFailed(code, details)

    def _usable(self) -> list[_ClientConnection]:
        """Return the connections that take calls, and forget those that are gone."""
        self._connections = [one for one in self._connections if not (one.is_closed or one.transport.is_closing())]
        return [one for one in self._connections if not one.is_leaving]

    async def _begin_call(self, headers: Pairs, request: bytes, take: Take, news: asyncio.Event) -> _Call:
        while True:
            for connection in self._usable():
                with suppress(TooManyStreamsError):
                    return connection.call(headers, request, take, news, max_message=self._max_message)
            try:
                connection = await asyncio.shield(self._connect())
            except OSError as error:
                details = f"{self._target} does not answer: {reason_of(error)}"
                raise CallFailed(grpc.StatusCode.UNAVAILABLE, details) from error
            if connection.is_closed or not connection.h2.remote_settings.max_concurrent_streams:
                raise CallFailed(grpc.StatusCode.UNAVAILABLE, f"{self._target} takes no calls")

    def _connect(self) -> asyncio.Task[_ClientConnection]:
        """Return the connection that is being made."""
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._open())
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())  # it may be nobody's
        return self._connecting

    async def _open(self) -> _ClientConnection:
        loop = asyncio.get_running_loop()
        if self._open_socket is None:
            _, connection = await loop.create_connection(_ClientConnection, *self._address)
        else:
            _, connection = await loop.create_connection(_ClientConnection, sock=await self._open_socket())
        await connection.is_known.wait()  # so that no call is refused for what it could not know
        self._connections.append(connection)
        return connection
