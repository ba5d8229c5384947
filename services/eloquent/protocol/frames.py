"""What two endpoints of one stream say to each other: `Data` and `Ack`, and their one encoding.

docs/protocol.md §3 and §4 say the same in prose. Every value has exactly one encoding, and decoding accepts nothing else:
`encode_payload(decode_payload(x)) == x`. Damage is found one layer down (`datagram`), by the checksum of the datagram.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

from eloquent.errors import MalformedPacket
from eloquent.protocol.varint import MAX_VARINT, MAX_VARINT_SIZE, ByteReader, decode_varint, encode_varint

MAX_TRAILER = 512  # bytes; leaves room for tokens beside the end in one datagram
MAX_RANGES = 32  # in one Ack; the lowest are told first, they are what the sender repeats first
MAX_TOKEN = 1 << 20  # bytes; what a receiver is ready to join from fragments
MAX_BUFFERED = 3600.0  # seconds that a reader can report; more than any answer takes to read
WINDOW = 2048  # fragments from the oldest unacknowledged one on that may be under way: a receiver keeps no more
MAX_FRAGMENTS = 512  # in one datagram; bounds the work that one can make

_TYPE_DATA, _TYPE_DATA_WITH_END, _TYPE_ACK = range(3)
_ACK_OF_END, _ACK_WITH_READER, _ACK_WITH_CREDIT = 1, 2, 4  # added to the type of an acknowledgement
_LAST_TYPE = _TYPE_ACK + _ACK_OF_END + _ACK_WITH_READER + _ACK_WITH_CREDIT
_JUMP, _MORE, _FLAG_BITS = 1, 2, 2
_TYPE_SIZE = 1
_CHECKSUM_SIZE = 4

FRAGMENT_OVERHEAD = _TYPE_SIZE + MAX_VARINT_SIZE + 4  # bytes, worst case: type, index, length with flags


@dataclass(frozen=True, slots=True)
class Fragment:
    """A token, or a part of one that is too large for a datagram.

    Attributes:
        index: Position among all fragments of the stream, from 0.
        data: Bytes of the token.
        more: Whether the token goes on in the next fragment; such a fragment is not empty.
    """

    index: int
    data: bytes
    more: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """The end of a stream.

    Attributes:
        count: Number of fragments.
        checksum: CRC-32 of the content, see `extend_checksum`.
        trailer: At most 512 bytes for the application.
    """

    count: int
    checksum: int
    trailer: bytes = b""


@dataclass(frozen=True, slots=True)
class Data:
    """Fragments in the order in which the sender put them, and perhaps the end of the stream."""

    fragments: tuple[Fragment, ...]
    end: End | None = None


@dataclass(frozen=True, slots=True)
class ReaderState:
    """How urgently the reader needs the next token (Eloquent §5.3, §5.4).

    Attributes:
        buffered_s: Seconds for which what has arrived can still be shown, 0 to `MAX_BUFFERED`; told in whole milliseconds.
        looking: Whether the reader looks at the answer.
    """

    buffered_s: float = 0.0
    looking: bool = True


@dataclass(frozen=True, slots=True)
class Ack:
    """All that the receiver has; it replaces every earlier one, in any order.

    Attributes:
        next_index: Every fragment below it has arrived.
        ranges: `(start, stop)` of fragments beyond a gap, ascending, at most 32.
        end_seen: Whether the end has arrived.
        reader: How the reader fares, if the receiver was told.
        credit: Fragments from `next_index` on that the receiver has room for, 0 to `WINDOW`; less than that where its
            application reads slowly.
    """

    next_index: int
    ranges: tuple[tuple[int, int], ...] = ()
    end_seen: bool = False
    reader: ReaderState | None = None
    credit: int = WINDOW


Payload = Data | Ack


def encode_payload(payload: Payload) -> bytes:
    """Encode what one datagram says about a stream.

    Raises:
        ValueError: The payload is not a legal one.
    """
    if isinstance(payload, Ack):
        return _encode_ack(payload)
    builder = DataBuilder()
    if payload.end is not None:
        builder.add_end(payload.end)
    for fragment in payload.fragments:
        builder.add(fragment)
    return builder.build()


@lru_cache(maxsize=64)  # for copies, and acknowledgements of nothing new; what is decoded cannot be changed
def decode_payload(data: bytes) -> Payload:
    """Decode what one datagram says about a stream.

    Raises:
        MalformedPacket: It is not the encoding of anything.
    """
    if not data:
        raise MalformedPacket("a payload is empty")
    kind, body = data[0], data[_TYPE_SIZE:]
    if _TYPE_ACK <= kind <= _LAST_TYPE:
        return _decode_ack(body, kind - _TYPE_ACK)
    if kind == _TYPE_DATA_WITH_END:
        reader = ByteReader(body)
        end = decode_end(reader)
        return Data(_decode_fragments(reader.rest()), end)
    if kind == _TYPE_DATA and body:
        return Data(_decode_fragments(body))
    raise MalformedPacket(f"there is no payload of type {kind}, or it has neither a token nor an end")


def _decode_fragments(data: bytes) -> tuple[Fragment, ...]:
    fragments: list[Fragment] = []
    position = index = 0
    while position < len(data):
        head, position = decode_varint(data, position)
        if head & _JUMP:
            expected = index
            index, position = decode_varint(data, position)
            if index == expected:
                raise MalformedPacket("a fragment's index is told needlessly")
        stop, more = position + (head >> _FLAG_BITS), bool(head & _MORE)
        if index > MAX_VARINT or stop > len(data) or (more and stop == position):
            raise MalformedPacket("a fragment is cut off, has an index out of range, or is empty and goes on")
        if len(fragments) == MAX_FRAGMENTS:
            raise MalformedPacket(f"there are more than {MAX_FRAGMENTS} fragments in a packet")
        fragments.append(Fragment(index, data[position:stop], more))
        position = stop
        index += 1
    return tuple(fragments)


def encode_end(end: End) -> bytes:
    """Encode the end of a stream.

    Raises:
        ValueError: The trailer is too long.
    """
    if len(end.trailer) > MAX_TRAILER:
        raise ValueError(f"a trailer has at most {MAX_TRAILER} bytes")
    return (
        encode_varint(end.count) + end.checksum.to_bytes(_CHECKSUM_SIZE) + encode_varint(len(end.trailer)) + end.trailer
    )


def decode_end(reader: ByteReader) -> End:
    """Decode the end of a stream.

    Raises:
        MalformedPacket: It is cut off, or its trailer is too long.
    """
    count = reader.varint()
    checksum = int.from_bytes(reader.take(_CHECKSUM_SIZE))
    size = reader.varint()
    if size > MAX_TRAILER:
        raise MalformedPacket(f"a trailer of {size} bytes is too long")
    return End(count, checksum, reader.take(size))


def _encode_ack(ack: Ack) -> bytes:
    if len(ack.ranges) > MAX_RANGES:
        raise ValueError(f"an acknowledgement has at most {MAX_RANGES} ranges")
    if not 0 <= ack.credit <= WINDOW:
        raise ValueError(f"a receiver has room for 0 to {WINDOW} fragments")
    kind, parts = _TYPE_ACK + (_ACK_OF_END if ack.end_seen else 0), []
    if ack.reader is not None:
        kind += _ACK_WITH_READER
        parts.append(_encode_reader(ack.reader))
    if ack.credit != WINDOW:
        kind += _ACK_WITH_CREDIT
        parts.append(encode_varint(ack.credit))
    parts.append(encode_varint(ack.next_index))
    previous = ack.next_index
    for start, stop in ack.ranges:
        if start <= previous or stop <= start:
            raise ValueError("the ranges of an acknowledgement ascend and leave gaps")
        parts += (encode_varint(start - previous), encode_varint(stop - start))
        previous = stop
    return bytes([kind]) + b"".join(parts)


def _encode_reader(state: ReaderState) -> bytes:
    if not 0 <= state.buffered_s <= MAX_BUFFERED:
        raise ValueError(f"a reader has 0 to {MAX_BUFFERED:g} seconds in the buffer")
    return encode_varint(round(state.buffered_s * 1e3) << 1 | state.looking)


def _decode_reader(data: bytes) -> tuple[ReaderState, int]:
    value, position = decode_varint(data, 0)
    state = ReaderState((value >> 1) / 1e3, looking=bool(value & 1))
    if state.buffered_s > MAX_BUFFERED:
        raise MalformedPacket(f"a reader with {state.buffered_s:g} seconds in the buffer")
    return state, position


def _decode_ack(data: bytes, flags: int) -> Ack:
    state, credit, position = None, WINDOW, 0
    if flags & _ACK_WITH_READER:
        state, position = _decode_reader(data)
    if flags & _ACK_WITH_CREDIT:
        credit, position = decode_varint(data, position)
        if credit >= WINDOW:
            raise MalformedPacket("a credit is told needlessly, or is too high")
    next_index, position = decode_varint(data, position)
    ranges: list[tuple[int, int]] = []
    previous = next_index
    while position < len(data):
        gap, position = decode_varint(data, position)
        length, position = decode_varint(data, position)
        start, stop = previous + gap, previous + gap + length
        if not gap or not length or stop > MAX_VARINT or len(ranges) == MAX_RANGES:
            raise MalformedPacket("the ranges of an acknowledgement are empty, too high or too many")
        ranges.append((start, stop))
        previous = stop
    return Ack(next_index, tuple(ranges), bool(flags & _ACK_OF_END), state, credit)


class DataBuilder:
    """Fill one `Data` up to its limits; whatever does not fit is refused and changes nothing.

    Args:
        budget: Bytes that the encoded payload may take, or None for no limit.
        max_fragments: Fragments that it may hold; None for as many as a datagram may have (512).

    Attributes:
        fragments: Those put in so far.
        end: The end, if it was put in.
    """

    def __init__(self, budget: int | None = None, max_fragments: int | None = None) -> None:
        self.fragments: list[Fragment] = []
        self.end: End | None = None
        self._left = math.inf if budget is None else budget - _TYPE_SIZE
        self._max_fragments = MAX_FRAGMENTS if max_fragments is None else min(max_fragments, MAX_FRAGMENTS)
        self._expected = 0
        self._encoded_end = b""
        self._encoded: list[bytes] = []  # of the fragments

    def add(self, fragment: Fragment) -> bool:
        """Append a fragment and return True, or return False if it does not fit.

        Raises:
            ValueError: It is empty although its token goes on.
        """
        if fragment.more and not fragment.data:
            raise ValueError("a fragment whose token goes on is not empty")
        if len(self.fragments) >= self._max_fragments:
            return False
        index, data = fragment.index, fragment.data
        head = len(data) << _FLAG_BITS | (_MORE if fragment.more else 0)
        if index == self._expected:
            encoded = encode_varint(head) + data
        else:
            encoded = encode_varint(head | _JUMP) + encode_varint(index) + data
        size = len(encoded)
        if size > self._left:
            return False
        self._left -= size
        self._expected = index + 1
        self._encoded.append(encoded)
        self.fragments.append(fragment)
        return True

    def add_end(self, end: End) -> bool:
        """Set the end and return True, or return False if it does not fit."""
        encoded = encode_end(end)
        if len(encoded) > self._left:
            return False
        self._left -= len(encoded)
        self._encoded_end = encoded
        self.end = end
        return True

    def __bool__(self) -> bool:
        return bool(self.fragments) or self.end is not None

    def build(self) -> bytes:
        """Return the encoding of what was put in.

        Raises:
            ValueError: Nothing was.
        """
        if not self:
            raise ValueError("a packet without a token needs an end")
        kind = _TYPE_DATA if self.end is None else _TYPE_DATA_WITH_END
        return b"".join((bytes([kind]), self._encoded_end, *self._encoded))
