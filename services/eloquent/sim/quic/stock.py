"""What one gets from QUIC as it comes: aioquic with its own congestion control, as machines of the simulator.

Rules of this file

- `datagram`: the datagrams of a pair of endpoints go in DATAGRAM frames (RFC 9221), each when it is made; those for which
  the window has no room wait in aioquic's queue, which has no bound. Nothing else controls them.
- `stream`: each answer is on a stream of its own, in frames like HTTP/3's DATA (RFC 9114 §7.2.1). QUIC repeats what is lost,
  and a loss on one stream holds up no other.
- One server has one client, whose address QUIC validates by the handshake; there is nothing else to authenticate anybody.
"""

import ssl
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aioquic._buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import DatagramFrameReceived, HandshakeCompleted, QuicEvent, StreamDataReceived
from aioquic.quic.packet import pull_quic_header

from eloquent.errors import RemoteProtocolError
from eloquent.protocol.address_token import Address
from eloquent.protocol.client_endpoint import ClientEndpoint
from eloquent.protocol.server_endpoint import ServerEndpoint
from eloquent.protocol.session import StreamEnded, StreamRequested, StreamToken
from eloquent.protocol.varint import decode_varint, encode_varint

PROTOCOL = "stock"  # by ALPN
SERVER: Address = ("10.0.0.2", 443)
DATA = b"\0"  # type of a frame (RFC 9114 §7.2.1)
_ALL_FRAMES = 65536  # bytes: DATAGRAM frames of any size may be sent to us (RFC 9221 §3)


def configure(algorithm: str, *, is_client: bool) -> QuicConfiguration:
    """Return how aioquic is to behave.

    Args:
        algorithm: Of congestion control: `reno` or `cubic`.
        is_client: Which side it is.
    """
    return QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[PROTOCOL],
        congestion_control_algorithm=algorithm,
        max_datagram_frame_size=_ALL_FRAMES,
        verify_mode=ssl.CERT_NONE,
    )


class _Client(ABC):
    """The client's side of a connection: everything but what is carried."""

    def __init__(self, algorithm: str) -> None:
        self._connection = QuicConnection(configuration=configure(algorithm, is_client=True))
        self._is_there = False  # whether the handshake is over

    def say_hello(self, *, now: float) -> None:
        """Connect."""
        self._connection.connect(SERVER, now)

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take a datagram of UDP."""
        self._connection.receive_datagram(data, SERVER, now)
        for event in _events(self._connection):
            self._is_there |= isinstance(event, HandshakeCompleted)
            self._take(event, now)

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return what goes out now."""
        return [data for data, _ in self._connection.datagrams_to_send(now)]

    def get_timer(self) -> float | None:
        """Return when something is due."""
        return self._connection.get_timer()

    def handle_timer(self, *, now: float) -> None:
        """Do what is due."""
        _handle_timer(self._connection, now)

    @abstractmethod
    def _take(self, event: QuicEvent, now: float) -> None:
        """Take what has come."""


class _Server(ABC):
    """The server's side, likewise."""

    def __init__(self, configuration: QuicConfiguration) -> None:
        self._configuration = configuration
        self._connection: QuicConnection | None = None

    def receive_datagram(self, data: bytes, source: Address, *, now: float) -> None:
        """Take a datagram of UDP."""
        if self._connection is None:
            header = pull_quic_header(Buffer(data=data), host_cid_length=8)
            self._connection = QuicConnection(
                configuration=self._configuration, original_destination_connection_id=header.destination_cid
            )
        self._connection.receive_datagram(data, source, now)
        for event in _events(self._connection):
            self._take(event, source, now)

    def datagrams_to_send(self, *, now: float) -> list[tuple[bytes, Address]]:
        """Return what goes out now, and where to."""
        return [] if self._connection is None else self._connection.datagrams_to_send(now)

    def get_timer(self) -> float | None:
        """Return when something is due."""
        return None if self._connection is None else self._connection.get_timer()

    def handle_timer(self, *, now: float) -> None:
        """Do what is due."""
        if self._connection is not None:
            _handle_timer(self._connection, now)

    @abstractmethod
    def _take(self, event: QuicEvent, source: Address, now: float) -> None:
        """Take what has come."""


def _events(connection: QuicConnection) -> Iterator[QuicEvent]:
    while (event := connection.next_event()) is not None:
        yield event


def _handle_timer(connection: QuicConnection, now: float) -> None:
    due = connection.get_timer()
    if due is not None and due <= now:
        connection.handle_timer(now)


# --- datagrams


