"""What edges speak on a connection (ALPN `eloquent`): they show the key on a stream, then send datagrams (docs/protocol.md §8a).

Rules of this file
- An edge says once, on its first stream: version (1) | bearer token (32) | name of its channel (16), and ends it. The server
  answers with a status (1) and ends it too. Until then every datagram is dropped.
- The name is drawn by the edge and kept for its life. Who names a channel that is there takes it over, with all its sessions: so
  they outlive a connection that has died.
"""

import hmac
from enum import IntEnum
from functools import partial

from aioquic.quic.events import DatagramFrameReceived, QuicEvent, StreamDataReceived

from eloquent.errors import RemoteProtocolError
from eloquent.relay.quic.application import Application, Channel, Channels
from eloquent.relay.quic.certificate import BEARER_SIZE
from eloquent.relay.quic.connection import DatagramConnection

ALPN = "eloquent"
VERSION = 1
CHANNEL_NAME_SIZE = 16  # bytes
ASK_STREAM = 0  # the first that a client opens
_ASK_SIZE = 1 + BEARER_SIZE + CHANNEL_NAME_SIZE


class Welcome(IntEnum):
    """What the server answers to who has shown the key."""

    BEGUN = 0
    TAKEN_OVER = 1
    FULL = 2


class EndCode(IntEnum):
    """Why either side has closed a connection (RFC 9000 §19.19)."""

    LEFT = 0
    REFUSED = 1  # without the key
    STRANGER = 2  # not a word about the key in time
    MOVED = 3  # goes on over another connection


def encode_ask(bearer: bytes, channel: bytes) -> bytes:
    """Return what an edge says first."""
    return bytes([VERSION]) + bearer + channel


class Edges:
    """All edges of one server.

    Args:
        bearer: What they have to show.
    """

    def __init__(self, bearer: bytes) -> None:
        self._bearer = bearer
        self._held: dict[bytes, tuple[Channel, EdgeApplication]] = {}

    def __call__(self, connection: DatagramConnection, channels: Channels) -> Application:
        """Return what speaks on a connection."""
        return EdgeApplication(connection, channels, self)

    def renew(self, bearer: bytes) -> None:
        """Have edges show something else from now on, as the certificate is another."""
        self._bearer = bearer

    def has_key(self, bearer: bytes) -> bool:
        """Return whether that is what edges have to show."""
        return hmac.compare_digest(bearer, self._bearer)

    def begin(
        self, name: bytes, application: "EdgeApplication", channels: Channels, connection: DatagramConnection
    ) -> tuple[Welcome, Channel | None]:
        """Return the channel of a name, which is begun if it is not there."""
        if (held := self._held.get(name)) is not None:
            channel, before = held
            before.move()
            channels.take_over(channel, connection.carry)
            self._held[name] = channel, application
            return Welcome.TAKEN_OVER, channel
        begun = channels.open(connection.carry, partial(self._held.pop, name, None))
        if begun is None:
            return Welcome.FULL, None
        self._held[name] = begun, application
        return Welcome.BEGUN, begun


class EdgeApplication(Application):
    """One edge's connection.

    Args:
        connection: The connection.
        channels: The endpoint inside.
        edges: All of the server.
    """

    def __init__(self, connection: DatagramConnection, channels: Channels, edges: Edges) -> None:
        super().__init__(connection, channels)
        self._edges = edges
        self._said = b""
        self._channel: Channel | None = None

    def take(self, event: QuicEvent, *, now: float) -> None:
        """See `Application`."""
        match event:
            case DatagramFrameReceived(data) if self._channel is not None:
                self._channel.receive(data, now=now)
            case DatagramFrameReceived():
                raise RemoteProtocolError("a datagram of who has not shown the key")
            case StreamDataReceived(data, end_stream, stream_id):
                self._take_ask(data, stream_id, is_whole=end_stream)

    def leave(self) -> None:
        """See `Application`: that the connection is closed says enough."""

    def reconnect(self) -> None:
        """See `Application`."""
        if self._channel is not None:
            self._channel.reconnect()

    def move(self) -> None:
        """Leave the channel to another connection, and close this one."""
        self._channel = None
        self._connection.close(EndCode.MOVED, reason_phrase="goes on over another connection")

    def end(self, *, now: float) -> None:
        """See `Application`."""
        if self._channel is None:
            return
        if self._connection.end_code == EndCode.LEFT:
            self._channel.close("closed by the client", now=now)
        else:
            self._channel.lose(now=now)

    def _take_ask(self, data: bytes, stream_id: int, *, is_whole: bool) -> None:
        self._said += data
        if stream_id != ASK_STREAM or len(self._said) > _ASK_SIZE or not self.is_stranger:
            self._refuse("an edge says nothing on streams but what it is")
        elif is_whole and len(self._said) == _ASK_SIZE and self._said[0] == VERSION:
            bearer, name = self._said[1:-CHANNEL_NAME_SIZE], self._said[-CHANNEL_NAME_SIZE:]
            if not self._edges.has_key(bearer):
                self._refuse("not the key of this origin relay")
                return
            status, self._channel = self._edges.begin(name, self, self._channels, self._connection)
            self.is_stranger = self._channel is None
            self._connection.send_stream_data(ASK_STREAM, bytes([status]), end_stream=True)
        elif is_whole:
            self._refuse(f"an edge of another version than {VERSION}")

    def _refuse(self, reason: str) -> None:
        self._connection.close(EndCode.REFUSED, reason_phrase=reason)
