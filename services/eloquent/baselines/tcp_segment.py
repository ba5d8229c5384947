"""What the endpoints of the TCP model say to each other, and how tokens lie in the byte stream.

Rules of this file
- Headers have the size of the real ones less 28 bytes, which every account adds for IPv4 and UDP: a segment 24 (real:
  IPv4 20 and TCP 32 with timestamps), an acknowledgement 24, and with n SACK blocks 28 + 8 n (real: 4 + 8 n of
  options). Where TCP has ports, window and timestamps, ours has zeros.
- Both begin with a type and an offset into the stream, and carry a checksum of the whole, as in TCP.
- The first block may tell what has arrived once more: it lies below the acknowledgement or within the second block
  (D-SACK, RFC 2883 §4). All others lie beyond the acknowledgement.
- In the stream, a token is its length + 1 as a varint and its bytes; 0 is the end, followed by the content's checksum (4 bytes),
  the trailer's length (varint) and the trailer.
"""

from bisect import bisect_right
from dataclasses import dataclass
from zlib import crc32

from eloquent.errors import MalformedPacket, RemoteProtocolError
from eloquent.protocol.frames import MAX_TOKEN, MAX_TRAILER
from eloquent.protocol.varint import MAX_VARINT, decode_varint, encode_varint

HEADER_SIZE = 24  # bytes
MAX_BLOCKS = 3  # SACK blocks beside timestamps (RFC 2018 §3)
CONTENT_CHECKSUM_SIZE = 4  # bytes
_OFFSET_SIZE, _CHECKSUM_SIZE, _BLOCK_SIZE, _OPTION_SIZE = 8, 4, 8, 4  # bytes
_CHECKSUM_AT = HEADER_SIZE - _CHECKSUM_SIZE
_PADDING = bytes(_CHECKSUM_AT - 1 - _OFFSET_SIZE)
_TYPE_SEGMENT, _TYPE_ACK = 0x10, 0x11


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes of the stream.

    Attributes:
        offset: Of the first byte in the stream.
        data: At least one byte.
    """

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SegmentAck:
    """What the receiver has.

    Attributes:
        next_offset: All bytes below it have arrived.
        blocks: `(start, stop)` of bytes beyond a gap, at most 3, the newest first (RFC 2018 §4), and before them what
            has arrived once more.
    """

    next_offset: int
    blocks: tuple[tuple[int, int], ...] = ()

    @property
    def repeated(self) -> tuple[int, int] | None:
        """The bytes that have arrived once more, or None (RFC 2883 §4)."""
        if not self.blocks:
            return None
        start, stop = self.blocks[0]
        within = len(self.blocks) > 1 and self.blocks[1][0] <= start and stop <= self.blocks[1][1]
        return self.blocks[0] if within or stop <= self.next_offset else None


def encode_segment(message: Segment | SegmentAck) -> bytes:
    """Encode a segment or an acknowledgement."""
    if isinstance(message, Segment):
        kind, offset, rest = _TYPE_SEGMENT, message.offset, message.data
    else:
        kind, offset = _TYPE_ACK, message.next_offset
        ends = [end - offset for block in message.blocks for end in block]
        rest = bytes(_OPTION_SIZE * bool(ends)) + b"".join(end.to_bytes(_BLOCK_SIZE // 2, signed=True) for end in ends)
    head = bytes([kind]) + offset.to_bytes(_OFFSET_SIZE) + _PADDING
    return head + crc32(rest, crc32(head)).to_bytes(_CHECKSUM_SIZE) + rest


def decode_segment(data: bytes) -> Segment | SegmentAck:
    """Decode a segment or an acknowledgement.

    Raises:
        MalformedPacket: It is not the encoding of either.
    """
    head, checksum, rest = data[:_CHECKSUM_AT], data[_CHECKSUM_AT:HEADER_SIZE], data[HEADER_SIZE:]
    if len(data) < HEADER_SIZE or crc32(rest, crc32(head)).to_bytes(_CHECKSUM_SIZE) != checksum:
        raise MalformedPacket("a segment is too short, or its checksum does not agree")
    offset = int.from_bytes(head[1 : 1 + _OFFSET_SIZE])
    if offset > MAX_VARINT or head[1 + _OFFSET_SIZE :] != _PADDING:
        raise MalformedPacket("a segment's header is not one of ours")
    if head[0] == _TYPE_SEGMENT and rest:
        return Segment(offset, rest)
    if head[0] == _TYPE_ACK:
        return SegmentAck(offset, _decode_blocks(offset, rest))
    raise MalformedPacket("a segment is empty or of no known type")


def _decode_blocks(offset: int, option: bytes) -> tuple[tuple[int, int], ...]:
    if not option:
        return ()
    count, left = divmod(len(option) - _OPTION_SIZE, _BLOCK_SIZE)
    if left or not 1 <= count <= MAX_BLOCKS or any(option[:_OPTION_SIZE]):
        raise MalformedPacket("the SACK blocks are cut off, none or too many")
    half = _BLOCK_SIZE // 2
    distances = [int.from_bytes(option[at : at + half], signed=True) for at in range(_OPTION_SIZE, len(option), half)]
    blocks = tuple((offset + start, offset + stop) for start, stop in zip(distances[::2], distances[1::2], strict=True))
    repeated = int(0 <= blocks[0][0] < blocks[0][1] <= offset)
    if any(not offset < start < stop for start, stop in blocks[repeated:]):
        raise MalformedPacket("a SACK block is empty or below the acknowledgement")
    return blocks


def encode_token(token: bytes) -> tuple[bytes, bytes]:
    """Return a token's frame and its content, as they lie in the stream."""
    return encode_varint(len(token) + 1), token


