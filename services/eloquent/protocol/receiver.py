"""The receiving side of every scheme: Algorithm 2 of the Eloquent paper.

Rules of this file
- A fragment is kept the first time it comes and ignored after. Those that follow the last released one without a gap
  are joined to tokens and released in order, each exactly once.
- Each datagram is answered with an acknowledgement of everything that has arrived, so that any one that survives is
  enough. Datagrams that come before the next `datagrams_to_send` share one.
- What the application reports of its reader goes with every acknowledgement from then on; a reader who turns away or
  comes back is worth one of its own, unless nothing has come yet: a peer that has sent nothing may not know the stream.
- A token is read when its event is taken. While a thousand fragments or more are unread the sender is told how much room
  is left, at the end none; when there is room again, it is told so until something new comes (a repetition shows only that
  it has not heard). What comes beyond the room is dropped, so that a receiver's memory has a bound whatever its peer does.
- The stream is finished only when every fragment below the end's count was released, no token is half joined, and the
  checksum agrees. Otherwise it is broken; a broken receiver is silent, for its acknowledgement would read as success.
"""

from collections import deque
from dataclasses import replace
from itertools import islice

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
from eloquent.protocol.repetition import Repetition

MAX_WAITING_BYTES = 512 * 1024  # beyond a gap: more than a sender has under way, which is 64 KiB and 4096 small tokens
READ_BEHIND = WINDOW // 4  # unread fragments from which the sender is told how much room is left
READ_BEHIND_BYTES = 256 * 1024  # of unread tokens, at which there is no room
LITTLE_CREDIT = WINDOW // 4  # fragments; a sender that was left with less may have stopped
MAX_UNREAD = 2 * WINDOW  # fragments; no sender that minds the credit comes near it
MAX_UNREAD_BYTES = 4 * MAX_TOKEN  # likewise
ROOM_AGAIN_TIMEOUT = 0.200  # seconds to the first repetition, doubled at each
ROOM_AGAIN_MAX_TIMEOUT = 2.0  # seconds
_PLACE_COST = 64  # bytes that a fragment takes beside its data


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
    """Release the tokens of one stream in order and acknowledge them.

    Args:
        max_token: Bytes of the longest token that is accepted.
    """

    def __init__(self, *, max_token: int = MAX_TOKEN) -> None:
        self._max_token = max_token
        self._next = 0  # index of the first fragment that was not released
        self._waiting: dict[int, Fragment] = {}  # arrived beyond a gap
        self._waiting_cost = 0  # bytes, of their data and their places
        self._ranges = RangeSet()  # their indices
        self._partial = bytearray()  # the token that is being joined
        self._partial_fragments = 0
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
        self._unread: deque[tuple[int, int]] = deque()  # fragments and bytes of each token among the events
        self._unread_fragments = 0
        self._unread_bytes = 0
        self._sender_may_wait = False  # it was told of little room, and nothing new has come since
        self._room_again: Repetition | None = None  # of the news that there is room again

    @property
    def held(self) -> int:
        """Bytes that the stream takes: what waits beyond a gap, a half joined token, and unread tokens."""
        return self._waiting_cost + len(self._partial) + self._unread_bytes

    @property
    def finished(self) -> bool:
        """Whether the whole stream has arrived; its events may not all have been taken."""
        return self._finished

    @property
    def broken(self) -> bool:
        """Whether the stream was found not to be what was sent."""
        return self._broken

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
        if self._unread_fragments < MAX_UNREAD and self._unread_bytes < MAX_UNREAD_BYTES:
            for fragment in payload.fragments:
                index = fragment.index
                if not first <= index < first + WINDOW or index in waiting:
                    continue
                cost = len(fragment.data) + _PLACE_COST
                if index == first or self._waiting_cost + cost <= MAX_WAITING_BYTES:
                    waiting[index] = fragment
                    self._waiting_cost += cost
                    self._ranges.add(index, index + 1)
                    self._ack = self._room_again = None
                    self._sender_may_wait = False
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
        ranges = tuple(islice(self._ranges, MAX_RANGES))
        ack = Ack(self._next, ranges, end_seen=self._end is not None, reader=reader, credit=self._credit())
        self._sender_may_wait |= ack.credit < LITTLE_CREDIT
        self._ack = encode_payload(ack)
        return self._ack

    def _credit(self) -> int:
        """Return how many fragments from the next one on there is room for."""
        if self._unread_bytes >= READ_BEHIND_BYTES:
            return 0
        return WINDOW if self._unread_fragments < READ_BEHIND else max(WINDOW - self._unread_fragments, 0)

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return the acknowledgement, if one is due."""
        if not self._ack_due or self._broken:
            return []
        self._ack_due = False
        if self._room_again is not None:
            self._room_again.repeat(now)
        return [self._acknowledgement(now)]

    def get_timer(self) -> float | None:
        """Return when the sender is to be told once more that there is room again, or None."""
        return None if self._room_again is None or self._broken else self._room_again.due

    def handle_timer(self, *, now: float) -> None:
        """Mark the acknowledgement as due if it is time to repeat it."""
        if self._room_again is not None and now >= self._room_again.due:
            self._ack_due = True

    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None; a token is read by that."""
        if not self._events:
            return None
        event = self._events.popleft()
        if isinstance(event, TokenReceived):
            fragments, size = self._unread.popleft()
            self._unread_fragments -= fragments
            self._unread_bytes -= size
            waits = self._sender_may_wait and self._room_again is None and not self._finished
            if waits and self._credit() == WINDOW:
                self._ack, self._ack_due = None, True
                self._room_again = Repetition(0.0, ROOM_AGAIN_TIMEOUT, ROOM_AGAIN_MAX_TIMEOUT)
        return event

    def _take_end(self, end: End) -> None:
        if self._end is None:
            self._end, self._ack = end, None
        elif end != self._end:
            self._break("two ends of one stream contradict each other")

    def _release(self) -> None:
        while not self._broken and (fragment := self._waiting.pop(self._next, None)) is not None:
            self._next += 1
            self._released(fragment)
            self._waiting_cost -= len(fragment.data) + _PLACE_COST
            self._partial += fragment.data
            self._partial_fragments += 1
            if len(self._partial) > self._max_token:
                self._break(f"a token is longer than {self._max_token} bytes")
            elif not fragment.more:
                self._release_token(bytes(self._partial))
        self._ranges.discard_below(self._next)
        if self._end is not None and not self._broken:
            self._check_end(self._end)

    def _released(self, fragment: Fragment) -> None:
        """Learn of a fragment that everything before has been released of, for receivers that derive from this one."""

    def _release_token(self, token: bytes) -> None:
        self._unread.append((self._partial_fragments, len(token) + _PLACE_COST))
        self._unread_fragments += self._partial_fragments
        self._unread_bytes += len(token) + _PLACE_COST
        self._partial.clear()
        self._partial_fragments = 0
        self._checksum = extend_checksum(self._checksum, token)
        self._events.append(TokenReceived(self._tokens, token))
        self._tokens += 1

    def _check_end(self, end: End) -> None:
        if self._next > end.count or self._ranges.stop > end.count:
            self._break("there are tokens beyond the end of the stream")
        elif self._next == end.count:
            if self._partial:
                self._break("the stream ends within a token")
            elif self._checksum != end.checksum:
                self._break("the checksum of the content does not agree")
            else:
                self._finished = True
                self._room_again = None
                self._events.append(StreamFinished(end.trailer))

    def _break(self, reason: str) -> None:
        self._broken = True
        self._waiting.clear()
        self._partial.clear()
        self._waiting_cost = 0
        self._events.append(StreamBroken(reason))