class StockDatagramClient(_Client):
    """A client endpoint whose datagrams go in DATAGRAM frames.

    Args:
        inside: The endpoint.
        algorithm: As for `configure`.
    """

    def __init__(self, inside: ClientEndpoint, algorithm: str) -> None:
        super().__init__(algorithm)
        self._inside = inside
        self.open_stream = inside.open_stream
        self.next_event = inside.next_event

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return what goes out now."""
        if self._is_there:
            for data in self._inside.datagrams_to_send(now=now):
                self._connection.send_datagram_frame(data)
        return super().datagrams_to_send(now=now)

    def get_timer(self) -> float | None:
        """Return when something is due."""
        inside = self._inside.get_timer() if self._is_there else None
        return min((due for due in (super().get_timer(), inside) if due is not None), default=None)

    def handle_timer(self, *, now: float) -> None:
        """Do what is due."""
        super().handle_timer(now=now)
        self._inside.handle_timer(now=now)

    def _take(self, event: QuicEvent, now: float) -> None:
        if isinstance(event, HandshakeCompleted):
            self._inside.say_hello(now=now)
        elif isinstance(event, DatagramFrameReceived):
            self._inside.receive_datagram(event.data, now=now)


class StockDatagramServer(_Server):
    """A server endpoint, likewise.

    Args:
        inside: The endpoint.
        configuration: With a certificate.
    """

    def __init__(self, inside: ServerEndpoint, configuration: QuicConfiguration) -> None:
        super().__init__(configuration)
        self._inside = inside
        self.touch = inside.touch
        self.next_event = inside.next_event

    def datagrams_to_send(self, *, now: float) -> list[tuple[bytes, Address]]:
        """Return what goes out now, and where to."""
        for data, _ in self._inside.datagrams_to_send(now=now):
            assert self._connection is not None
            self._connection.send_datagram_frame(data)
        return super().datagrams_to_send(now=now)

    def get_timer(self) -> float | None:
        """Return when something is due."""
        return min((due for due in (super().get_timer(), self._inside.get_timer()) if due is not None), default=None)

    def handle_timer(self, *, now: float) -> None:
        """Do what is due."""
        super().handle_timer(now=now)
        self._inside.handle_timer(now=now)

    def _take(self, event: QuicEvent, source: Address, now: float) -> None:
        if isinstance(event, DatagramFrameReceived):
            self._inside.receive_datagram(event.data, source, now=now)


# --- streams


@dataclass(slots=True)
class _Reading:
    """What has come of an answer."""

    waiting: bytes = b""
    tokens: int = 0


class StreamClient(_Client):
    """Asks on streams.

    Args:
        algorithm: As for `configure`.
    """

    def __init__(self, algorithm: str) -> None:
        super().__init__(algorithm)
        self._events: deque[Any] = deque()
        self._readings: dict[int, _Reading] = {}

    def open_stream(self, request: bytes, *, scheme: str, now: float) -> int:  # noqa: ARG002 - as for `ClientEndpoint`
        """Ask, and return the stream's id."""
        stream_id = self._connection.get_next_available_stream_id()
        self._connection.send_stream_data(stream_id, request, end_stream=True)
        self._readings[stream_id] = _Reading()
        return stream_id

    def next_event(self) -> Any:
        """Return the oldest event that was not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def _take(self, event: QuicEvent, now: float) -> None:  # noqa: ARG002 - as in `_Client`
        if not isinstance(event, StreamDataReceived):
            return
        reading = self._readings[event.stream_id]
        reading.waiting += event.data
        while (token := _take_frame(reading)) is not None:
            self._events.append(StreamToken(event.stream_id, reading.tokens, token))
            reading.tokens += 1
        if event.end_stream:
            self._events.append(StreamEnded(event.stream_id, b""))


def _take_frame(reading: _Reading) -> bytes | None:
    """Return the content of the next frame, if all of it has come."""
    try:
        length, begin = decode_varint(reading.waiting, len(DATA))
    except RemoteProtocolError:  # not even its length has
        return None
    if len(reading.waiting) < begin + length:
        return None
    token, reading.waiting = reading.waiting[begin : begin + length], reading.waiting[begin + length :]
    return token


class StreamServer(_Server):
    """Answers on streams; to who answers it is the session, too."""

    def __init__(self, configuration: QuicConfiguration) -> None:
        super().__init__(configuration)
        self._events: deque[Any] = deque()
        self._requests: dict[int, bytes] = {}

    def next_event(self) -> Any:
        """Return the oldest event that was not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def touch(self, session: Any) -> None:
        """Do nothing, as all that there is to send is asked for."""

    def send_token(self, stream_id: int, token: bytes, *, now: float) -> None:  # noqa: ARG002 - as for `ServerSession`
        """Go on with an answer."""
        assert self._connection is not None
        self._connection.send_stream_data(stream_id, DATA + encode_varint(len(token)) + token)

    def finish(self, stream_id: int, *, now: float) -> None:  # noqa: ARG002 - likewise
        """End an answer."""
        assert self._connection is not None
        self._connection.send_stream_data(stream_id, b"", end_stream=True)

    def _take(self, event: QuicEvent, source: Address, now: float) -> None:  # noqa: ARG002 - as in `_Server`
        if not isinstance(event, StreamDataReceived):
            return
        request = self._requests.pop(event.stream_id, b"") + event.data
        if event.end_stream:
            self._events.append((self, StreamRequested(event.stream_id, "", request)))
        else:
            self._requests[event.stream_id] = request
