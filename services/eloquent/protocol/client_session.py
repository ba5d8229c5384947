"""The client's side of a session: it opens streams, and is told their tokens and how they ended.

Rules of this file
- First the client shows that it receives at its address: it says `Hello`, or an address token that it has, and the server
  answers with a token where it wants one (`Retry`). Both are repeated; nothing of a stream is sent without a token.
- The datagrams of a request are of kind `Open` until the server has spoken about a stream, and of kind `Request` after
  that: a server that has lost the session may begin a new one for the first kind only, and answers `Close` to all others.
  So nothing that was half received goes on from a restarted server as if it were whole. Before the server has spoken,
  nothing else is sent that it would judge: whatever is lost at the beginning, the question lives until the server has been
  silent for 40 s.
- A stream that is cancelled says nothing more to its owner; `Cancel` is repeated until the server agrees.
- While anything is awaited and the server is silent, it is asked for a sign of life, and after 40 s given up. Streams of
  which nothing has been heard are asked about, so that one which the server has dropped does not wait for ever.
"""

from collections import OrderedDict, deque

from eloquent.errors import LocalProtocolError, RemoteProtocolError
from eloquent.protocol.client_stream import REQUEST_MAX_TIMEOUT, ClientStream
from eloquent.protocol.controlled import leave_path
from eloquent.protocol.datagram import (
    ADDRESS_TOKEN_SIZE,
    MAX_ASKED,
    PAYLOAD_BUDGET,
    Answer,
    AnswerAck,
    Cancel,
    Cancelled,
    Close,
    Datagram,
    Hello,
    Leave,
    Open,
    Ping,
    Pong,
    Request,
    RequestAck,
    Retry,
)
from eloquent.protocol.frames import ReaderState
from eloquent.protocol.receiver import Receiver
from eloquent.protocol.repetition import Repetition
from eloquent.protocol.session_base import SILENCE_LIMIT, SchemeLookup, SessionBase, Tally, remember
from eloquent.protocol.session_events import ClientEvent, RequestState, SessionLost, StreamToken

MAX_STREAMS = 1024  # open at once in one session; more than one client ever reads, and than one edge carries on a core
HELLO_TIMEOUT = 0.5  # seconds to the first repetition of Hello, doubled at each
REOPEN_INTERVAL = 1.0  # seconds between two requests that are sent anew at once because a token was refused
# Seconds of silence between signs of life, in turn: they tell of a moved client or a restarted server in 2 to 3 s. They differ, or
# they would all come as long before a NAT forgets an address as each other.
PING_INTERVALS = (1.0, 0.7, 0.9, 0.6, 0.8)
ASK_INTERVAL = 5.0  # seconds of silence of one stream after which the server is asked whether it still has it
CANCEL_TIMEOUT = 0.200  # seconds to the first repetition of Cancel, doubled at each
CANCEL_MAX_TIMEOUT = 2.0  # seconds
IDLE_LIMIT = (
    30.0  # seconds without a stream after which a client leaves: before its server or a NAT forgets the session
)


