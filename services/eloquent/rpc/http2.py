"""HTTP/2 as gRPC uses it (RFC 9113), for streams of short messages: one connection, and the messages of its streams.

Rules of this file
- What comes once a message is done here: frames of DATA and WINDOW_UPDATE, and the windows they are about. GOAWAY, too, since a
  connection that is to end still carries the streams that it has. All else (states, header blocks, settings, pings) is h2's.
- A message is one frame of DATA where it fits, and leaves in this turn of the loop, in one write with all others of the turn; what
  waits for a window is kept in order, and whoever sends is told by `has_room`.
- A stream that is paused is granted no more: the other end then has at most a window on its way.
- Who breaks the protocol loses the connection; nothing escapes from a callback.
"""

import asyncio
import logging
import struct
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event, RemoteSettingsChanged, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

STREAM_WINDOW = 65_535  # bytes of a stream that may be on their way to us (the default of RFC 9113 §6.9.2)
CONNECTION_WINDOW = 1 << 24  # bytes of all streams of a connection, of which each has its own bound
MAX_STREAMS = 1 << 20  # on a connection; who is let in is for the owner to say
_DATA, _GOAWAY, _WINDOW_UPDATE = 0x0, 0x7, 0x8  # types of frames
_END_STREAM, _PADDED = 0x1, 0x8  # flags of DATA
_FRAME = struct.Struct("!BHBBI")  # length in 3 bytes, type, flags, stream
_PREFIX = struct.Struct("!BI")  # of a message: whether it is compressed, length
_NUMBER = struct.Struct("!I")
_MAX_FRAME = 16_384  # bytes of a frame's payload: nobody is asked for more, and nobody gets more
_PREFACE = 24  # bytes with which a client begins
_DEFAULT_WINDOW = 65_535
_RESERVED = 1 << 31  # a bit of numbers that says nothing

Headers = Iterable[tuple[bytes, bytes]]

_log = logging.getLogger(__name__)


