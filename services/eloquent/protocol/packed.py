"""Packed data: fragments compressed against what their receiver has, and their encoding (docs/protocol.md §3a).

    type (1) | the end, if it is told | base (varint) | fragments (varint) | heads | middles, compressed or as they are

Rules of this file
- Whoever has every fragment below the base can unpack the packet, and needs no other: nothing of Eloquent's promise is lost.
- Fragments ascend. One that follows the one before it is told by that; the first one at the base by the one below it; any other by
  the one below the base.
- A head is half a byte, the length of the middle, where that is below 14 and all else is as before. Otherwise it is longer. Where
  most middles are longer, each head of the packet is a byte, which says any length below 254.
- What comes out has a bound that is known before it is unpacked.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eloquent.errors import MalformedPacket
from eloquent.protocol.datagram import MAX_DATAGRAM
from eloquent.protocol.frames import MAX_FRAGMENTS, End, Fragment, decode_end, encode_end
from eloquent.protocol.history import Delta, History, Shape, difference, restore
from eloquent.protocol.varint import MAX_VARINT, ByteReader, decode_varint, encode_varint

MAX_UNPACKED = 64 * 1024  # bytes of middles in one packet
PACKED_OVERHEAD = 32  # bytes, worst case: type, base, number of fragments, and a head in full with a jump and a shape
_TYPE_PACKED = 0x0A
_WITH_END, _AS_THEY_ARE, _WIDE = 1, 2, 4  # added to the type
_LONG = {1: 0xE, 2: 0xFE}  # what announces a head in full, by the hexadecimal digits of a head
_PAYS = 3  # times as many short middles as longer ones: for fewer, wide heads are shorter
_JUMP, _CHANGED, _MORE, _FLAG_BITS = 1, 2, 4, 3
_HEADS = {
    width: [
        f"{length:0{width}x}" if length < long else f"{long:x}{encode_varint(length << _FLAG_BITS).hex()}"
        for length in range(_LONG[2])
    ]
    for width, long in _LONG.items()
}
"""The heads that say nothing but a length, by their width."""
_WINDOW_BITS, _MEMORY_LEVEL, _LEVEL = -12, 5, 6  # raw DEFLATE, a window of 4 KiB: to set up a larger one is what costs


@dataclass(slots=True)  # not frozen, which takes three times as long to make: a packet has many
class PackedFragment:
    """One fragment of a packet, without its middle.

    Attributes:
        index: Position among all fragments of the stream.
        length: Bytes of its middle.
        more: Whether its token goes on in the next fragment.
        shape: What it shares with its reference; None for as much as the one before it.
        follows: Whether its reference is the fragment before it; otherwise it is the one below the base.
    """

    index: int
    length: int
    more: bool
    shape: Shape | None
    follows: bool


@dataclass(frozen=True, slots=True)
class Packed:
    """What a packet says.

    Attributes:
        base: Every fragment below it is needed.
        fragments: In ascending order.
        content: The middles, one after the other.
        compressed: Whether the content is compressed.
        end: The end of the stream, if it is told.
    """

    base: int
    fragments: tuple[PackedFragment, ...]
    content: bytes
    compressed: bool
    end: End | None = None


def pack(base: int, fragments: Sequence[Fragment], history: History, *, end: End | None = None) -> bytes:
    """Encode fragments for a receiver that has every one below the base.

    Args:
        base: The receiver's next expected index, as far as is known.
        fragments: Some of those from the base on, ascending, all in the history.
        history: Of the stream, from the fragment below the base on.
        end: The end of the stream, if it is to be told.
    """
    heads: list[int | str] = []
    middles = []
    expected, shape = base, history.delta(base - 1).shape
    for fragment in fragments:
        follows = fragment.index == expected
        delta = history.delta(fragment.index) if follows else difference(history.data(base - 1), fragment.data)
        length = len(delta.middle)
        if length < _LONG[2] and follows and delta.shape == shape and not fragment.more:
            heads.append(length)
        else:
            heads.append(_long_head(fragment, delta, jump=fragment.index - expected, changed=delta.shape != shape))
        middles.append(delta.middle)
        expected, shape = fragment.index + 1, delta.shape
    plain = b"".join(middles)
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL, zdict=history.dictionary(base))
    content = compressor.compress(plain) + compressor.flush()
    width = _width(heads)
    digits = "".join(_HEADS[width][head] if isinstance(head, int) else f"{_LONG[width]:x}{head}" for head in heads)
    kind = _TYPE_PACKED + (_WITH_END if end is not None else 0) + (_WIDE if width == 2 else 0)
    if len(content) >= len(plain):
        kind, content = kind + _AS_THEY_ARE, plain
    return b"".join(
        (
            bytes([kind]),
            b"" if end is None else encode_end(end),
            encode_varint(base),
            encode_varint(len(fragments)),
            bytes.fromhex(digits if len(digits) % 2 == 0 else digits + "0"),
            content,
        )
    )


def is_packed(payload: bytes) -> bool:
    """Return whether a payload is packed data."""
    return bool(payload) and _TYPE_PACKED <= payload[0] <= _TYPE_PACKED + _WITH_END + _AS_THEY_ARE + _WIDE


def decode_packed(payload: bytes) -> Packed:
    """Decode packed data, but for what is compressed.

    Raises:
        MalformedPacket: It is not the encoding of any.
    """
    if not is_packed(payload):
        raise MalformedPacket("this is not packed data")
    kind, reader = payload[0] - _TYPE_PACKED, ByteReader(payload[1:])
    end = decode_end(reader) if kind & _WITH_END else None
    base, count = reader.varint(), reader.varint()
    if count > MAX_FRAGMENTS or (not count and end is None):
        raise MalformedPacket(f"{count} fragments are too many, or none without an end")
    fragments, content = _decode_heads(base, count, reader.rest(), width=2 if kind & _WIDE else 1)
    return Packed(base, fragments, content, compressed=not kind & _AS_THEY_ARE, end=end)


def unpack(packed: Packed, history: History, waiting: Mapping[int, Fragment]) -> list[Fragment]:
    """Return the fragments of a packet that are not there yet.

    Args:
        packed: The packet; the fragment below its base is in the history.
        history: Of what was released.
        waiting: What arrived beyond a gap.

    Raises:
        MalformedPacket: The content is not what the heads say.
    """
    total = sum(fragment.length for fragment in packed.fragments)
    content = (
        _decompress(packed.content, total, history.dictionary(packed.base)) if packed.compressed else packed.content
    )
    if len(content) != total:
        raise MalformedPacket("the content of packed data is shorter or longer than its heads say")
    found: dict[int, Fragment] = {}
    shape, stop = history.delta(packed.base - 1).shape, 0
    for item in packed.fragments:
        index, start, stop = item.index, stop, stop + item.length
        if item.shape is not None:
            shape = item.shape
        if index < history.next_index or index in waiting:  # most are: each packet repeats what is not acknowledged
            continue
        below = index if item.follows else packed.base
        earlier = found.get(below - 1) or waiting.get(below - 1)
        reference = history.data(below - 1) if earlier is None else earlier.data
        if shape.prefix + shape.suffix > len(reference):
            raise MalformedPacket("a fragment shares more than there is")
        data = restore(reference, shape, content[start:stop])
        if len(data) > MAX_DATAGRAM or (item.more and not data):
            raise MalformedPacket("a fragment is longer than any, or is empty and goes on")
        found[index] = Fragment(index, data, item.more)
    return list(found.values())


def read_packed(payload: bytes) -> tuple[int, ...]:
    """Return the indices of the fragments in a packet."""
    return tuple(fragment.index for fragment in decode_packed(payload).fragments)


def _width(heads: Sequence[int | str]) -> int:
    """Return the digits of a head with which these are the shortest, or nearly so."""
    lengths = [head for head in heads if isinstance(head, int)]
    longer = sum(length >= _LONG[1] for length in lengths)
    return 2 if longer and len(lengths) - longer < _PAYS * longer else 1


def _long_head(fragment: Fragment, delta: Delta, *, jump: int, changed: bool) -> str:
    flags = (_JUMP if jump else 0) | (_CHANGED if changed else 0) | (_MORE if fragment.more else 0)
    head = encode_varint(len(delta.middle) << _FLAG_BITS | flags)
    if jump:
        head += encode_varint(jump)
    if changed:
        head += encode_varint(delta.shape.prefix) + encode_varint(delta.shape.suffix)
    return head.hex()


def _decode_heads(base: int, count: int, data: bytes, *, width: int) -> tuple[tuple[PackedFragment, ...], bytes]:
    """Return the fragments, and the content that follows the heads."""
    digits = data[: count * 16].hex()
    position, index, total, long = 0, base, 0, _LONG[width]
    fragments: list[PackedFragment] = []
    for _ in range(count):
        length = int(digits[position : position + width], 16) if position < len(digits) else long + 1
        position += width
        if length < long:
            fragment = PackedFragment(index, length, more=False, shape=None, follows=True)
        elif length == long:
            fragment, position = _decode_long_head(digits, position, index)
        else:
            raise MalformedPacket("the heads of packed data are cut off, or begin with what there is not")
        total += fragment.length
        if fragment.index > MAX_VARINT or total > MAX_UNPACKED:
            raise MalformedPacket("an index of packed data is out of range, or there is more in it than may be")
        fragments.append(fragment)
        index = fragment.index + 1
    if position % 2 and digits[position : position + 1] != "0":
        raise MalformedPacket("the heads of packed data are not padded with zero")
    return tuple(fragments), data[(position + 1) // 2 :]


def _decode_long_head(digits: str, position: int, index: int) -> tuple[PackedFragment, int]:
    window = digits[position : position + 64]
    data = bytes.fromhex(window[: len(window) // 2 * 2])
    head, read = decode_varint(data, 0)
    shape, flags = None, head & (1 << _FLAG_BITS) - 1
    if flags & _JUMP:
        jump, read = decode_varint(data, read)
        index += jump
    if flags & _CHANGED:
        prefix, read = decode_varint(data, read)
        suffix, read = decode_varint(data, read)
        shape = Shape(prefix, suffix)
    more, follows = bool(flags & _MORE), not flags & _JUMP
    return PackedFragment(index, head >> _FLAG_BITS, more, shape, follows), position + 2 * read


def _decompress(content: bytes, size: int, dictionary: bytes) -> bytes:
    decompressor = zlib.decompressobj(_WINDOW_BITS, zdict=dictionary)
    try:
        plain = decompressor.decompress(content, size + 1)
    except zlib.error as error:
        raise MalformedPacket("the content of packed data cannot be decompressed") from error
    if not decompressor.eof or decompressor.unused_data:
        raise MalformedPacket("the content of packed data is cut off, or something follows it")
    return plain
