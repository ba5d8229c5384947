"""The receiving side of every scheme: Algorithm 2 of the Eloquent paper.

Rules of this file
- A fragment is kept the first time it comes and ignored after. Those that follow the last released one without a gap
  are joined to tokens and released in order, each exactly once.
- Each datagram is answered with an acknowledgement of everything that has arrived, so that any one that survives is
  enough. Datagrams that come before the next `datagrams_to_send` share one.
- What the application reports of its reader goes with every acknowledgement from then on; a reader who turns away or
  comes back is worth one of its own, unless nothing has come yet: a peer that has sent nothing may not know the stream.
- The stream is finished only when every fragment below the end's count was released, no token is half joined, and the
  checksum agrees. Otherwise it is broken; a broken receiver is silent, for its acknowledgement would read as success.
"""

from collections import deque
from dataclasses import replace

from eloquent.errors import RemoteProtocolError
from eloquent.protocol.checksum import extend_checksum
from eloquent.protocol.contract import Event, StreamBroken, StreamFinished, TokenReceived
from eloquent.protocol.frames import (
    MAX_BUFFERED,
    MAX_RANGES,
    MAX_TOKEN,
    WINDOW,
    Ack,
    Data,
    End,
    Fragment,
    ReaderState,
    decode_payload,
    encode_payload,
)
from eloquent.protocol.ranges import RangeSet


def decode_data(data: bytes) -> Data:
    """Decode what a sender says about a stream.

    Raises:
        RemoteProtocolError: It is malformed, or an acknowledgement.
    """
    payload = decode_payload(data)
    if not isinstance(payload, Data):
        raise RemoteProtocolError("a sender acknowledged tokens")
    return payload


class Receiver:
    """Release the tokens of one stream in order and acknowledge them."""

    def __init__(self) -> None:
        self._next = 0  # index of the first fragment that was not released
        self._waiting: dict[int, Fragment] = {}  # arrived beyond a gap
        self._ranges = RangeSet()  # their indices
        self._partial: list[bytes] = []  # fragments of the token that is being joined
        self._partial_size = 0  # bytes
        self._tokens = 0
        self._checksum = 0
        self._end: End | None = None
        self._finished = False
        self._broken = False
        self._ack_due = False
        self._ack: bytes | None = None  # of all that has arrived; None where that has changed
        self._heard = False  # anything from the sender
        self._reader: ReaderState | None = None
        self._reported_at = 0.0  # seconds
        self._events: deque[Event] = deque()

    def receive_datagram(self, data: bytes, *, now: float) -> None:  # noqa: ARG002 - the contract gives the time to each call
        """Take a packet of tokens.

        Raises:
            RemoteProtocolError: It is malformed, or an acknowledgement.
        """
        self._take(decode_data(data))

    def _take(self, payload: Data) -> None:
        """Keep what is new, and release what is whole."""
        if self._broken:
            return
        self._ack_due = self._heard = True
        if self._finished:
            return
        first, waiting = self._next, self._waiting
        for fragment in payload.fragments:
            index = fragment.index
            if first <= index < first + WINDOW and index not in waiting:
                waiting[index] = fragment
                self._ranges.add(index, index + 1)
                self._ack = None
        if payload.end is not None:
            self._take_end(payload.end)
        if self._ack is None:
            self._release()

    def report(self, state: ReaderState, *, now: float) -> None:
        """Tell the sender how the reader fares, with every acknowledgement from now on (Eloquent §5.3, §5.4).

        Args:
            state: As of now; what is buffered is taken to be played out as time passes.
            now: Seconds.
        """
        was_looking = self._reader is None or self._reader.looking
        self._ack_due |= self._heard and state.looking != was_looking
        self._reader = replace(state, buffered_s=min(state.buffered_s, MAX_BUFFERED))
        self._reported_at = now

    def _acknowledgement(self, now: float) -> bytes:
        """Return the acknowledgement of all that has arrived."""
        reader = self._reader
        if reader is None and self._ack is not None:
            return self._ack
        if reader is not None:
            left = max(reader.buffered_s - (now - self._reported_at), 0.0)
            reader = replace(reader, buffered_s=left)
        ranges = tuple(self._ranges)[:MAX_RANGES]
        self._ack = encode_payload(Ack(self._next, ranges, end_seen=self._end is not None, reader=reader))
        return self._ack

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return the acknowledgement, if one is due."""
        if not self._ack_due or self._broken:
            return []
        self._ack_due = False
        return [self._acknowledgement(now)]

    def get_timer(self) -> float | None:
        """Return None: a receiver only answers."""
        return None

    def handle_timer(self, *, now: float) -> None:
        """Do nothing."""

    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def _take_end(self, end: End) -> None:
        if self._end is None:
            self._end, self._ack = end, None
        elif end != self._end:
            self._break("two ends of one stream contradict each other")

    def _release(self) -> None:
        while not self._broken and (fragment := self._waiting.pop(self._next, None)) is not None:
            self._next += 1
            self._partial.append(fragment.data)
            self._partial_size += len(fragment.data)
            if self._partial_size > MAX_TOKEN:
                self._break(f"a token is longer than {MAX_TOKEN} bytes")
            elif not fragment.more:
                self._release_token(b"".join(self._partial))
        self._ranges.discard_below(self._next)
        if self._end is not None and not self._broken:
            self._check_end(self._end)

    def _release_token(self, token: bytes) -> None:
        self._partial.clear()
        self._partial_size = 0
        self._checksum = extend_checksum(self._checksum, token)
        self._events.append(TokenReceived(self._tokens, token))
        self._tokens += 1

    def _check_end(self, end: End) -> None:
        if self._next > end.count or any(index >= end.count for index in self._waiting):
            self._break("there are tokens beyond the end of the stream")
        elif self._next == end.count:
            if self._partial:
                self._break("the stream ends within a token")
            elif self._checksum != end.checksum:
                self._break("the checksum of the content does not agree")
            else:
                self._finished = True
                self._events.append(StreamFinished(end.trailer))

    def _break(self, reason: str) -> None:
        self._broken = True
        self._waiting.clear()
        self._events.append(StreamBroken(reason))
