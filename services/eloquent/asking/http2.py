"""gRPC's calls with one request and a streamed answer, over one connection of HTTP/2 by h2.

Rules of this file: what is measured here are tokens, each a frame of DATA, so these are read here and do not pass through h2, which
takes 50 µs for one; all other frames are h2's. Readers take what comes at once: windows are as large as they can be, and are
opened again long before they are used up.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import grpc
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error, ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import DataFrame, WindowUpdateFrame

from eloquent.calls.answer import AnswerFailed

Headers = Sequence[tuple[str, str]]

_FRAME_HEADER = 9  # bytes (RFC 9113, 4.1)
_MESSAGE_HEADER = 5  # bytes: whether it is compressed, and its length
_WINDOW = 2**31 - 1  # bytes, the largest there is
_REOPEN_AFTER = 2**30  # bytes
_STATUS = {code.value[0]: code.name.lower() for code in grpc.StatusCode}
_OK = "200"


class GrpcCall:
    """A call on its way: what has come of its answer.

    Args:
        stream: Number of its stream.

    Attributes:
        stream: Likewise.
    """

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self._messages: deque[bytes] = deque()
        self._rest = b""  # of a message
        self._fields: dict[str, str] = {}
        self._end: AnswerFailed | None = None
        self._has_ended = False
        self._waiter: asyncio.Future[None] | None = None

    async def messages(self) -> Sequence[bytes]:
        """Wait for messages, and take those that have come; none is the end.

        Raises:
            AnswerFailed: The call has failed, and all messages before that have been taken.
        """
        while not self._messages and not self._has_ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if not self._messages and self._end is not None:
            raise self._end
        taken = tuple(self._messages)
        self._messages.clear()
        return taken

    def feed(self, data: bytes) -> None:
        """Take some bytes of the answer."""
        data = self._rest + data
        begin = 0
        while len(data) >= begin + _MESSAGE_HEADER:
            end = begin + _MESSAGE_HEADER + int.from_bytes(data[begin + 1 : begin + _MESSAGE_HEADER])
            if data[begin]:
                self.fail(AnswerFailed("unimplemented", "a compressed message, which nobody has asked for"))
                return
            if len(data) < end:
                break
            self._messages.append(data[begin + _MESSAGE_HEADER : end])
            begin = end
        self._rest = data[begin:]
        self._wake()

    def take_fields(self, fields: Headers) -> None:
        """Take headers or trailers."""
        self._fields.update(fields)

    def finish(self) -> None:
        """Take the end of the answer."""
        status, message = self._fields.get("grpc-status"), unquote(self._fields.get("grpc-message", ""))
        if status is None:
            self.fail(AnswerFailed("unavailable", f"no answer of gRPC: HTTP status {self._fields.get(':status')}"))
        elif status != "0":
            self.fail(AnswerFailed(_STATUS.get(int(status), "unknown"), message))
        elif self._rest:
            self.fail(AnswerFailed("data_loss", "the answer ended in the middle of a message"))
        else:
            self._has_ended = True
            self._wake()

    def fail(self, failure: AnswerFailed) -> None:
        """End it as failed, unless it has ended."""
        if not self._has_ended:
            self._has_ended, self._end = True, failure
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class GrpcConnection(asyncio.Protocol):
    """A connection.

    Attributes:
        is_open: Whether calls can be made.
    """

    _transport: Any  # a Transport, which uvloop's is without being called so

    def __init__(self) -> None:
        self.is_open = False
        self._http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._http.local_settings = Settings(
            client=True, initial_values={SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW}
        )
        self._calls: dict[int, GrpcCall] = {}
        self._rest = b""  # of a frame
        self._taken = 0  # bytes since the window was opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._http.initiate_connection()
        self._http.increment_flow_control_window(_WINDOW - self._http.inbound_flow_control_window)
        self._send()
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is not answered."""
        self._fail_all(f"the connection was lost: {exc or 'the server closed it'}")

    def call(self, headers: Headers, request: bytes) -> GrpcCall:
        """Make a call.

        Args:
            headers: With those of HTTP/2 before all others.
            request: The message.

        Raises:
            AnswerFailed: There are too many calls, or the request is too long.
        """
        stream = self._http.get_next_available_stream_id()
        body = b"\0" + len(request).to_bytes(_MESSAGE_HEADER - 1) + request
        try:
            self._http.send_headers(stream, headers)
            size = self._http.max_outbound_frame_size
            for begin in range(0, len(body), size):
                self._http.send_data(stream, body[begin : begin + size], end_stream=begin + size >= len(body))
        except ProtocolError as error:
            self._reset(stream)
            raise AnswerFailed("resource_exhausted", f"the call cannot be made: {error}") from error
        call = self._calls[stream] = GrpcCall(stream)
        self._send()
        return call

    def leave(self, call: GrpcCall) -> None:
        """Cancel a call that has not ended, and forget it."""
        if self._calls.pop(call.stream, None) is not None:
            self._reset(call.stream)

    def close(self) -> None:
        """Close the connection; calls fail."""
        self._fail_all("the client is closed")
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Take bytes: DATA for the calls, all else for h2."""
        data = self._rest + data
        begin = 0
        try:
            while len(data) >= begin + _FRAME_HEADER:
                end = begin + _FRAME_HEADER + int.from_bytes(data[begin : begin + 3])
                if len(data) < end:
                    break
                if (
                    data[begin + 3] == DataFrame.type and data[begin + 4] == 0
                ):  # neither padded nor the last of its stream
                    stream = int.from_bytes(data[begin + 5 : begin + _FRAME_HEADER])
                    if (call := self._calls.get(stream)) is not None:
                        call.feed(data[begin + _FRAME_HEADER : end])
                    self._taken += end - begin - _FRAME_HEADER
                else:
                    for event in self._http.receive_data(data[begin:end]):
                        self._take(event)
                    self._send()
                begin = end
        except ProtocolError as error:
            self._fail_all(f"the server breaks the protocol: {error}")
            self._transport.abort()
            return
        self._rest = data[begin:]
        if self._taken >= _REOPEN_AFTER:
            self._transport.write(WindowUpdateFrame(0, window_increment=self._taken).serialize())
            self._taken = 0

    def _take(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):  # after that, h2 takes nothing
            self._fail_all("the server goes away")
            self._transport.close()
            return
        call = self._calls.get(getattr(event, "stream_id", 0))
        if call is None:
            return
        match event:
            case DataReceived():
                call.feed(event.data)
            case ResponseReceived() | TrailersReceived():
                call.take_fields([(str(name), str(value)) for name, value in event.headers])
            case StreamEnded():
                del self._calls[call.stream]
                call.finish()
            case StreamReset():
                del self._calls[call.stream]
                call.fail(AnswerFailed("unavailable", f"the server broke the answer off: {event.error_code}"))

    def _reset(self, stream: int) -> None:
        with suppress(H2Error):  # it has not begun, or the connection has ended
            self._http.reset_stream(stream, ErrorCodes.CANCEL)
        self._send()

    def _send(self) -> None:
        if data := self._http.data_to_send():
            self._transport.write(data)

    def _fail_all(self, message: str) -> None:
        self.is_open = False
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.fail(AnswerFailed("unavailable", message))
