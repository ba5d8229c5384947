"""Pages that ask by WebTransport over HTTP/3 (draft-ietf-webtrans-http3): an `Application` of a QUIC server (ALPN h3).

Rules of this file
- A session begins by an extended CONNECT (RFC 9220) of a page that may ask (`pages.py`). Each is a client of the endpoint inside,
  with an address of its own; its datagrams (RFC 9297) are those of docs/protocol.md §2, one each.
- Nothing else is taken: streams inside a session are refused, other requests are answered with a sentence.
- A session that has ended, by whomever, ends what it has begun; who resumes answers does so by another.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus

from aioquic.h3.connection import ErrorCode
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.events import (
    DatagramFrameReceived,
    QuicEvent,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)

from eloquent.api.v1.exchange_pb2 import Ask
from eloquent.errors import RemoteProtocolError
from eloquent.protocol.address_token import Address
from eloquent.protocol.varint import decode_varint, encode_varint
from eloquent.relay.quic.application import Application, Channel, Channels
from eloquent.relay.quic.connection import DatagramConnection
from eloquent.relay.quic.http3 import Http3, close_capsule
from eloquent.relay.quic.limits import PageLimits
from eloquent.relay.quic.pages import PageRefused, Pages

ALPN = "h3"
SERVER_ENDS = 0  # code of a session that the server closes, which says why in words
_HOME = b"This is an Eloquent relay. Pages ask it by WebTransport.\n"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class PageAccount:
    """Pages, counted.

    Attributes:
        connections: That are open.
        sessions: That are open.
        begun: Sessions that have begun.
        refused: Sessions and requests that were refused, by cause (that of `PageRefused`, or `full`).
    """

    connections: int = 0
    sessions: int = 0
    begun: int = 0
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True, eq=False)
class _Session:
    """A session of WebTransport.

    Attributes:
        channel: The client of the endpoint inside.
        is_left: Whether the page has ended it.
        is_reset: Whether it did so without a word.
    """

    channel: Channel
    is_left: bool = False
    is_reset: bool = False


class WebTransport:
    """All pages of one server; called, it speaks on a connection.

    Args:
        pages: Who may ask, and what.
        limits: The bounds of pages.

    Attributes:
        account: What is counted.
    """

    def __init__(self, pages: Pages, *, limits: PageLimits | None = None) -> None:
        self.account = PageAccount()
        self.limits = PageLimits() if limits is None else limits
        self._pages = pages
        self._rights: dict[Address, float] = {}  # of each session inside: until when it may ask, seconds since 1970

    def __call__(self, connection: DatagramConnection, channels: Channels) -> Application:
        """Return what speaks on a connection."""
        self.account.connections += 1
        return PageConnection(connection, channels, self)

    def restrict(self, ask: Ask, address: Address) -> bool:
        """Return whether a page asks, and leave of its request what may go to the model server (`Guard`).

        Args:
            ask: The request, which is changed.
            address: Of the session that asks.

        Raises:
            PageRefused: It may not ask that.
        """
        if (until := self._rights.get(address)) is None:
            return False
        try:
            self._pages.restrict(ask, until)
        except PageRefused as refused:
            self.account.refused[refused.cause] += 1
            raise
        return True

    def begin(self, target: str, origin: str | None, open_channel: Callable[[], Channel | None]) -> Channel:
        """Return the channel of a new session.

        Args:
            target: Path and query that it connects to.
            origin: Of the page.
            open_channel: Opens it.

        Raises:
            PageRefused: The page may not ask, or there is no room.
        """
        try:
            until = self._pages.admit(target, origin)
        except PageRefused as refused:
            self.account.refused[refused.cause] += 1
            raise
        if self.account.sessions >= self.limits.sessions or (channel := open_channel()) is None:
            self.account.refused["full"] += 1
            raise PageRefused("full", "there are as many sessions as may be", status=HTTPStatus.SERVICE_UNAVAILABLE)
        self._rights[channel.address] = until
        self.account.sessions += 1
        self.account.begun += 1
        return channel

    def end(self, channel: Channel) -> None:
        """Take note that a session is over."""
        del self._rights[channel.address]
        self.account.sessions -= 1


class PageConnection(Application):
    """One connection of a browser, or of whoever speaks like one.

    Args:
        connection: The connection.
        channels: The endpoint inside.
        owner: All pages of the server.
    """

    def __init__(self, connection: DatagramConnection, channels: Channels, owner: WebTransport) -> None:
        super().__init__(connection, channels)
        self._owner = owner
        self._http = Http3(connection)
        self._sessions: dict[int, _Session] = {}  # by the stream of their request

    def take(self, event: QuicEvent, *, now: float) -> None:
        """See `Application`."""
        match event:
            case DatagramFrameReceived(data):
                self._take_datagram(data, now)
            case StreamDataReceived():
                for said in self._http.take_stream_data(event):
                    self._take_http(said, now)
            case StreamReset(_, stream_id) | StopSendingReceived(_, stream_id):
                self._http.handle_event(event)
                self._end(stream_id, "reset by the page", now, is_reset=True)

    def leave(self) -> None:
        """See `Application`."""
        for stream_id in self._sessions:
            self._http.respond(stream_id, content=close_capsule(SERVER_ENDS, "the relay stops"), end=True)

    def reconnect(self) -> None:
        """See `Application`."""
        for session in self._sessions.values():
            session.channel.reconnect()

    def end(self, *, now: float) -> None:
        """See `Application`."""
        self._owner.account.connections -= 1
        for stream_id in list(self._sessions):
            self._end(stream_id, "the page's connection is over", now)

    def _take_datagram(self, data: bytes, now: float) -> None:
        quarter, start = decode_varint(data, 0)  # RFC 9297 §2.1
        if (session := self._sessions.get(4 * quarter)) is None:
            raise RemoteProtocolError("a datagram of no session")
        session.channel.receive(data[start:], now=now)

    def _take_http(self, event: H3Event, now: float) -> None:
        match event:
            case WebTransportStreamDataReceived(_, stream_id):
                self._connection.stop_stream(stream_id, ErrorCode.H3_REQUEST_REJECTED)
            case HeadersReceived(headers, stream_id, stream_ended):
                is_wanted = stream_id in self._sessions or self._take_request(dict(headers), stream_id)
                if stream_ended or not is_wanted:
                    self._end(stream_id, "closed by the page", now)
            case DataReceived(_, stream_id, stream_ended) if stream_ended:
                self._end(stream_id, "closed by the page", now)

    def _take_request(self, fields: dict[bytes, bytes], stream_id: int) -> bool:
        """Answer a request, and return whether the answer is wanted."""
        method, target = fields[b":method"], fields.get(b":path", b"").decode("latin-1")
        if method == b"CONNECT" and fields.get(b":protocol") == b"webtransport":
            return self._take_connect(target, fields.get(b"origin"), stream_id)
        if method in {b"GET", b"HEAD"} and target == "/":
            return self._answer(stream_id, HTTPStatus.OK, b"" if method == b"HEAD" else _HOME)
        return self._answer(stream_id, HTTPStatus.NOT_FOUND, b"There is nothing here: pages ask by WebTransport.\n")

    def _take_connect(self, target: str, origin: bytes | None, stream_id: int) -> bool:
        try:
            said = None if origin is None else origin.decode("latin-1")
            channel = self._owner.begin(target, said, partial(self._open, stream_id))
        except PageRefused as refused:
            _log.debug("a page of %s is not let in: %s", origin, refused)
            return self._answer(stream_id, refused.status, f"{refused}\n".encode())
        self.is_stranger = False
        self._sessions[stream_id] = _Session(channel)
        return self._http.respond(stream_id, [(b":status", b"200")], end=False)

    def _open(self, stream_id: int) -> Channel | None:
        if len(self._sessions) >= self._owner.limits.sessions_per_connection:
            return None
        prefix = encode_varint(stream_id // 4)

        def carry(datagram: bytes) -> None:
            self._connection.carry(prefix + datagram)

        return self._channels.open(carry, partial(self._note_end, stream_id), narrow=self._owner.limits.narrow)

    def _answer(self, stream_id: int, status: HTTPStatus, content: bytes) -> bool:
        fields = [
            (b":status", str(status.value).encode()),
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(content)).encode()),
        ]
        return self._http.respond(stream_id, fields, content, end=True)

    def _end(self, stream_id: int, reason: str, now: float, *, is_reset: bool = False) -> None:
        """End a session because the page's side of it is over."""
        if (session := self._sessions.get(stream_id)) is not None:
            session.is_left, session.is_reset = True, is_reset
            session.channel.close(reason, now=now)

    def _note_end(self, stream_id: int) -> None:
        """Take note that a client of the endpoint inside has ended, and tell the page, or that we know."""
        session = self._sessions.pop(stream_id)
        self._owner.end(session.channel)
        if session.is_reset:
            self._http.abandon(stream_id)
        elif not self._connection.is_over:
            farewell = b"" if session.is_left else close_capsule(SERVER_ENDS, "the relay has ended the session")
            self._http.respond(stream_id, content=farewell, end=True)
