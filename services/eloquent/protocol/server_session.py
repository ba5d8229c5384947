"""The server's side of a session: it hears requests, and is given the tokens of their answers.

Rules of this file
- A stream is served at most once. The last ones that are over are remembered, and every lower id counts as over too,
  so that a late or repeated request never starts anything again.
- A request is the scheme's name, a token, and then one or more that make the request together. It takes as much memory as
  the limits say, and each of its tokens has to come in time. An answer is sent by the scheme that the request names, if the
  server offers it.
- `Cancel` asks for the stream not to be here any more, so it is confirmed even for a stream that never was. A stream
  that ends here for another reason is cancelled as well, and again whenever the client asks about it.
- Who gives the session up says so (`Close`): the way to the client may still be open.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from eloquent.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from eloquent.protocol.address_token import Address
from eloquent.protocol.congestion import Recent
from eloquent.protocol.contract import (
    PeerLost,
    StreamAccount,
    StreamAcknowledged,
    StreamBroken,
    StreamFinished,
    StreamSender,
    TokenReceived,
)
from eloquent.protocol.controlled import control, leave_path
from eloquent.protocol.datagram import (
    Answer,
    AnswerAck,
    Cancel,
    Cancelled,
    Close,
    Datagram,
    Leave,
    Open,
    Ping,
    Pong,
    Request,
    RequestAck,
)
from eloquent.protocol.frames import MAX_TOKEN
from eloquent.protocol.limits import ByteBudget, EndpointLimits
from eloquent.protocol.receiver import Receiver
from eloquent.protocol.session_base import SchemeLookup, SessionBase, Tally, remember
from eloquent.protocol.session_events import (
    ServerEvent,
    SessionLost,
    StreamCancelled,
    StreamDelivered,
    StreamFailed,
    StreamRequested,
)

MAX_SCHEME_NAME = 64  # bytes
_LEAST = 2  # parts of a request: the name of a scheme, and what is asked, which may be empty if it is one part
_PART_COST = 64  # bytes that a part takes beside its content
_NO_REQUEST = "a request is the name of a scheme, and what is asked"


@dataclass(slots=True)
class _Stream:
    """A request that is not whole yet, or its answer.

    Attributes:
        got_on_at: Seconds; when its first datagram came, or the last of its parts that is whole.
        request: Receives the request.
        held: Bytes that the session's budget counts for it.
        parts: Of the request: the scheme's name, and what of the request itself has come.
        length: Bytes of the request itself that have come.
        answer: Sends the answer, from the moment when the request is whole.
    """

    got_on_at: float
    request: Receiver
    held: int = 0
    parts: list[bytes] = field(default_factory=list)
    length: int = 0
    answer: StreamSender | None = None


@dataclass(frozen=True, slots=True)
class _Gone:
    account: StreamAccount
    delivered: bool
    reason: str


class ServerSession(SessionBase):
    """Answer the requests of one client, any number at a time.

    Args:
        connection_id: The 8 bytes that the client chose.
        scheme_of: Finds the schemes that the server offers.
        address: The client's host and port.
        limits: What the client may take up.
        requests: The budget, in bytes, of all sessions' unfinished requests.
        tally: As for `SessionBase`.
        wire_size: Tells how many bytes of UDP payload a datagram takes, where more goes out than the datagram itself.
        least_rtt: As for `CongestionController`.

    Attributes:
        address: The same.
    """

    def __init__(
        self,
        connection_id: bytes,
        scheme_of: SchemeLookup,
        *,
        address: Address,
        limits: EndpointLimits | None = None,
        requests: ByteBudget | None = None,
        tally: Tally | None = None,
        wire_size: Callable[[bytes], int] = len,
        least_rtt: Recent | None = None,
    ) -> None:
        super().__init__(connection_id, tally, least_rtt)
        self._wire_size = wire_size
        self.address = address
        self._scheme_of = scheme_of
        self._limits = limits if limits is not None else EndpointLimits()
        self._budget = ByteBudget(self._limits.requests_per_session, requests)
        self._streams: dict[int, _Stream] = {}
        self._gone: OrderedDict[int, _Gone] = OrderedDict()
        self._floor = 0  # ids below it that are not open are over
        self._idle_since: float | None = None  # seconds; None while a stream is open, or before anything came
        self._events: deque[ServerEvent] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether no stream is open."""
        return not self._streams

    def next_event(self) -> ServerEvent | None:
        """Return the oldest event that was not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def send_token(self, stream_id: int, token: bytes, *, now: float) -> None:
        """Queue one token of an answer; swallowed if the stream was cancelled or has failed (an event said so).

        Args:
            stream_id: The stream.
            token: At most 1 MiB.
            now: Seconds.

        Raises:
            LocalProtocolError: No such stream was requested, it was finished, the token is too long, or the backlog is at
                its limit (4096).
        """
        if (answer := self._answer(stream_id)) is not None:
            answer.send_token(token, now=now)
            self._touched[stream_id] = None

    def finish(self, stream_id: int, *, trailer: bytes = b"", now: float) -> None:
        """End an answer; `StreamDelivered`, `StreamCancelled` or `StreamFailed` follows.

        Args:
            stream_id: The stream.
            trailer: At most 512 bytes, delivered with the end.
            now: Seconds.

        Raises:
            LocalProtocolError: No such stream was requested, it was finished, or the trailer is too long.
        """
        if (answer := self._answer(stream_id)) is not None:
            answer.finish(trailer=trailer, now=now)
            self._touch(stream_id)

    def backlog(self, stream_id: int) -> int:
        """Return how many tokens of the answer the client has not acknowledged; 0 for a stream that is over."""
        answer = self._answer(stream_id)
        return 0 if answer is None else answer.backlog

    def account(self, stream_id: int) -> StreamAccount:
        """Return what the answer has cost so far; it stays available for some time after the stream is over.

        Raises:
            LocalProtocolError: No such stream was requested, or it is long over.
        """
        if stream_id in self._gone:
            return self._gone[stream_id].account
        answer = self._answer(stream_id)
        if answer is None:
            raise LocalProtocolError(f"stream {stream_id} was forgotten")
        return answer.account

    def close(self, *, now: float) -> None:
        """Drop all streams and tell the client, whose streams fail; no further event follows."""
        if not self._closed:
            self._events.clear()
            self._shut("closed by the server", now)

    def lose(self, reason: str, *, now: float) -> None:
        """Give up all streams, because the client cannot be reached any more; the events tell the reason."""
        if self._closed:
            return
        self._events += [
            StreamFailed(stream_id, reason) for stream_id in self._streams if self._is_requested(stream_id)
        ]
        self._events.append(SessionLost(reason))
        self._shut(reason, now)

    def handle_timer(self, *, now: float) -> None:
        """Repeat what is due, or give up."""
        timer = self.get_timer()
        if timer is None or now < timer:
            return
        if self._session_ends <= now:
            silence = f"nothing came from the client for {self._limits.silence:g} seconds"
            self.lose(silence if self._streams else "idle", now=now)
            return
        self._handle_stream_timers(now)

    def _handle_stream_timer(self, stream_id: int, now: float) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if stream.answer is None:
            self._refuse(stream_id, "the request did not arrive whole in time", now)
        else:
            stream.answer.handle_timer(now=now)
            self._take_answer_events(stream_id, stream.answer, now)

    @property
    def _session_ends(self) -> float:
        if self._idle_since is not None:
            return self._idle_since + self._limits.idle
        return float("inf") if self._last_heard is None else self._last_heard + self._limits.silence

    def _timers(self) -> list[float]:
        if self._last_heard is None:
            return []
        return [self._session_ends]

    def _stream_timer(self, stream_id: int) -> float | None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return None
        return stream.got_on_at + self._limits.request_time if stream.answer is None else stream.answer.get_timer()

    def _stream_datagrams(self, stream_id: int, now: float) -> list[bytes]:
        stream = self._streams.get(stream_id)
        if stream is None:
            return []
        datagrams = [self._frame(RequestAck(stream_id, ack)) for ack in stream.request.datagrams_to_send(now=now)]
        if (answer := stream.answer) is not None:
            for payload in answer.datagrams_to_send(now=now):
                datagrams.append(self._frame(Answer(stream_id, payload)))
                answer.account.wire_bytes += self._wire_size(datagrams[-1]) - len(payload)
            self._note_held(stream_id, answer)
        return datagrams

    def _handle(self, datagram: Datagram, now: float) -> None:
        match datagram.body:
            case AnswerAck(stream_id, payload):
                self._take_answer_ack(stream_id, payload, now)
            case Open(_, stream_id, payload) | Request(stream_id, payload):
                self._take_request(stream_id, payload, now)
            case Cancel(stream_id):
                self._cancel(stream_id, now)
            case Ping(streams):
                self._control.append(Pong(datagram.number))
                self._control += [self._cancelled(stream_id) for stream_id in streams if stream_id not in self._streams]
            case Leave():
                self._leave()
            case _:
                raise RemoteProtocolError("a client sent what only a server says")

    def _is_requested(self, stream_id: int) -> bool:
        """Return whether the owner was told of the stream, and not yet of its end."""
        return stream_id in self._streams and self._streams[stream_id].answer is not None

    def _is_over(self, stream_id: int) -> bool:
        return stream_id not in self._streams and (stream_id in self._gone or stream_id < self._floor)

    def _answer(self, stream_id: int) -> StreamSender | None:
        """Return the sender of an answer, or None if the stream is over."""
        stream = self._streams.get(stream_id)
        if stream is None and self._is_over(stream_id):
            return None
        if stream is None or stream.answer is None:
            raise LocalProtocolError(f"nobody requested stream {stream_id}")
        return stream.answer

    def _cancelled(self, stream_id: int) -> Cancelled:
        gone = self._gone.get(stream_id)
        return Cancelled(stream_id, "the stream is not open" if gone is None else gone.reason)

    def _take_request(self, stream_id: int, payload: bytes, now: float) -> None:
        if self._is_over(stream_id):
            if stream_id not in self._gone or not self._gone[stream_id].delivered:
                self._control.append(self._cancelled(stream_id))
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            if len(self._streams) >= self._limits.streams_per_session:
                limit = self._limits.streams_per_session
                self._control.append(Cancelled(stream_id, f"the session has {limit} streams open, which is its limit"))
                return
            stream = _Stream(now, Receiver(max_token=min(self._limits.request, MAX_TOKEN)))
        elif stream.answer is not None:
            stream.request.receive_datagram(payload, now=now)  # a repetition, which wants its acknowledgement
            self._touch(stream_id)
            return
        stream.request.receive_datagram(payload, now=now)
        self._streams[stream_id] = stream
        self._idle_since = None
        self._touch(stream_id)
        self._take_request_events(stream_id, stream, now)

    def _take_request_events(self, stream_id: int, stream: _Stream, now: float) -> None:
        while (event := stream.request.next_event()) is not None:
            match event:
                case TokenReceived(data=data):
                    if (reason := self._add_part(stream, data, now)) is not None:
                        self._refuse(stream_id, reason, now)
                        return
                case StreamFinished():
                    self._begin(stream_id, stream, now)
                    return
                case StreamBroken(reason):
                    self._refuse(stream_id, f"the request is refused: {reason}", now)
                    return
        held = stream.request.held + stream.length + _PART_COST * len(stream.parts)
        if self._budget.take(held - stream.held):
            stream.held = held
        else:
            self._refuse(stream_id, "the server has no room for more unfinished requests", now)

    def _add_part(self, stream: _Stream, part: bytes, now: float) -> str | None:
        """Keep a part of a request, and return why that cannot be, or None."""
        if not stream.parts:
            if len(part) > MAX_SCHEME_NAME:
                return _NO_REQUEST
        elif len(stream.parts) > 1 and not (part and stream.parts[-1]):
            return "a request of several parts has an empty one"
        else:
            stream.length += len(part)
        stream.parts.append(part)
        stream.got_on_at = now
        return (
            f"the request is longer than {self._limits.request} bytes" if stream.length > self._limits.request else None
        )

    def _begin(self, stream_id: int, stream: _Stream, now: float) -> None:
        if len(stream.parts) < _LEAST:
            self._refuse(stream_id, _NO_REQUEST, now)
            return
        name, *parts = stream.parts
        try:
            scheme = self._scheme_of(name.decode())
        except (UnicodeDecodeError, ConfigurationError):
            self._refuse(stream_id, "the scheme that the request names is not offered", now)
            return
        if scheme.kind != "datagram":  # the kernel's, or the simulator's
            self._refuse(stream_id, f"the scheme '{scheme.name}' is not carried by datagrams", now)
            return
        self._release(stream)
        sender = scheme.make_sender(budget=self._limits.payload, rtt=self._rtt)
        if self._limits.congestion_control:
            stream.answer = control(sender, self._congestion, wire_size=self._wire_size, grid=self._limits.grid)
        else:
            stream.answer = sender
        stream.parts = []
        self._events.append(StreamRequested(stream_id, scheme.name, b"".join(parts)))

    def _release(self, stream: _Stream) -> None:
        self._budget.take(-stream.held)
        stream.held = 0
        leave_path(stream.answer)

    def _refuse(self, stream_id: int, reason: str, now: float) -> None:
        self._forget(stream_id, now, reason=reason)
        self._control.append(Cancelled(stream_id, reason))

    def _take_answer_ack(self, stream_id: int, payload: bytes, now: float) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or stream.answer is None:
            if not self._is_over(stream_id):
                self._control.append(self._cancelled(stream_id))
            return
        stream.answer.receive_datagram(payload, now=now)
        self._take_answer_events(stream_id, stream.answer, now)
        self._touch(stream_id)

    def _take_answer_events(self, stream_id: int, answer: StreamSender, now: float) -> None:
        while (event := answer.next_event()) is not None:
            match event:
                case StreamAcknowledged():
                    self._events.append(StreamDelivered(stream_id, answer.account))
                    self._forget(stream_id, now, delivered=True)
                case PeerLost(reason):
                    self._events.append(StreamFailed(stream_id, reason))
                    self._refuse(stream_id, f"the server gave the stream up: {reason}", now)

    def _cancel(self, stream_id: int, now: float) -> None:
        self._control.append(Cancelled(stream_id))
        if self._is_requested(stream_id):
            self._events.append(StreamCancelled(stream_id))
        if not self._is_over(stream_id):
            self._forget(stream_id, now)

    def _forget(self, stream_id: int, now: float, *, delivered: bool = False, reason: str = "") -> None:
        stream = self._streams.pop(stream_id, None)
        self._forget_timers(stream_id)
        if stream is not None:
            self._release(stream)
        answer = None if stream is None else stream.answer
        gone = _Gone(StreamAccount() if answer is None else answer.account, delivered, reason)
        self._floor = max(self._floor, remember(self._gone, stream_id, gone))
        if not self._streams and self._idle_since is None:
            self._idle_since = now

    def _leave(self) -> None:
        self._events += [StreamCancelled(stream_id) for stream_id in self._streams if self._is_requested(stream_id)]
        self._events.append(SessionLost("closed by the client"))
        self._drop_streams()

    def _shut(self, reason: str, now: float) -> None:  # noqa: ARG002 - every step of a session is told the time
        self._control.append(Close(self._highest, reason))
        self._drop_streams()

    def _drop_streams(self) -> None:
        self._closed = True
        for stream_id, stream in self._streams.items():
            self._release(stream)
            account = StreamAccount() if stream.answer is None else stream.answer.account
            remember(self._gone, stream_id, _Gone(account, delivered=False, reason=""))
        self._streams.clear()
