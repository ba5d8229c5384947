"""The receiving side of the TCP model: a byte stream is released in order, so one gap holds up all that follows.

Rules of this file
- Bytes beyond a gap are kept and told in SACK blocks, the one that grew last first (RFC 2018 §4); none is reneged on.
- What has arrived once more is told once, in a block before the others (D-SACK, RFC 2883): the first contiguous bytes of
  the newest segment that had been here before.
- A segment out of order, one that fills a gap, and a repeated one are acknowledged at once (RFC 5681 §4.2).
- So are all others by default: gRPC reads at once, and Linux acknowledges when a pushed segment has been read
  (`tcp_cleanup_rbuf`), as long as the connection does not look interactive. With a delay, an acknowledgement waits for
  a second segment or for that long; 40 ms is Linux's least.
- A token is read when its event is taken. What the buffer has no room for beside unread tokens is dropped as if it had been
  lost: a segment tells of no window, so a sender whose reader is slow repeats, ever more seldom, and a receiver's memory
  has a bound.
- The checksum of the content is checked at the end, as in every scheme; a broken stream is not acknowledged further.
"""

import itertools
from collections import deque

from eloquent.baselines.tcp_segment import (
    MAX_BLOCKS,
    RecordParser,
    Segment,
    SegmentAck,
    decode_segment,
    encode_segment,
)
from eloquent.errors import RemoteProtocolError
from eloquent.protocol.checksum import extend_checksum
from eloquent.protocol.contract import Event, StreamBroken, StreamFinished, TokenReceived
from eloquent.protocol.ranges import RangeSet

RECEIVE_WINDOW = 1 << 20  # bytes, of unread tokens and beyond the next expected byte; never what limits one who reads
TOKEN_COST = 64  # bytes that an unread token takes beside its content
MAX_PIECES = 2048  # kept beyond gaps; what comes then is dropped, as if it had been lost


class TcpReceiver:
    """Release the tokens of one byte stream in order and acknowledge its segments.

    Args:
        ack_delay: Seconds that the acknowledgement of a segment in order waits for company; 0 for none.
    """

    def __init__(self, *, ack_delay: float = 0.0) -> None:
        self._ack_delay = ack_delay
        self._next = 0  # offset of the first byte that was not released
        self._waiting: dict[int, bytes] = {}  # bytes beyond a gap, in pieces that do not overlap, by offset
        self._ranges = RangeSet()  # their bytes
        self._newest = 0  # offset of the segment that came last
        self._repeated: tuple[int, int] | None = None  # bytes that came once more, and were not told yet
        self._parser = RecordParser()
        self._tokens = 0
        self._checksum = 0
        self._finished = False
        self._broken = False
        self._unanswered = 0  # segments
        self._ack_at: float | None = None  # seconds
        self._unread = 0  # bytes of tokens whose events were not taken
        self._events: deque[Event] = deque()

    @property
    def finished(self) -> bool:
        """Whether the whole stream has arrived; its events may not all have been taken."""
        return self._finished

    @property
    def broken(self) -> bool:
        """Whether the stream was found not to be what was sent."""
        return self._broken

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take a segment.

        Raises:
            RemoteProtocolError: It is malformed, or an acknowledgement.
        """
        segment = decode_segment(data)
        if not isinstance(segment, Segment):
            raise RemoteProtocolError("a sender acknowledged a segment")
        if self._broken:
            return
        in_order = segment.offset == self._next and not self._waiting
        self._unanswered += 1
        at_once = not in_order or self._unanswered >= 2 or not self._ack_delay
        self._ack_at = now if at_once else now + self._ack_delay
        self._repeated = self._find_repeated(segment)
        self._store(segment)
        self._release(now)

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return the acknowledgement, if one is due."""
        if self._ack_at is None or now < self._ack_at or self._broken:
            return []
        self._ack_at = None
        self._unanswered = 0
        blocks = list(self._ranges)[::-1]
        blocks.sort(key=lambda block: not block[0] <= self._newest < block[1])
        if self._repeated is not None:
            blocks.insert(0, self._repeated)
            self._repeated = None
        return [encode_segment(SegmentAck(self._next, tuple(blocks[:MAX_BLOCKS])))]

    def get_timer(self) -> float | None:
        """Return when a delayed acknowledgement is due, or None."""
        return None if self._broken else self._ack_at

    def handle_timer(self, *, now: float) -> None:
        """Nothing to mark: `datagrams_to_send` looks at the time itself."""

    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None; a token counts as read by that."""
        event = self._events.popleft() if self._events else None
        if isinstance(event, TokenReceived):
            self._unread -= TOKEN_COST + len(event.data)
        return event

    def _find_repeated(self, segment: Segment) -> tuple[int, int] | None:
        stop = segment.offset + len(segment.data)
        if segment.offset < self._next:
            return segment.offset, min(stop, self._next)
        gaps = [(segment.offset, segment.offset), *self._ranges.gaps(segment.offset, stop), (stop, stop)]
        between = ((left[1], right[0]) for left, right in itertools.pairwise(gaps))
        return next(((start, end) for start, end in between if start < end), None)

    def _store(self, segment: Segment) -> None:
        stop = segment.offset + len(segment.data)
        if self._finished or stop <= self._next or stop > self._next + RECEIVE_WINDOW - self._unread:
            return
        self._newest = start = max(segment.offset, self._next)
        for first, last in list(self._ranges.gaps(start, stop)):
            if first == self._next or len(self._waiting) < MAX_PIECES:
                self._waiting[first] = segment.data[first - segment.offset : last - segment.offset]
                self._ranges.add(first, last)

    def _release(self, now: float) -> None:
        while (data := self._waiting.pop(self._next, None)) is not None:
            self._parser.feed(data)
            self._next += len(data)
        self._ranges.discard_below(self._next)
        try:
            while not self._finished and (record := self._parser.next_token()) is not None:
                self._take(record, now)
        except RemoteProtocolError as error:
            self._break(str(error))

    def _take(self, record: bytes | tuple[int, bytes], now: float) -> None:
        if isinstance(record, bytes):
            self._checksum = extend_checksum(self._checksum, record)
            self._events.append(TokenReceived(self._tokens, record))
            self._unread += TOKEN_COST + len(record)
            self._tokens += 1
            return
        checksum, trailer = record
        if checksum != self._checksum:
            raise RemoteProtocolError("the checksum of the content does not agree")
        if self._waiting or not self._parser.is_empty:
            raise RemoteProtocolError("there are tokens beyond the end of the stream")
        self._finished = True
        self._ack_at = now
        self._events.append(StreamFinished(trailer))

    def _break(self, reason: str) -> None:
        self._broken = True
        self._waiting.clear()
        self._events.append(StreamBroken(reason))
