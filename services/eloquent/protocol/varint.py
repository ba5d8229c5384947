"""Variable-length integers as in RFC 9000 §16, and a reader that never reads past the end.

The two top bits of the first byte give the length (1, 2, 4 or 8 bytes), the rest is the value, big-endian. Unlike
QUIC we accept the shortest form only, so that every value has one encoding.
"""

from functools import lru_cache

from eloquent.errors import MalformedPacket

MAX_VARINT = (1 << 62) - 1
MAX_VARINT_SIZE = 8  # bytes

_PREFIX = {1: 0, 2: 1 << 14, 4: 2 << 30, 8: 3 << 62}  # by size: the two top bits
_LEAST = {1: 0, 2: 1 << 6, 4: 1 << 14, 8: 1 << 30}  # by size: values below have a shorter form


def varint_size(value: int) -> int:
    """Return how many bytes a value takes.

    Args:
        value: 0 to 2^62 - 1.

    Raises:
        ValueError: The value is out of range.
    """
    if value < 0 or value > MAX_VARINT:
        raise ValueError(f"{value} does not fit a variable-length integer")
    if value < 1 << 6:
        return 1
    if value < 1 << 14:
        return 2
    return 4 if value < 1 << 30 else 8


@lru_cache(maxsize=1024)  # most are lengths and indices that come again
def encode_varint(value: int) -> bytes:
    """Encode a value in the shortest form.

    Args:
        value: 0 to 2^62 - 1.

    Raises:
        ValueError: The value is out of range.
    """
    size = varint_size(value)
    return (value | _PREFIX[size]).to_bytes(size)


def decode_varint(data: bytes, start: int) -> tuple[int, int]:
    """Return the value that begins at an offset, and the offset after it.

    Raises:
        MalformedPacket: It is cut off, or not in the shortest form.
    """
    if start >= len(data):
        raise MalformedPacket("the packet ends too early")
    first = data[start]
    if first < 1 << 6:  # as most are
        return first, start + 1
    size = 1 << (first >> 6)
    stop = start + size
    if stop > len(data):
        raise MalformedPacket("the packet ends too early")
    value = int.from_bytes(data[start:stop]) ^ _PREFIX[size]
    if value < _LEAST[size]:
        raise MalformedPacket("an integer is not in its shortest form")
    return value, stop


class ByteReader:
    """Read a buffer from its start, raising MalformedPacket where it is too short."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def at_end(self) -> bool:
        """Whether everything was read."""
        return self._position == len(self._data)

    def take(self, size: int) -> bytes:
        """Read exactly `size` bytes.

        Raises:
            MalformedPacket: Fewer are left.
        """
        stop = self._position + size
        if stop > len(self._data):
            raise MalformedPacket("the packet ends too early")
        chunk = self._data[self._position : stop]
        self._position = stop
        return chunk

    def rest(self) -> bytes:
        """Read all that is left."""
        return self.take(len(self._data) - self._position)

    def varint(self) -> int:
        """Read a variable-length integer.

        Raises:
            MalformedPacket: It is cut off, or not in the shortest form.
        """
        value, self._position = decode_varint(self._data, self._position)
        return value