def encode_end(checksum: int, trailer: bytes) -> bytes:
    """Return the end of a stream as it lies in it."""
    return encode_varint(0) + checksum.to_bytes(CONTENT_CHECKSUM_SIZE) + encode_varint(len(trailer)) + trailer


class SegmentReader:
    """Tell which tokens the segments of a sender carry, from all of them in the order of sending.

    A token that is cut belongs to the segment with its last byte, so that no two segments sent for the first time share one.
    """

    def __init__(self) -> None:
        self._stream = b""
        self._next = 0  # offset of the first record whose length is not known
        self._stops: list[int] = []  # offset after each token

    def __call__(self, datagram: bytes) -> tuple[int, ...]:
        """Return the indices of the tokens in a segment; none for an acknowledgement."""
        segment = decode_segment(datagram)
        if not isinstance(segment, Segment):
            return ()
        stop = segment.offset + len(segment.data)
        self._stream += segment.data[max(len(self._stream) - segment.offset, 0) :]
        self._find_tokens()
        return tuple(range(bisect_right(self._stops, segment.offset), bisect_right(self._stops, stop)))

    def _find_tokens(self) -> None:
        while self._next < len(self._stream):
            try:
                size, content = decode_varint(self._stream, self._next)
            except MalformedPacket:  # the next segment brings the rest of it
                return
            if not size:  # the end
                return
            self._next = content + size - 1
            self._stops.append(self._next)


class RecordParser:
    """Cut a byte stream into tokens and an end."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Append what has arrived in order."""
        self._buffer += data

    def next_token(self) -> bytes | tuple[int, bytes] | None:
        """Return the next token, or the end as checksum and trailer, or None if it is not whole yet.

        Raises:
            RemoteProtocolError: It is longer than any token or trailer may be.
        """
        head = self._varint(0)
        if head is None:
            return None
        size, start = head
        if size:
            return self._take(start, size - 1, MAX_TOKEN)
        trailer = self._varint(start + CONTENT_CHECKSUM_SIZE)
        if trailer is None:
            return None
        checksum = int.from_bytes(self._buffer[start : start + CONTENT_CHECKSUM_SIZE])
        content = self._take(trailer[1], trailer[0], MAX_TRAILER)
        return None if content is None else (checksum, content)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left over."""
        return not self._buffer

    def _varint(self, start: int) -> tuple[int, int] | None:
        """Return a value and where it ends, or None if it is not whole."""
        if start >= len(self._buffer):
            return None
        stop = start + (1 << (self._buffer[start] >> 6))
        if stop > len(self._buffer):
            return None
        bits = 8 * (stop - start) - 2
        return int.from_bytes(self._buffer[start:stop]) & ((1 << bits) - 1), stop

    def _take(self, start: int, size: int, limit: int) -> bytes | None:
        if size > limit:
            raise RemoteProtocolError(f"a token or trailer is longer than {limit} bytes")
        if start + size > len(self._buffer):
            return None
        content = bytes(self._buffer[start : start + size])
        del self._buffer[: start + size]
        return content
