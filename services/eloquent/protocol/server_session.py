"""The server's side of a session: it is told requests, and sends their answers.

Rules of this file
- A request that was taken once is never taken again: a stream that is over is remembered, and what comes for it is
  answered with `Cancel` (or ignored, if the client has the whole answer). When the memory is full the oldest is
  forgotten, and whatever has a lower id counts as over.
- `Cancel` is always answered with `Cancel`, and remembered even when it comes before the request.
- Silence of the client while it has streams ends the session after 40 s; without streams it is forgotten after a
  minute.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from eloquent.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from eloquent.protocol.contract import (
    PeerLost,
    StreamAccount,
    StreamBroken,
    StreamFinished,
    StreamSender,
    TokenReceived,
)
from eloquent.protocol.contract import StreamDelivered as Delivered
from eloquent.protocol.datagram import Answer, Cancel, Close, Datagram, Open, Ping, Pong, Request
from eloquent.protocol.receiver import Receiver
from eloquent.protocol.scheme import Scheme
from eloquent.protocol.session_base import MAX_STREAMS, SILENCE_LIMIT, SessionBase, Tally, remember
from eloquent.protocol.session_events import (
    SessionEvent,
    SessionLost,
    StreamCancelled,
    StreamDelivered,
    StreamFailed,
    StreamRequested,
)

IDLE_LIMIT = 60.0  # seconds without a stream after which a session is forgotten; its client may begin it anew


@dataclass(slots=True)
class _Stream:
    request: Receiver = field(default_factory=Receiver)
    parts: list[bytes] = field(default_factory=list)  # of the request: the scheme's name and the request itself
    answer: StreamSender | None = None  # from the moment when the request is whole


@dataclass(frozen=True, slots=True)
class _Gone:
    account: StreamAccount
    delivered: bool


class ServerSession(SessionBase):
    """Answer the requests of one client, any number at a time.

    Args:
        connection_id: The 8 bytes that the client chose.
        scheme_of: Returns the scheme of a name, or raises ConfigurationError.
        tally: As for `SessionBase`.
    """

    def __init__(self, connection_id: bytes, scheme_of: Callable[[str], Scheme], tally: Tally | None = None) -> None:
        super().__init__(connection_id, tally)
        self._scheme_of = scheme_of
        self._streams: dict[int, _Stream] = {}
        self._gone: OrderedDict[int, _Gone] = OrderedDict()
        self._expired = False
        self._floor = 0  # ids below it that are not open are over

    @property
    def expired(self) -> bool:
        """Whether the session ended because no stream was open for a minute; its client may begin it anew."""
        return self._expired

    def send_token(self, stream_id: int, token: bytes, *, now: float) -> None:
        """Queue one token of an answer; swallowed if the stream was cancelled or has failed (an event said so).

        Args:
            stream_id: The stream.
            token: At most 1 MiB.
            now: Seconds.

        Raises:
            LocalProtocolError: No such stream was requested, it was finished, or its backlog is at its limit (4096).
        """
        if (answer := self._answer(stream_id)) is not None:
            answer.send_token(token, now=now)
            self._touch(stream_id)

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

    def close(self, *, now: float) -> None:  # noqa: ARG002 - every call of a session is told the time
        """Drop all streams and tell the client, whose streams fail; no further event follows."""
        if not self._closed:
            self._control.append(Close(self._highest, "closed by the server"))
            self._events.clear()
            self._shut()

    def handle_timer(self, *, now: float) -> None:
        """Repeat what is due, or give up."""
        timer = self.get_timer()
        if timer is None or now < timer:
            return
        if self._patience_ends <= now:
            self._expired = not self._streams
            self._lose("idle" if self._expired else f"nothing came from the client for {SILENCE_LIMIT:g} seconds")
            return
        for stream_id, stream in list(self._streams.items()):
            if stream.answer is not None and (due := stream.answer.get_timer()) is not None and due <= now:
                stream.answer.handle_timer(now=now)
                self._take_answer_events(stream_id, stream.answer)
                self._touch(stream_id)

    @property
    def _patience_ends(self) -> float:
        heard = self._last_heard if self._last_heard is not None else float("inf")
        return heard + (SILENCE_LIMIT if self._streams else IDLE_LIMIT)

    def _timers(self) -> list[float]:
        if self._last_heard is None:
            return []
        answers = (stream.answer.get_timer() for stream in self._streams.values() if stream.answer is not None)
        return [self._patience_ends, *(timer for timer in answers if timer is not None)]

    def _stream_datagrams(self, stream_id: int, now: float) -> list[bytes]:
        stream = self._streams.get(stream_id)
        if stream is None:
            return []
        datagrams = [self._frame(Request(stream_id, ack)) for ack in stream.request.datagrams_to_send(now=now)]
        if stream.answer is not None:
            for payload in stream.answer.datagrams_to_send(now=now):
                datagrams.append(self._frame(Answer(stream_id, payload)))
                stream.answer.account.wire_bytes += len(datagrams[-1]) - len(payload)
        return datagrams

    def _handle(self, datagram: Datagram, now: float) -> None:
        match datagram.body:
            case Open(stream_id, payload) | Request(stream_id, payload):
                self._take_request(stream_id, payload, now)
            case Answer(stream_id, payload):
                self._take_answer_ack(stream_id, payload, now)
            case Cancel(stream_id):
                self._control.append(Cancel(stream_id))
                if self._is_requested(stream_id):
                    self._events.append(StreamCancelled(stream_id))
                if not self._is_over(stream_id):
                    self._forget(stream_id)
            case Ping():
                self._control.append(Pong(datagram.number))
            case Close():
                self._events += [
                    StreamCancelled(stream_id) for stream_id in self._streams if self._is_requested(stream_id)
                ]
                self._events.append(SessionLost("closed by the client"))
                self._shut()
            case Pong():
                raise RemoteProtocolError("a client answered a ping that nobody sent")

    def _is_requested(self, stream_id: int) -> bool:
        """Whether the owner was told of the stream, and not yet of its end."""
        return stream_id in self._streams and self._streams[stream_id].answer is not None

    def _is_over(self, stream_id: int) -> bool:
        return stream_id not in self._streams and (stream_id in self._gone or stream_id < self._floor)

    def _answer(self, stream_id: int) -> StreamSender | None:
        """Return the sender of an answer, or None if the stream is over."""
        if self._is_over(stream_id):
            return None
        if not self._is_requested(stream_id):
            raise LocalProtocolError(f"nobody requested stream {stream_id}")
        return self._streams[stream_id].answer

    def _take_request(self, stream_id: int, payload: bytes, now: float) -> None:
        if self._is_over(stream_id) or (stream_id not in self._streams and len(self._streams) >= MAX_STREAMS):
            if stream_id not in self._gone or not self._gone[stream_id].delivered:
                self._control.append(Cancel(stream_id))
            return
        stream = self._streams.get(stream_id, _Stream())
        stream.request.receive_datagram(payload, now=now)
        self._streams[stream_id] = stream
        self._touch(stream_id)
        while (event := stream.request.next_event()) is not None:
            match event:
                case TokenReceived(data=data):
                    stream.parts.append(data)
                case StreamFinished():
                    self._begin(stream_id, stream)
                case StreamBroken():
                    self._refuse(stream_id)

    def _begin(self, stream_id: int, stream: _Stream) -> None:
        try:
            name, request = stream.parts
            scheme = self._scheme_of(name.decode())
        except (ValueError, ConfigurationError):  # not two parts, not text, or no such scheme
            self._refuse(stream_id)
            return
        if scheme.kind != "datagram":  # the kernel's, or the simulator's
            self._refuse(stream_id)
            return
        stream.answer = scheme.make_sender(rtt=self._rtt)
        stream.parts = []
        self._events.append(StreamRequested(stream_id, scheme.name, request))

    def _refuse(self, stream_id: int) -> None:
        self._forget(stream_id)
        self._control.append(Cancel(stream_id))

    def _take_answer_ack(self, stream_id: int, payload: bytes, now: float) -> None:
        if self._is_over(stream_id):
            return
        stream = self._streams.get(stream_id)
        if stream is None or stream.answer is None:
            self._control.append(Cancel(stream_id))
            return
        stream.answer.receive_datagram(payload, now=now)
        self._take_answer_events(stream_id, stream.answer)
        self._touch(stream_id)

    def _take_answer_events(self, stream_id: int, answer: StreamSender) -> None:
        while (event := answer.next_event()) is not None:
            told: SessionEvent
            match event:
                case Delivered():
                    told = StreamDelivered(stream_id, answer.account)
                case PeerLost(reason):
                    told = StreamFailed(stream_id, reason)
                case _:
                    continue
            self._events.append(told)
            self._forget(stream_id, delivered=isinstance(told, StreamDelivered))

    def _forget(self, stream_id: int, *, delivered: bool = False) -> None:
        stream = self._streams.pop(stream_id, None)
        answer = None if stream is None else stream.answer
        gone = _Gone(StreamAccount() if answer is None else answer.account, delivered)
        self._floor = max(self._floor, remember(self._gone, stream_id, gone))

    def _lose(self, reason: str) -> None:
        self._events += [
            StreamFailed(stream_id, reason) for stream_id in self._streams if self._is_requested(stream_id)
        ]
        self._events.append(SessionLost(reason))
        self._shut()

    def _shut(self) -> None:
        self._closed = True
        for stream_id in list(self._streams):
            self._forget(stream_id)
