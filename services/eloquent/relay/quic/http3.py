"""aioquic's HTTP/3 as a server of WebTransport speaks it, with less to do for strangers; it touches what is private there.

Rules of this file
- No dynamic table of QPACK (RFC 9204 §3.2): who compresses against it makes a short block of fields unpack to a long one.
- What streams may bring has bounds, beyond which the connection is closed: a page has its sessions to ask for, and nothing else to
  say on streams.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import pylsqpack
from aioquic.h3.connection import ErrorCode, H3Connection, ProtocolError, Setting
from aioquic.h3.events import H3Event
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import StreamDataReceived

from eloquent.protocol.varint import encode_varint

MAX_REQUESTS = 128  # that a connection may begin in its life, sessions included
MAX_OTHER_STREAMS = 32  # of one direction, which a client opens for HTTP/3 itself and to probe what servers ignore
MAX_REQUEST = 8192  # bytes of a stream that begins with a request
MAX_ALL = 256 * 1024  # bytes of all streams in the life of a connection

Headers = Sequence[tuple[bytes, bytes]]

_CODE_SIZE = 4  # bytes of an application's code
_CLOSE_SESSION = 0x2843  # a capsule (draft-ietf-webtrans-http3 §6)
_MAX_REASON = 1024  # bytes, likewise


def close_capsule(code: int, reason: str) -> bytes:
    """Return what tells a client that a session is over, and why; a reason that is too long is cut."""
    text = reason.encode()[:_MAX_REASON].decode(errors="ignore").encode()
    content = code.to_bytes(_CODE_SIZE) + text
    return encode_varint(_CLOSE_SESSION) + encode_varint(len(content)) + content


class Http3(H3Connection):
    """HTTP/3 on one connection.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: QuicConnection) -> None:
        self._all = 0  # bytes that streams have brought
        self._requests: Counter[int] = Counter()  # the same, of those that begin with requests
        super().__init__(connection, enable_webtransport=True)

    def take_stream_data(self, event: StreamDataReceived) -> list[H3Event]:
        """Return what a piece of a stream says; one that is too much closes the connection."""
        number, is_one_way = event.stream_id >> 2, bool(event.stream_id & 2)
        self._all += len(event.data)
        if not is_one_way:
            self._requests[event.stream_id] += len(event.data)
        is_within = (
            number < (MAX_OTHER_STREAMS if is_one_way else MAX_REQUESTS)
            and self._all <= MAX_ALL
            and self._requests[event.stream_id] <= MAX_REQUEST
        )
        if is_within:
            return self.handle_event(event)
        self._is_done = True
        self._quic.close(error_code=ErrorCode.H3_EXCESSIVE_LOAD, reason_phrase="more than a page has to say on streams")
        return []

    def respond(self, stream_id: int, fields: Headers = (), content: bytes = b"", *, end: bool) -> bool:
        """Say something on a request's stream, unless the client has said that it does not want it; return whether it was said.

        Args:
            stream_id: The stream.
            fields: To begin with, if any.
            content: What follows, if anything.
            end: Whether that is all.
        """
        try:
            if fields:
                self.send_headers(stream_id, list(fields), end_stream=end and not content)
            if content or (end and not fields):
                self.send_data(stream_id, content, end_stream=end)
        except (RuntimeError, ValueError, ProtocolError):  # of a stream that was stopped, or is over
            return False
        return True

    def abandon(self, stream_id: int) -> None:
        """Say no more on a request's stream."""
        with suppress(ValueError):  # it is over
            self._quic.reset_stream(stream_id, ErrorCode.H3_REQUEST_CANCELLED)

    def _init_connection(self) -> None:
        self._max_table_capacity = self._blocked_streams = 0
        self._decoder = pylsqpack.Decoder(0, 0)
        super()._init_connection()

    def _get_local_settings(self) -> dict[int, int]:
        return super()._get_local_settings() | {Setting.MAX_FIELD_SECTION_SIZE: MAX_REQUEST}
