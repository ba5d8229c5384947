"""The client's side of a session: it opens streams, and is told their tokens and how they ended.

Rules of this file
- A request is itself a stream of two tokens, the scheme's name and the request, sent by retransmission. Its datagrams
  are of kind `Open` until the server has spoken about a stream of this busy period, and of kind `Request` after that:
  a server that has lost the session may begin a new one for the first kind only, and answers `Close` to all others.
  So nothing that was half received goes on from a restarted server as if it were whole.
- A busy period begins when a stream is opened while none was. A `Close` counts only if it answers a datagram of the
  present period; an older one is a stray.
- A stream that is cancelled or broken says nothing more to its owner; `Cancel` is repeated until the server agrees.
- While anything is awaited and the server is silent, it is asked for a sign of life, and after 40 s given up.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from eloquent.errors import LocalProtocolError, RemoteProtocolError
from eloquent.protocol.contract import (
    PeerLost,
    StateMachine,
    StreamBroken,
    StreamDelivered,
    StreamFinished,
    StreamSender,
    TokenReceived,
)
from eloquent.protocol.datagram import Answer, Cancel, Close, Datagram, Open, Ping, Pong, Request
from eloquent.protocol.frames import ReaderState
from eloquent.protocol.receiver import Receiver
from eloquent.protocol.scheme import Scheme
from eloquent.protocol.senders.retransmit import RetransmitSender
from eloquent.protocol.session_base import MAX_STREAMS, SILENCE_LIMIT, SessionBase, Tally, remember
from eloquent.protocol.session_events import SessionLost, StreamEnded, StreamFailed, StreamToken

PING_INTERVAL = 2.0  # seconds of silence between signs of life; also tells soon of a server that was restarted
REQUEST_MAX_TIMEOUT = 2.0  # seconds between repetitions of a request: a person waits for the answer
CANCEL_TIMEOUT = 0.200  # seconds to the first repetition of Cancel, doubled at each
CANCEL_MAX_TIMEOUT = 2.0  # seconds


@dataclass(slots=True)
class _Stream:
    request: StreamSender | None  # None once the server has it
    answer: StateMachine


@dataclass(slots=True)
class _Repetition:
    due: float  # seconds
    interval: float


class ClientSession(SessionBase):
    """Ask for answers and receive them, any number at a time.

    Args:
        connection_id: 8 random bytes, never used again.
        scheme_of: Returns the scheme of a name, or raises ConfigurationError.
        tally: As for `SessionBase`.
    """

    def __init__(self, connection_id: bytes, scheme_of: Callable[[str], Scheme], tally: Tally | None = None) -> None:
        super().__init__(connection_id, tally)
        self._scheme_of = scheme_of
        self._streams: dict[int, _Stream] = {}
        self._gone: OrderedDict[int, bytes | None] = OrderedDict()  # the last acknowledgement, if it ended well
        self._cancelling: dict[int, _Repetition] = {}
        self._next_stream = 0
        self._period_start = 0  # packet number
        self._established = False  # the server has spoken in this busy period
        self._last_sign = 0.0  # seconds; of life or of our asking for it

    def open_stream(self, request: bytes, *, scheme: str, now: float) -> int:
        """Send a request; its answer comes as `StreamToken` events, then exactly one `StreamEnded` or `StreamFailed`.

        Args:
            request: At most 1 MiB.
            scheme: Name of the scheme that carries the answer.
            now: Seconds.

        Returns:
            The stream's id.

        Raises:
            ConfigurationError: There is no such scheme, or it is not carried by datagrams.
            LocalProtocolError: The session is closed, the request is too long, or too many streams are open.
        """
        if self._closed:
            raise LocalProtocolError("the session is closed")
        if len(self._streams) + len(self._cancelling) >= MAX_STREAMS:
            raise LocalProtocolError(f"a session has at most {MAX_STREAMS} streams at once")
        answer = self._scheme_of(scheme).make_receiver()
        sender = RetransmitSender(rtt=self._rtt, max_timeout=REQUEST_MAX_TIMEOUT)
        sender.send_token(scheme.encode(), now=now)
        sender.send_token(request, now=now)
        sender.finish(now=now)
        if not self._busy:
            self._period_start = self._number
            self._established = False
            self._last_heard = self._last_sign = now
        stream_id = self._next_stream
        self._next_stream += 1
        self._streams[stream_id] = _Stream(sender, answer)
        self._touch(stream_id)
        return stream_id

    def cancel_stream(self, stream_id: int, *, now: float) -> None:
        """Give up a stream: no further event of it follows. Nothing happens if it is already over."""
        if stream_id in self._streams:
            self._events = deque(event for event in self._events if getattr(event, "stream_id", None) != stream_id)
            self._drop(stream_id, now)

    def report(self, stream_id: int, state: ReaderState, *, now: float) -> None:
        """Tell the server how the reader of a stream fares (`Receiver.report`).

        Nothing happens if the stream is over, or if its scheme has a receiver of its own that cannot tell.
        """
        stream = self._streams.get(stream_id)
        if stream is not None and isinstance(stream.answer, Receiver):
            stream.answer.report(state, now=now)
            self._touch(stream_id)

    def close(self, *, now: float) -> None:  # noqa: ARG002 - every call of a session is told the time
        """Give up all streams and tell the server; no further event follows."""
        if not self._closed:
            self._control.append(Close(self._highest, "closed by the client"))
            self._events.clear()
            self._shut()

    def handle_timer(self, *, now: float) -> None:
        """Repeat requests and cancellations, ask for a sign of life, or give up."""
        timer = self.get_timer()
        if timer is None or now < timer:
            return
        if self._last_heard is not None and now >= self._last_heard + SILENCE_LIMIT:
            self._lose(f"nothing came from the server for {SILENCE_LIMIT:g} seconds")
            return
        for stream_id, stream in list(self._streams.items()):
            if stream.request is not None and (due := stream.request.get_timer()) is not None and due <= now:
                stream.request.handle_timer(now=now)
                self._take_request_events(stream_id, stream, now)
                self._touch(stream_id)
            if (due := stream.answer.get_timer()) is not None and due <= now:
                stream.answer.handle_timer(now=now)
                self._touch(stream_id)
        for stream_id, repetition in self._cancelling.items():
            if repetition.due <= now:
                self._control.append(Cancel(stream_id))
                repetition.interval = min(2 * repetition.interval, CANCEL_MAX_TIMEOUT)
                repetition.due = now + repetition.interval
        if self._last_sign + PING_INTERVAL <= now:
            self._control.append(Ping())
            self._last_sign = now

    @property
    def _busy(self) -> bool:
        return bool(self._streams or self._cancelling)

    def _timers(self) -> list[float]:
        if not self._busy or self._last_heard is None:
            return []
        timers = [self._last_heard + SILENCE_LIMIT, self._last_sign + PING_INTERVAL]
        timers += [repetition.due for repetition in self._cancelling.values()]
        streams = self._streams.values()
        timers += [due for stream in streams if stream.request and (due := stream.request.get_timer()) is not None]
        timers += [due for stream in streams if (due := stream.answer.get_timer()) is not None]
        return timers

    def _stream_datagrams(self, stream_id: int, now: float) -> list[bytes]:
        stream = self._streams.get(stream_id)
        if stream is None:
            return []
        kind = Request if self._established else Open
        requests = [] if stream.request is None else stream.request.datagrams_to_send(now=now)
        datagrams = [self._frame(kind(stream_id, payload)) for payload in requests]
        return datagrams + [self._frame(Answer(stream_id, ack)) for ack in stream.answer.datagrams_to_send(now=now)]

    def _handle(self, datagram: Datagram, now: float) -> None:
        match datagram.body:
            case Request(stream_id, payload):
                self._take_request_ack(stream_id, payload, now)
            case Answer(stream_id, payload):
                self._take_answer(stream_id, payload, now)
            case Cancel(stream_id):
                self._cancelling.pop(stream_id, None)
                if stream_id in self._streams:
                    self._events.append(StreamFailed(stream_id, "the server refused or dropped the stream"))
                    self._forget(stream_id, None)
            case Pong():
                pass
            case Close(number, reason):
                if self._period_start <= number < self._number:
                    self._lose(reason)
            case Open() | Ping():
                raise RemoteProtocolError("a server sent what only a client says")
        self._last_sign = now

    def _take_request_ack(self, stream_id: int, payload: bytes, now: float) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or stream.request is None:
            return
        stream.request.receive_datagram(payload, now=now)
        self._established = True
        self._take_request_events(stream_id, stream, now)
        self._touch(stream_id)

    def _take_request_events(self, stream_id: int, stream: _Stream, now: float) -> None:
        while stream.request is not None and (event := stream.request.next_event()) is not None:
            match event:
                case StreamDelivered():
                    stream.request = None
                case PeerLost(reason):
                    self._fail(stream_id, reason, now)

    def _take_answer(self, stream_id: int, payload: bytes, now: float) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            if (last_ack := self._gone.get(stream_id)) is not None:
                self._control.append(Answer(stream_id, last_ack))
            elif stream_id not in self._cancelling:
                self._control.append(Cancel(stream_id))
            return
        stream.answer.receive_datagram(payload, now=now)
        stream.request = None  # who answers has the request
        self._established = True
        self._touch(stream_id)
        while (event := stream.answer.next_event()) is not None:
            match event:
                case TokenReceived(index, data):
                    self._events.append(StreamToken(stream_id, index, data))
                case StreamFinished(trailer):
                    self._events.append(StreamEnded(stream_id, trailer))
                    self._end(stream_id, stream, now)
                case StreamBroken(reason):
                    self._fail(stream_id, reason, now)

    def _end(self, stream_id: int, stream: _Stream, now: float) -> None:
        acks = stream.answer.datagrams_to_send(now=now)
        self._control += [Answer(stream_id, ack) for ack in acks]
        self._forget(stream_id, acks[-1])

    def _fail(self, stream_id: int, reason: str, now: float) -> None:
        self._events.append(StreamFailed(stream_id, reason))
        self._drop(stream_id, now)

    def _drop(self, stream_id: int, now: float) -> None:
        """Forget a stream that the server may still be sending, and tell it so until it agrees."""
        self._forget(stream_id, None)
        self._control.append(Cancel(stream_id))
        self._cancelling[stream_id] = _Repetition(now + CANCEL_TIMEOUT, CANCEL_TIMEOUT)

    def _forget(self, stream_id: int, last_ack: bytes | None) -> None:
        del self._streams[stream_id]
        remember(self._gone, stream_id, last_ack)

    def _lose(self, reason: str) -> None:
        self._events += [StreamFailed(stream_id, reason) for stream_id in self._streams]
        self._events.append(SessionLost(reason))
        self._shut()

    def _shut(self) -> None:
        self._closed = True
        self._streams.clear()
        self._cancelling.clear()