class MessageStream(ABC):
    """One stream of a connection, and the messages it carries both ways.

    Args:
        connection: Whose stream it is.
        stream_id: Its number.
        max_message: Bytes of the longest message that is taken.

    Attributes:
        id: Its number.
        has_room: Whether what is sent now is on its way at once.
    """

    def __init__(self, connection: "Http2Connection", stream_id: int, *, max_message: int) -> None:
        self.id = stream_id
        self.has_room = True
        self._connection = connection
        self._max_message = max_message
        self._room = connection.peer_window  # bytes that may be sent
        self._unsent: deque[bytes] = deque()  # payloads of frames that wait for room
        self._last: list[tuple[bytes, bytes]] | None = None  # headers that end it, after these
        self._granted = STREAM_WINDOW  # bytes that may come
        self._partial = b""  # the beginning of a message
        self._held: deque[bytes] | None = None  # messages that came while it is paused; None while it is not

    # --- what an owner does

    def send(self, message: bytes) -> bool:
        """Send a message; return whether there is room for another (`has_room`)."""
        payload = _PREFIX.pack(0, len(message)) + message
        size, connection = len(payload), self._connection
        if self.has_room and size <= self._room and size <= connection.room and size <= _MAX_FRAME:
            self._room -= size
            connection.room -= size
            connection.write(_FRAME.pack(0, size, _DATA, 0, self.id) + payload)
            return True
        self._unsent.extend(payload[at : at + _MAX_FRAME] for at in range(0, size, _MAX_FRAME))
        self.pump()
        return self.has_room

    def pause(self) -> None:
        """Hold back messages, and grant no more."""
        if self._held is None:
            self._held = deque()

    def resume(self) -> None:
        """Hand out what was held back, and go on, unless that pauses it again."""
        held, self._held = self._held, None
        while held:
            self.on_message(held.popleft())
            if self._held is not None:
                self._held.extend(held)
                return
        self._grant()

    def reset(self, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        """Give it up."""
        self._connection.reset(self, code)

    # --- what the connection calls

    @abstractmethod
    def on_message(self, message: bytes) -> None:
        """Take a message."""

    @abstractmethod
    def on_half_closed(self) -> None:
        """Take note that the other end sends no more."""

    @abstractmethod
    def on_lost(self, reason: str) -> None:
        """Take note that it ended otherwise: it was reset, or its connection is gone."""

    @abstractmethod
    def on_room(self) -> None:
        """Take note that there is room again."""

    def take(self, data: bytes, size: int) -> None:
        """Take the payload of a frame.

        Args:
            data: Without padding.
            size: With it: what counts for the windows.
        """
        self._granted -= size
        if self._granted < 0:
            raise ProtocolError("more came than a window")
        if self._partial:
            data = self._partial + data
        at, end = 0, len(data)
        while end - at >= _PREFIX.size:
            is_compressed, length = _PREFIX.unpack_from(data, at)
            if is_compressed or length > self._max_message:
                why = "is compressed" if is_compressed else f"has {length} bytes; {self._max_message} are taken"
                self.refuse(f"a message {why}", is_too_long=not is_compressed)
                return
            stop = at + _PREFIX.size + length
            if stop > end:
                break
            message = data[at + _PREFIX.size : stop]
            if self._held is None:
                self.on_message(message)
            else:
                self._held.append(message)
            at = stop
        self._partial = data[at:]
        self._grant()

    @abstractmethod
    def refuse(self, reason: str, *, is_too_long: bool) -> None:
        """End a stream on which a message came that is not taken: it is too long, or compressed."""

    def grow(self, size: int) -> None:
        """Add so many bytes to its window."""
        self._room += size
        if not self.has_room:
            self.pump()

    def pump(self) -> None:
        """Send what waits, as far as there is room."""
        connection, unsent = self._connection, self._unsent
        while unsent and connection.is_writable:
            room = min(self._room, connection.room)
            if room <= 0:
                break
            payload = unsent.popleft()
            if len(payload) > room:
                unsent.appendleft(payload[room:])
                payload = payload[:room]
            self._room -= len(payload)
            connection.room -= len(payload)
            connection.write(_FRAME.pack(0, len(payload), _DATA, 0, self.id) + payload)
        had_room, self.has_room = self.has_room, not unsent and connection.is_writable
        if not unsent and self._last is not None:
            connection.send_last(self, self._last)
        elif self.has_room and not had_room:
            self.on_room()

    def end(self, headers: list[tuple[bytes, bytes]]) -> None:
        """End it with headers, after what waits."""
        self._last = headers
        if not self._unsent:
            self._connection.send_last(self, headers)

    def _grant(self) -> None:
        if self._held is None and self._granted <= STREAM_WINDOW // 2:
            self._connection.grant(self.id, STREAM_WINDOW - self._granted)
            self._granted = STREAM_WINDOW


class Http2Connection(asyncio.Protocol, ABC):
    """One connection; a server's or a client's.

    Args:
        is_client: Whether it is a client's.

    Attributes:
        h2: What keeps its state.
        streams: Those that are open, by number.
        room: Bytes that may be sent on all of them together.
        peer_window: Bytes that may be sent on a new one.
        is_writable: Whether what is written leaves soon.
        is_closed: Whether it is gone.
        is_leaving: Whether the other end takes no more streams.
        is_known: Set when the other end's settings have come, or never will.
    """

    def __init__(self, *, is_client: bool) -> None:
        self._is_client = is_client
        self.h2 = H2Connection(H2Configuration(client_side=is_client, header_encoding=None))
        values = {SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS, SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW}
        if is_client:
            values[SettingCodes.ENABLE_PUSH] = 0
        self.h2.local_settings = Settings(client=is_client, initial_values=values)
        self.streams: dict[int, Any] = {}
        self.room = self.peer_window = _DEFAULT_WINDOW
        self.is_writable = True
        self.is_closed = self.is_leaving = False
        self.is_known = asyncio.Event()
        self.transport: Any = None
        self._granted = CONNECTION_WINDOW
        self._rest = b""  # the beginning of a frame
        self._loop = asyncio.get_running_loop()
        self._unwritten: list[bytes] = []  # frames of this turn of the loop
        self._preface = 0 if is_client else _PREFACE  # bytes of it that are still to come

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport
        self.h2.initiate_connection()
        self.flush()
        self.grant(0, CONNECTION_WINDOW - _DEFAULT_WINDOW)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        try:
            self._take(data)
        except ProtocolError as error:
            _log.info("a connection is closed: %s", error)
            self.close(ErrorCodes.PROTOCOL_ERROR, str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every stream."""
        self.is_closed = True
        self.is_known.set()
        self._lose(str(exc) if exc else "the connection was closed")

    def pause_writing(self) -> None:
        """Take note that the transport has enough."""
        self.is_writable = False
        for stream in self.streams.values():
            stream.has_room = False

    def resume_writing(self) -> None:
        """Go on."""
        self.is_writable = True
        self._pump()

    # --- what streams and owners call

    def write(self, data: bytes) -> None:
        """Write frames in this turn of the loop."""
        if not self._unwritten:
            self._loop.call_soon(self._write_all)
        self._unwritten.append(data)

    def flush(self) -> None:
        """Write what h2 has to say."""
        if data := self.h2.data_to_send():
            self.write(data)

    def grant(self, stream_id: int, size: int) -> None:
        """Let the other end send so many more bytes.

        Args:
            stream_id: On which stream; 0 for all together.
            size: Bytes.
        """
        self.write(_FRAME.pack(0, _NUMBER.size, _WINDOW_UPDATE, 0, stream_id) + _NUMBER.pack(size))

    def send_headers(self, stream: MessageStream, headers: Headers, *, is_last: bool = False) -> None:
        """Send headers of a stream."""
        self.h2.send_headers(stream.id, headers, end_stream=is_last)
        self.flush()

    @abstractmethod
    def send_last(self, stream: MessageStream, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the headers that end a stream."""

    def reset(self, stream: MessageStream, code: ErrorCodes) -> None:
        """Give a stream up."""
        if self.streams.pop(stream.id, None) is not None and not self.is_closed:
            self.h2.reset_stream(stream.id, code)
            self.flush()

    def go_away(self) -> None:
        """Tell the other end that no more streams are taken; those that are open go on."""
        last = max(self.streams, default=0)
        self.write(_FRAME.pack(0, 8, _GOAWAY, 0, 0) + _NUMBER.pack(last) + _NUMBER.pack(ErrorCodes.NO_ERROR))

    def close(self, code: ErrorCodes = ErrorCodes.NO_ERROR, reason: str = "this end has closed the connection") -> None:
        """Close it; what was written still leaves."""
        if not self.is_closed:
            self.is_closed = True
            self.write(
                _FRAME.pack(0, 8, _GOAWAY, 0, 0) + _NUMBER.pack(max(self.streams, default=0)) + _NUMBER.pack(code)
            )
            self._write_all()
            self.transport.close()
        self._lose(reason)

    def _write_all(self) -> None:
        unwritten, self._unwritten = self._unwritten, []
        if unwritten and not self.transport.is_closing():
            self.transport.write(b"".join(unwritten))

    @abstractmethod
    def on_event(self, event: Event) -> None:
        """Take what h2 tells of, but for what is done here."""

    # --- frames

    def _take(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        if self._preface:
            if end < self._preface:
                self._rest = data
                return
            at, self._preface = self._preface, 0
            self._feed(data[:at])
        while end - at >= _FRAME.size:
            high, low, kind, flags, stream_id = _FRAME.unpack_from(data, at)
            start = at + _FRAME.size
            stop = start + low
            if high or low > _MAX_FRAME:
                raise ProtocolError("a frame is too long")
            if stop > end:
                break
            if kind == _DATA:
                self._take_data(flags, stream_id, data, start, stop)
            elif kind == _WINDOW_UPDATE:
                self._take_window(stream_id, data[start:stop])
            elif kind == _GOAWAY:
                self._take_goodbye(data[start:stop])
            else:
                self._feed(data[at:stop])
            at = stop
            if self.is_closed:
                break
        self._rest = data[at:]

    def _take_data(self, flags: int, stream_id: int, data: bytes, start: int, stop: int) -> None:
        size = stop - start
        if flags & _PADDED:
            if not size or data[start] >= size:
                raise ProtocolError("there is more padding than frame")
            stop -= data[start]
            start += 1
        self._granted -= size
        if self._granted <= CONNECTION_WINDOW // 2:
            self.grant(0, CONNECTION_WINDOW - self._granted)
            self._granted = CONNECTION_WINDOW
        stream: MessageStream | None = self.streams.get(stream_id)
        if stream is not None and size:
            stream.take(data[start:stop], size)
        if stream is None or flags & _END_STREAM:  # h2 judges whether there may be such a frame
            self._feed(_FRAME.pack(0, 0, _DATA, flags & _END_STREAM, stream_id))

    def _take_window(self, stream_id: int, data: bytes) -> None:
        if len(data) != _NUMBER.size or not (size := _NUMBER.unpack(data)[0] & ~_RESERVED):
            raise ProtocolError("a window cannot grow by that")
        if stream_id:
            if (stream := self.streams.get(stream_id)) is not None:
                stream.grow(size)
        else:
            self.room += size
            self._pump()

    def _take_goodbye(self, data: bytes) -> None:
        if len(data) < 2 * _NUMBER.size:
            raise ProtocolError("a frame is too short")
        self.is_leaving = True
        if self._is_client:  # who made the streams
            self._lose("the other end takes no more calls", above=_NUMBER.unpack_from(data)[0] & ~_RESERVED)

    def _feed(self, data: bytes) -> None:
        """Let h2 take frames, and tell what came of them."""
        try:
            events = self.h2.receive_data(data)
        finally:
            self.flush()
        for event in events:
            if isinstance(event, StreamEnded):
                if (stream := self.streams.get(event.stream_id or 0)) is not None:
                    stream.on_half_closed()
            elif isinstance(event, StreamReset):
                if (stream := self.streams.pop(event.stream_id, None)) is not None:
                    stream.on_lost(f"the other end has reset the stream ({event.error_code!r})")
            elif isinstance(event, RemoteSettingsChanged):
                self._take_settings(event)
            else:
                self.on_event(event)

    def _take_settings(self, event: RemoteSettingsChanged) -> None:
        self.is_known.set()
        if (changed := event.changed_settings.get(SettingCodes.INITIAL_WINDOW_SIZE)) is not None:
            more = changed.new_value - self.peer_window
            self.peer_window = changed.new_value
            for stream in list(self.streams.values()):
                stream.grow(more)

    def _pump(self) -> None:
        for stream in [one for one in self.streams.values() if not one.has_room]:
            stream.pump()

    def _lose(self, reason: str, *, above: int = 0) -> None:
        """Tell the streams with a number above that that they are lost."""
        for stream_id in [one for one in self.streams if one > above]:
            self.streams.pop(stream_id).on_lost(reason)
