"""To which sizes sealed datagrams are padded, so that sizes say little of what is in them.

Rules of this file
- What carries no text (signs of life, path validation) always has the smallest size.
- What a server sends of a session starts at the second: a few short words and a few long ones look alike there.
- A size that no bucket holds cannot be: the largest is that of the largest datagram.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise

from eloquent.errors import ConfigurationError
from eloquent.protocol.datagram import MAX_DATAGRAM

BUCKETS = (64, 192, 448, MAX_DATAGRAM)
"""Bytes of UDP payload: an acknowledgement; ten words; ten packed chat events; anything."""


@dataclass(frozen=True, slots=True)
class Padding:
    """The sizes that sealed datagrams have.

    Attributes:
        control: Of what carries no session's datagram.
        client: Of clients' datagrams, ascending; the last is 1200.
        server: Of servers' datagrams.

    Raises:
        ConfigurationError: Sizes do not ascend, or end elsewhere.
    """

    control: int = BUCKETS[0]
    client: tuple[int, ...] = BUCKETS
    server: tuple[int, ...] = BUCKETS[1:]

    def __post_init__(self) -> None:
        for sizes in (self.client, self.server):
            if sizes[-1:] != (MAX_DATAGRAM,) or any(a >= b for a, b in pairwise(sizes)):
                raise ConfigurationError(f"the sizes of padded datagrams ascend, and end with {MAX_DATAGRAM}")


DEFAULT_PADDING = Padding()


def padded(size: int, sizes: tuple[int, ...]) -> int:
    """Return the least of some sizes that has room for `size` bytes; without sizes, `size` itself."""
    position = bisect_left(sizes, size)
    return sizes[position] if position < len(sizes) else size