class ClientSession(SessionBase):
    """Ask for answers and receive them, any number at a time.

    Args:
        connection_id: 8 random bytes, never used again.
        scheme_of: Finds the schemes.
        token: What an earlier session's server gave for this client's address.
        payload: Bytes that the payload of a stream takes in one datagram.
        tally: As for `SessionBase`.

    Attributes:
        token: The address token, or None where there is none yet.
    """

    def __init__(
        self,
        connection_id: bytes,
        scheme_of: SchemeLookup,
        *,
        token: bytes | None = None,
        payload: int = PAYLOAD_BUDGET,
        tally: Tally | None = None,
    ) -> None:
        super().__init__(connection_id, tally)
        self.token = token
        self._request_budget = payload - ADDRESS_TOKEN_SIZE  # the room in `Open`
        self._scheme_of = scheme_of
        self._streams: dict[int, ClientStream] = {}
        self._unread: dict[int, ClientStream] = {}  # over, but with events for the reader
        self._readable: dict[int, None] = {}  # streams that may have events
        self._paused: set[int] = set()
        self._gone: OrderedDict[int, bytes | None] = OrderedDict()  # the last acknowledgement, if it ended well
        self._unheard: dict[int, bytes] = {}
        self._cancelling: dict[int, Repetition] = {}
        self._hello: Repetition | None = None
        self._opened = False  # the server may have the session
        self._established = False  # the server has spoken about a stream
        self._reopened_at = float("-inf")  # seconds
        self._asked_at = 0.0  # seconds; of the last question for silent streams
        self._pings = 0
        self._last_sign = 0.0  # seconds; of life or of our asking for it
        self._idle_since: float | None = None  # seconds
        self._events: deque[ClientEvent] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is awaited from the server."""
        return not (self._streams or self._cancelling or self._hello)

    @property
    def is_spent(self) -> bool:
        """Whether the session is closed and nothing of it is left to read."""
        return self._closed and not (self._unread or self._events)

    def say_hello(self, *, now: float) -> None:
        """Ask for an address token, so that the first stream need not."""
        if self.token is None and self._hello is None:
            self._await_server(now)
            self._control.append(Hello())
            self._hello = Repetition(now + HELLO_TIMEOUT, 2 * HELLO_TIMEOUT, REQUEST_MAX_TIMEOUT)

    def open_stream(self, stream_id: int, request: bytes, *, scheme: str, now: float) -> None:
        """Send a request; its answer comes as `StreamToken` events, then exactly one `StreamEnded` or `StreamFailed`.

        Args:
            stream_id: A number that this session has not seen, above those before.
            request: Of any length; the server has a limit.
            scheme: Name of the scheme that carries the answer.
            now: Seconds.

        Raises:
            ConfigurationError: There is no such scheme, or it is not carried by datagrams.
            LocalProtocolError: The session is closed, or too many streams are open.
        """
        if self._closed:
            raise LocalProtocolError("the session is closed")
        if len(self._streams) + len(self._cancelling) >= MAX_STREAMS:
            raise LocalProtocolError(f"a session has at most {MAX_STREAMS} streams at once")
        answer = self._scheme_of(scheme).make_receiver()
        stream = ClientStream(
            stream_id,
            scheme,
            request,
            answer,
            budget=self._request_budget,
            rtt=self._rtt,
            congestion=self._congestion,
            now=now,
        )
        self._await_server(now)
        self._idle_since = None
        self._streams[stream_id] = stream
        self._touch(stream_id)
        self.say_hello(now=now)

    def cancel_stream(self, stream_id: int, *, now: float) -> None:
        """Give up a stream: no further event of it follows. Nothing happens if it is already over."""
        self._events = deque(event for event in self._events if getattr(event, "stream_id", None) != stream_id)
        if stream_id in self._streams:
            self._drop(stream_id, now)
        self._unread.pop(stream_id, None)
        self._discard(stream_id)

    def request_state(self, stream_id: int) -> RequestState:
        """Return what is known of the request of a stream."""
        stream = self._streams.get(stream_id)
        return RequestState.TAKEN if stream is None or stream.request is None else RequestState.UNFINISHED

    def pause(self, stream_id: int) -> None:
        """Hold back the events of a stream, whose reader is slow; the server is slowed down as well."""
        if stream_id in self._streams or stream_id in self._unread:
            self._paused.add(stream_id)

    def resume(self, stream_id: int) -> None:
        """Go on with the events of a stream."""
        if stream_id in self._paused:
            self._paused.discard(stream_id)
            self._readable[stream_id] = None

    def report(self, stream_id: int, state: ReaderState, *, now: float) -> None:
        """Tell the server how the reader of a stream fares (`Receiver.report`).

        Nothing happens if the stream is over, or if its scheme has a receiver of its own that cannot tell.
        """
        stream = self._streams.get(stream_id)
        if stream is not None and isinstance(stream.answer, Receiver):
            stream.answer.report(state, now=now)
            self._touch(stream_id)

    def offer_token(self, token: bytes, *, now: float) -> None:
        """Take an address token that came to another session of this client."""
        if self.token is None:
            self._take_token(token, now)

    def take_unheard(self) -> dict[int, bytes]:
        """Return the streams of which the server said that it did nothing when it ended the session, and their requests, once."""
        if not self._unheard:
            return {}
        unheard, self._unheard = self._unheard, {}
        return unheard

    def lose(self, reason: str, *, renew: bool) -> None:
        """Give up all streams, because the server cannot be reached any more.

        Args:
            reason: One sentence.
            renew: Whether streams of which the server has not taken the whole request are left to `take_unheard`.
        """
        if self._closed:
            return
        if renew:
            self._unheard = {
                stream_id: stream.body for stream_id, stream in self._streams.items() if stream.request is not None
            }
            for stream_id in self._unheard:
                del self._streams[stream_id]
                self._forget_timers(stream_id)
        for stream_id in list(self._streams):
            self._end(stream_id, failure=reason)
        self._events.append(SessionLost(reason))
        self._closed = True
        self._cancelling.clear()

    def close(self, *, now: float) -> None:  # noqa: ARG002 - every call of a session is told the time
        """Give up all streams and tell the server; no further event follows."""
        self._unread.clear()
        self._events.clear()
        if not self._closed:
            self._shut("closed by the client")

    def next_event(self) -> ClientEvent | None:
        """Return the oldest event that was not yet taken, or None; a token counts as read by that."""
        while self._readable:
            stream_id = next((one for one in self._readable if one not in self._paused), None)
            if stream_id is None:
                break
            if (event := self._next_of(stream_id)) is not None:
                return event
        return self._events.popleft() if self._events else None

    def handle_timer(self, *, now: float) -> None:
        """Repeat requests and cancellations, ask for a sign of life, or give up."""
        timer = self.get_timer()
        if timer is None or now < timer:
            return
        if self._idle_since is not None:
            self._shut("idle")
            return
        if self._last_heard is not None and now >= self._last_heard + SILENCE_LIMIT:
            self.lose(f"nothing came from the server for {SILENCE_LIMIT:g} seconds", renew=False)
            return
        self._handle_stream_timers(now)
        for stream_id, repetition in self._cancelling.items():
            if repetition.due <= now:
                self._control.append(Cancel(stream_id))
                repetition.repeat(now)
        if self._hello is not None and self._hello.due <= now:
            self._control.append(Hello())
            self._hello.repeat(now)
        if self._established and self._ping_due <= now:
            self._ping(now)

    def _handle_stream_timer(self, stream_id: int, now: float) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.handle_timer(now=now)
            self._check_request(stream_id, stream, now)

    @property
    def _ping_due(self) -> float:
        return min(self._last_sign + PING_INTERVALS[self._pings % len(PING_INTERVALS)], self._asked_at + ASK_INTERVAL)

    def _ping(self, now: float) -> None:
        """Ask for a sign of life if there was none, and about the streams of which none was."""
        silent: tuple[int, ...] = ()
        if self._asked_at + ASK_INTERVAL <= now:
            self._asked_at = now
            silent = tuple(
                sorted(
                    stream_id
                    for stream_id, stream in self._streams.items()
                    if stream.request is None and stream.heard_at + ASK_INTERVAL <= now
                )
            )[:MAX_ASKED]
        if silent or self._ping_due <= now:
            self._pings += 1
            self._control.append(Ping(silent))
            self._last_sign = now

    def _timers(self) -> list[float]:
        if self._idle_since is not None:
            return [self._idle_since + IDLE_LIMIT]
        if self.is_idle or self._last_heard is None:
            return []
        timers = [self._last_heard + SILENCE_LIMIT]
        if self._established:
            timers.append(self._ping_due)
        if self._hello is not None:
            timers.append(self._hello.due)
        timers += [repetition.due for repetition in self._cancelling.values()]
        return timers

    def _stream_timer(self, stream_id: int) -> float | None:
        stream = self._streams.get(stream_id)
        return None if stream is None else stream.get_timer()

    def _await_server(self, now: float) -> None:
        """Count the server's silence from now on, if nothing was awaited before."""
        if self.is_idle:
            self._last_heard = self._last_sign = self._asked_at = now

    def _stream_datagrams(self, stream_id: int, now: float) -> list[bytes]:
        stream = self._streams.get(stream_id)
        if stream is None or self.token is None:
            return []
        datagrams = []
        for payload in stream.request_datagrams(now=now):
            self._opened = True
            kind = Request(stream_id, payload) if self._established else Open(self.token, stream_id, payload)
            datagrams.append(self._frame(kind))
        self._note_held(stream_id, stream.request)
        return datagrams + [self._frame(AnswerAck(stream_id, ack)) for ack in stream.answer.datagrams_to_send(now=now)]

    def _handle(self, datagram: Datagram, now: float) -> None:
        match datagram.body:
            case RequestAck() | Answer() if not self._opened:
                raise RemoteProtocolError("a server answered what it was not asked")
            case Retry(number, token):
                if number < self._number:
                    self._take_token(token, now)
            case RequestAck(stream_id, payload):
                self._take_request_ack(stream_id, payload, now)
            case Answer(stream_id, payload):
                self._take_answer(stream_id, payload, now)
            case Cancelled(stream_id, reason):
                self._cancelling.pop(stream_id, None)
                if stream_id in self._streams:
                    self._end(stream_id, failure=reason or "the server dropped the stream", refused=True)
                self._note_idle(now)
            case Pong():
                pass
            case Close(number, reason, renew):
                if number < self._number:
                    self.lose(reason, renew=renew)
            case _:
                raise RemoteProtocolError("a server sent what only a client says")
        self._last_sign = now

    def _take_token(self, token: bytes, now: float) -> None:
        self.token, self._hello = token, None
        if not self._established and now >= self._reopened_at + REOPEN_INTERVAL:
            # Whatever was sent of the requests was refused with the token: all of it is sent anew.
            self._reopened_at = now
            for stream_id, stream in list(self._streams.items()):
                if now >= stream.heard_at + SILENCE_LIMIT:
                    self._drop(stream_id, now, failure="the server refuses each address token that it has given")
                    continue
                stream.send_request(now=now)
                self._touch(stream_id)
        self._note_idle(now)

    def _take_request_ack(self, stream_id: int, payload: bytes, now: float) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or stream.request is None:
            return
        stream.request.receive_datagram(payload, now=now)
        self._established = True
        stream.heard_at = now
        self._check_request(stream_id, stream, now)
        self._touch(stream_id)

    def _check_request(self, stream_id: int, stream: ClientStream, now: float) -> None:
        if (reason := stream.check_request()) is not None:
            self._drop(stream_id, now, failure=reason)

    def _take_answer(self, stream_id: int, payload: bytes, now: float) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            if (last_ack := self._gone.get(stream_id)) is not None:
                self._control.append(AnswerAck(stream_id, last_ack))
            elif stream_id not in self._cancelling:
                self._control.append(Cancel(stream_id))
            return
        stream.answer.receive_datagram(payload, now=now)
        stream.note_taken()  # who answers has the request
        stream.heard_at = now
        self._established = True
        self._readable[stream_id] = None
        if stream.answer.broken:
            self._drop(stream_id, now, failure="")  # the receiver's own event tells the reason
        elif stream.answer.finished:
            acks = stream.answer.datagrams_to_send(now=now)
            self._control += [AnswerAck(stream_id, ack) for ack in acks]
            self._end(stream_id, last_ack=acks[-1])
            self._note_idle(now)
        else:
            self._touch(stream_id)

    def _next_of(self, stream_id: int) -> ClientEvent | None:
        """Return the next event of a stream for its reader, or None."""
        stream = self._streams.get(stream_id) or self._unread.get(stream_id)
        event = None if stream is None else stream.next_event()
        if event is None:
            self._readable.pop(stream_id, None)
        elif not isinstance(event, StreamToken):
            self._unread.pop(stream_id, None)
            self._discard(stream_id)
        elif stream is not None and stream_id in self._streams and stream.answer.get_timer() is not None:
            self._touch(stream_id)  # the sender is to know of the room
        return event

    def _discard(self, stream_id: int) -> None:
        self._readable.pop(stream_id, None)
        self._paused.discard(stream_id)

    def _drop(self, stream_id: int, now: float, *, failure: str | None = None) -> None:
        """Forget a stream that the server may still be sending, and tell it so until it agrees."""
        self._end(stream_id, failure=failure)
        if not self._opened:
            return  # the server does not know of it
        self._control.append(Cancel(stream_id))
        self._cancelling[stream_id] = Repetition(now + CANCEL_TIMEOUT, 2 * CANCEL_TIMEOUT, CANCEL_MAX_TIMEOUT)

    def _end(
        self, stream_id: int, *, last_ack: bytes | None = None, failure: str | None = None, refused: bool = False
    ) -> None:
        """Note that a stream is over for the protocol, and keep what its reader has not seen."""
        stream = self._streams.pop(stream_id)
        leave_path(stream.request)
        self._forget_timers(stream_id)
        if failure is not None:
            stream.fail(failure, refused=refused)
        self._unread[stream_id] = stream
        self._readable[stream_id] = None
        remember(self._gone, stream_id, last_ack)

    def _note_idle(self, now: float) -> None:
        if self.is_idle and self._idle_since is None:
            self._idle_since = now

    def _shut(self, reason: str) -> None:
        self._closed = True
        self._streams.clear()
        self._cancelling.clear()
        if self._opened:
            self._control.append(Leave(reason))
