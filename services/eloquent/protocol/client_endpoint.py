"""The client's endpoint: every stream to one server over one socket, on whichever session carries it.

Rules of this file
- One session a scheme, so that the round trips that one scheme measures are not another's. A session that is lost, left or
  refused is never used again: the next stream begins a new one, with a new connection id.
- A stream of which a server says that it did nothing, because it does not have the session at this address (it was
  restarted, or the client's address has changed), is asked again on a new session, once.
- The address token that one session got serves all.
- What comes for a session that this client has left is answered by saying so again.
- Where the network says that nobody listens and nothing else is heard, a stream fails 2 s after it was asked. Silence alone
  is waited out (40 s).
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from eloquent.errors import LocalProtocolError, RemoteProtocolError
from eloquent.protocol.client_session import ClientSession
from eloquent.protocol.datagram import (
    CLIENT_KINDS,
    PAYLOAD_BUDGET,
    Answer,
    Datagram,
    Leave,
    Pong,
    RequestAck,
    decode_datagram,
    encode_datagram,
)
from eloquent.protocol.frames import ReaderState
from eloquent.protocol.session_base import SchemeLookup, Tally
from eloquent.protocol.session_events import ClientEvent, RequestState, StreamEnded, StreamFailed

REFUSED_LIMIT = 2.0  # seconds for which the network says that nobody listens, and nobody else says anything
MAX_LEFT = 64  # connection ids of one's own that are remembered when their sessions are over


@dataclass(slots=True)
class _Stream:
    """Where a stream is.

    Attributes:
        session: The session that carries it.
        scheme: Name of its scheme.
        asked_at: Seconds.
        moved: Whether it was asked again.
    """

    session: ClientSession
    scheme: str
    asked_at: float
    moved: bool = False


class ClientEndpoint:
    """Ask one server for answers, any number at a time.

    Args:
        scheme_of: Finds the schemes.
        new_id: Draws 8 random bytes, never the same again.
        payload: Bytes that the payload of a stream takes in one datagram; fewer where something is put around datagrams.
        tally: Where datagrams are counted.

    Attributes:
        heard_at: Seconds; when the server was last heard of, or None.
    """

    def __init__(
        self,
        scheme_of: SchemeLookup,
        *,
        new_id: Callable[[], bytes],
        payload: int = PAYLOAD_BUDGET,
        tally: Tally | None = None,
    ) -> None:
        self.tally = Tally() if tally is None else tally
        self.heard_at: float | None = None
        self._scheme_of = scheme_of
        self._new_id = new_id
        self._payload = payload
        self._token: bytes | None = None
        self._sessions: dict[bytes, ClientSession] = {}
        self._current: dict[str, ClientSession] = {}  # by scheme, for new streams
        self._spare: ClientSession | None = None  # made to say hello, for the first scheme that needs one
        self._left: OrderedDict[bytes, None] = OrderedDict()
        self._streams: dict[int, _Stream] = {}
        self._next_stream = 0
        self._refused_from: float | None = None  # seconds; since when nobody listens
        self._refused_at = 0.0  # seconds; when that was last said
        self._replies: list[bytes] = []
        self._events: deque[ClientEvent] = deque()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the endpoint was closed."""
        return self._closed

    @property
    def is_idle(self) -> bool:
        """Whether nothing is awaited from the server."""
        return all(session.closed or session.is_idle for session in self._sessions.values())

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        return sum(not session.closed for session in self._sessions.values())

    @property
    def rtt(self) -> float | None:
        """Seconds; the smoothed round-trip time of the newest session that knows it, or None."""
        known = (rtt for session in reversed(self._sessions.values()) if (rtt := session.rtt) is not None)
        return next(known, None)

    def say_hello(self, *, now: float) -> None:
        """Ask the server for a sign of life and an address token, so that the first stream need not."""
        if self._token is None and not self._sessions:
            self._spare = self._make_session()
            self._spare.say_hello(now=now)

    def open_stream(self, request: bytes, *, scheme: str, now: float) -> int:
        """Send a request; its answer comes as `StreamToken` events, then exactly one `StreamEnded` or `StreamFailed`.

        Args:
            request: Of any length; the server has a limit.
            scheme: Name of the scheme that carries the answer.
            now: Seconds.

        Returns:
            The stream's id.

        Raises:
            ConfigurationError: There is no such scheme, or it is not carried by datagrams.
            LocalProtocolError: The endpoint is closed, or too many streams are open.
        """
        if self._closed:
            raise LocalProtocolError("the endpoint is closed")
        session = self._session_of(scheme)
        session.open_stream(self._next_stream, request, scheme=scheme, now=now)
        stream_id = self._next_stream
        self._next_stream += 1
        self._streams[stream_id] = _Stream(session, scheme, now)
        return stream_id

    def cancel_stream(self, stream_id: int, *, now: float) -> None:
        """Give up a stream: no further event of it follows. Nothing happens if it is already over."""
        self._events = deque(event for event in self._events if getattr(event, "stream_id", None) != stream_id)
        if (stream := self._streams.pop(stream_id, None)) is not None:
            stream.session.cancel_stream(stream_id, now=now)

    def pause(self, stream_id: int) -> None:
        """Hold back the events of a stream, whose reader is slow; the server is slowed down as well."""
        if (stream := self._streams.get(stream_id)) is not None:
            stream.session.pause(stream_id)

    def resume(self, stream_id: int) -> None:
        """Go on with the events of a stream."""
        if (stream := self._streams.get(stream_id)) is not None:
            stream.session.resume(stream_id)

    def request_state(self, stream_id: int) -> RequestState:
        """Return what is known of the request of a stream."""
        stream = self._streams.get(stream_id)
        return RequestState.TAKEN if stream is None else stream.session.request_state(stream_id)

    def report(self, stream_id: int, state: ReaderState, *, now: float) -> None:
        """Tell the server how the reader of a stream fares (`Receiver.report`); nothing happens if it is over."""
        if (stream := self._streams.get(stream_id)) is not None:
            stream.session.report(stream_id, state, now=now)

    def take_token(self, token: bytes, *, now: float) -> None:
        """Take an address token that the server gave in another way than by `Retry`; it has been heard of with that."""
        self._token = token
        self.heard_at, self._refused_from = now, None
        for session in self._sessions.values():
            session.offer_token(token, now=now)

    def lose_sessions(self, reason: str, *, renew: bool) -> None:
        """Give up every session, because the server does not have it any more.

        Args:
            reason: One sentence, with which their streams fail.
            renew: Whether streams of which the server has not taken the whole request are asked again, once.
        """
        for session in self._sessions.values():
            session.lose(reason, renew=renew)

    def path_refused(self, *, now: float) -> None:
        """Take the network's word that nobody listens at the server's address (ICMP)."""
        self._refused_at = now
        if self._refused_from is None:
            self._refused_from = now

    def close(self, *, now: float) -> None:
        """Give up all streams and tell the server; no further event follows."""
        self._closed = True
        for session in self._sessions.values():
            session.close(now=now)
        self._streams.clear()
        self._events.clear()

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take one datagram from the server.

        Raises:
            RemoteProtocolError: It is malformed, of another's session, or breaks the protocol; drop it and go on.
        """
        datagram = decode_datagram(data)
        if isinstance(datagram.body, CLIENT_KINDS):
            raise RemoteProtocolError("a server sent what only a client says")
        session = self._sessions.get(datagram.connection_id)
        if session is not None and not session.closed:
            session.receive(datagram, now=now)
            self._take_token(session, now)
        elif datagram.connection_id in self._left:
            if isinstance(datagram.body, Answer | RequestAck | Pong):
                reply = Datagram(datagram.connection_id, datagram.number, Leave("the client has left"))
                self._replies.append(encode_datagram(reply))
        else:
            raise RemoteProtocolError("a datagram of another's session")
        self.heard_at, self._refused_from = now, None

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Hand over what is to be sent now, in order."""
        datagrams, self._replies = self._replies, []
        for session in list(self._sessions.values()):
            for stream_id, request in session.take_unheard().items():
                self._ask_again(stream_id, request, now)
        spent: list[ClientSession] = []
        for session in self._sessions.values():
            datagrams += session.datagrams_to_send(now=now)
            if session.is_spent:
                spent.append(session)
        for session in spent:
            del self._sessions[session.connection_id]
            self._left[session.connection_id] = None
            if len(self._left) > MAX_LEFT:
                self._left.popitem(last=False)
        return datagrams

    def next_event(self) -> ClientEvent | None:
        """Return the oldest event that was not yet taken, or None; a token counts as read by that."""
        if self._events:
            return self._events.popleft()
        for session in self._sessions.values():
            if (event := session.next_event()) is not None:
                if isinstance(event, StreamEnded | StreamFailed):
                    self._streams.pop(event.stream_id, None)
                return event
        return None

    def get_timer(self) -> float | None:
        """Return the instant at which `handle_timer` wants to be called, or None."""
        timers = [due for session in self._sessions.values() if (due := session.get_timer()) is not None]
        if self._refused_from is not None:
            timers += [due for _, due in self._refusals()]
        return min(timers, default=None)

    def handle_timer(self, *, now: float) -> None:
        """Do what is due at `now`."""
        for stream_id, due in self._refusals():
            if due <= now:
                state = self.request_state(stream_id)
                self.cancel_stream(stream_id, now=now)
                self._events.append(StreamFailed(stream_id, "nobody listens at the server's address", state))
        for session in self._sessions.values():
            session.handle_timer(now=now)

    def _refusals(self) -> list[tuple[int, float]]:
        """Return the streams since which the network has said that nobody listens, and when they fail of it."""
        since, said_at = self._refused_from, self._refused_at
        if since is None:
            return []
        streams = self._streams.items()
        return [
            (key, max(stream.asked_at, since) + REFUSED_LIMIT) for key, stream in streams if stream.asked_at <= said_at
        ]

    def _session_of(self, scheme: str) -> ClientSession:
        session = self._current.get(scheme)
        if session is None or session.closed:
            if self._spare is None or self._spare.closed:
                self._spare = self._make_session()
            session, self._spare = self._spare, None
            self._current[scheme] = session
        return session

    def _make_session(self) -> ClientSession:
        session = ClientSession(
            self._new_id(), self._scheme_of, token=self._token, payload=self._payload, tally=self.tally
        )
        self._sessions[session.connection_id] = session
        return session

    def _take_token(self, session: ClientSession, now: float) -> None:
        if session.token is not None and session.token != self._token:
            self._token = session.token
            for other in self._sessions.values():
                other.offer_token(self._token, now=now)

    def _ask_again(self, stream_id: int, request: bytes, now: float) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        failure = "the server twice did not have the session"
        if not stream.moved:
            stream.moved = True
            stream.session = self._session_of(stream.scheme)
            try:
                stream.session.open_stream(stream_id, request, scheme=stream.scheme, now=now)
            except LocalProtocolError as error:
                failure = str(error)
            else:
                return
        del self._streams[stream_id]
        self._events.append(StreamFailed(stream_id, failure, RequestState.UNFINISHED))
