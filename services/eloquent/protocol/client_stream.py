"""One stream of a client's session: the request that it sends, the answer that it receives, and what its reader is told.

Rules of this file
- A request is itself a stream: the scheme's name, and then the request in parts, each a token, sent by retransmission. A
  part is given to the sender when there is room for it, so that of a long request only little waits there.
- A stream that is over for the protocol may still have tokens for its reader; its end comes after the last of them.
"""

from eloquent.protocol.congestion import CongestionController
from eloquent.protocol.contract import (
    PeerLost,
    StreamAcknowledged,
    StreamBroken,
    StreamFinished,
    StreamReceiver,
    StreamSender,
    TokenReceived,
)
from eloquent.protocol.controlled import control, leave_path
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.senders.retransmit import RetransmitSender
from eloquent.protocol.session_events import ClientEvent, RequestState, StreamEnded, StreamFailed, StreamToken

REQUEST_PART = 64 * 1024  # bytes of a request that make a token; a server sees by each that a long one gets on
_PARTS_AHEAD = 256  # unacknowledged fragments of a request up to which the next part is given to its sender
REQUEST_MAX_TIMEOUT = 2.0  # seconds between repetitions of a request, and of Hello: a person waits for the answer


class ClientStream:
    """A request and its answer.

    Args:
        stream_id: Its number in the session.
        scheme: Name of the scheme.
        body: The request.
        answer: Receives the answer.
        budget: Bytes that the payload of one datagram of the request may take.
        rtt: The estimator of the path.
        congestion: The controller of the path.
        now: Seconds.

    Attributes:
        body: The same, until the server has it.
        request: Sends the request; None once the server has it.
        answer: The same.
        heard_at: Seconds; when the server last spoke of the stream, or the stream was opened.
        failure: That it failed; told after the tokens that came before.
    """

    __slots__ = (
        "_budget",
        "_congestion",
        "_given",
        "_rtt",
        "_scheme",
        "_stream_id",
        "answer",
        "body",
        "failure",
        "heard_at",
        "request",
    )

    def __init__(
        self,
        stream_id: int,
        scheme: str,
        body: bytes,
        answer: StreamReceiver,
        *,
        budget: int,
        rtt: RttEstimator,
        congestion: CongestionController,
        now: float,
    ) -> None:
        self._stream_id = stream_id
        self._scheme = scheme
        self.body = body
        self._budget = budget
        self._rtt = rtt
        self._congestion = congestion
        self.answer = answer
        self.heard_at = now
        self.failure: StreamFailed | None = None
        self.request: StreamSender | None = None
        self.send_request(now=now)

    def send_request(self, *, now: float) -> None:
        """Send the request, all of it anew if it was sent before."""
        leave_path(self.request)
        sender = RetransmitSender(budget=self._budget, rtt=self._rtt, max_timeout=REQUEST_MAX_TIMEOUT)
        self.request = control(sender, self._congestion)
        self.request.send_token(self._scheme.encode(), now=now)
        self._given: int | None = 0  # bytes of the request that its sender has; None when it has all

    def request_datagrams(self, *, now: float) -> list[bytes]:
        """Hand over what of the request is to be sent now, in order."""
        if self.request is None:
            return []
        while self._given is not None and self.request.backlog < _PARTS_AHEAD:
            self.request.send_token(self.body[self._given : self._given + REQUEST_PART], now=now)
            self._given += REQUEST_PART
            if self._given >= len(self.body):
                self.request.finish(now=now)
                self._given = None
        return self.request.datagrams_to_send(now=now)

    def check_request(self) -> str | None:
        """Note whether the server has the request, and return why it was given up, or None if it was not."""
        while self.request is not None and (event := self.request.next_event()) is not None:
            match event:
                case StreamAcknowledged():
                    self.note_taken()
                case PeerLost(reason):
                    return reason
        return None

    def note_taken(self) -> None:
        """Note that the server has the request."""
        leave_path(self.request)
        self.request, self.body = None, b""

    def fail(self, reason: str, *, refused: bool) -> None:
        """Note that the stream is over without a proper end.

        Args:
            reason: One sentence.
            refused: Whether the server says so.
        """
        state = RequestState.REFUSED if refused else RequestState.UNFINISHED
        self.failure = StreamFailed(self._stream_id, reason, RequestState.TAKEN if self.request is None else state)

    def next_event(self) -> ClientEvent | None:
        """Return the oldest event that the reader has not taken, or None; nothing follows the end or the failure."""
        match self.answer.next_event():
            case TokenReceived(index, data):
                return StreamToken(self._stream_id, index, data)
            case StreamFinished(trailer):
                return StreamEnded(self._stream_id, trailer)
            case StreamBroken(reason):
                return StreamFailed(self._stream_id, reason)
        return self.failure

    def get_timer(self) -> float | None:
        """Return the instant at which `handle_timer` wants to be called, or None."""
        sides = (self.request, self.answer)
        return min((due for side in sides if side is not None and (due := side.get_timer()) is not None), default=None)

    def handle_timer(self, *, now: float) -> None:
        """Do what is due at `now` for the request and the answer."""
        for side in (self.request, self.answer):
            if side is not None:
                side.handle_timer(now=now)
