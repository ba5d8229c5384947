"""Random linear combinations over GF(256), after RFC 8681: parity symbols over a sliding window, and solving for losses.

Rules of this file
- The field is that of RFC 8681 §3.6 and of Reed-Solomon codes: x^8 + x^4 + x^3 + x^2 + 1, generator 2.
- A symbol is a fragment with its length before it (2 bytes: length × 2 + more), padded with zeros to the longest of a
  window. The coefficient of an index under a key is never 0, and a pure function of both, so that none is on the wire.
- The decoder keeps what it needs of the last `HISTORY` fragments, and at most `MAX_PARITIES` combinations.

Own code, because the erasure-code libraries that Python has (zfec, reedsolo, pyeclib) are block codes: they cannot
solve overlapping windows together, which is what a streaming code is about, and the pure layer has no dependencies.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from eloquent.protocol.frames import Fragment

MAX_PARITIES = 64
HISTORY = 512  # fragments; more than the windows of all parities that may still help
_LENGTH_SIZE = 2  # bytes
_POLYNOMIAL = 0x11D


def _tables() -> tuple[list[bytes], list[int]]:
    power, log = [0] * 510, [0] * 256
    value = 1
    for exponent in range(255):
        power[exponent] = power[exponent + 255] = value
        log[value] = exponent
        value = value << 1 ^ (_POLYNOMIAL if value & 0x80 else 0)
    multiply = [bytes(256)]
    multiply += [bytes([0, *(power[log[a] + log[b]] for b in range(1, 256))]) for a in range(1, 256)]
    inverse = [0, *(power[255 - log[a]] for a in range(1, 256))]
    return multiply, inverse


MULTIPLY, INVERSE = _tables()
"""`MULTIPLY[a][b]` is a × b (each row also serves `bytes.translate`); `INVERSE[a]` is 1 / a for a other than 0."""


@dataclass(frozen=True, slots=True)
class Parity:
    """A combination of consecutive fragments.

    Attributes:
        first: Index of the first.
        count: How many.
        key: 0 to 255; tells one combination of a window from another.
        data: The combined symbols.
    """

    first: int
    count: int
    key: int
    data: bytes


@lru_cache(maxsize=8192)  # both sides ask for it, and a receiver again while a loss is open
def coefficient(index: int, key: int) -> int:
    """Return the factor of a fragment in the combination of a key, 1 to 255."""
    mixed = (index * 0x9E3779B1 + key * 0x85EBCA6B + 0xC2B2AE35) & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 15) * 0x2C1B3C6D & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 12) * 0x297A2D39 & 0xFFFFFFFF
    return 1 + (mixed ^ mixed >> 15) % 255


def combine(fragments: Sequence[Fragment], key: int) -> Parity:
    """Return a parity over consecutive fragments."""
    symbols = [_symbol(fragment) for fragment in fragments]
    size = max(map(len, symbols))
    total = 0
    for fragment, symbol in zip(fragments, symbols, strict=True):
        total ^= _scaled(symbol, coefficient(fragment.index, key), size)
    return Parity(fragments[0].index, len(fragments), key, total.to_bytes(size))


class Decoder:
    """Find lost fragments from parities and the fragments that arrived."""

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}  # symbols by index, in the order of arrival
        self._parities: list[Parity] = []

    def learn(self, fragments: Iterable[Fragment]) -> None:
        """Take fragments that arrived."""
        for fragment in fragments:
            self._known.setdefault(fragment.index, _symbol(fragment))
        while len(self._known) > HISTORY:
            del self._known[next(iter(self._known))]

    def add(self, parity: Parity) -> None:
        """Take a parity."""
        self._parities.append(parity)
        del self._parities[:-MAX_PARITIES]

    def solve(self, needed_from: int) -> list[Fragment]:
        """Return the fragments that can be found now.

        Args:
            needed_from: No fragment below this index is needed, and what is unknown below it never will be.
        """
        rows = self._useful(needed_from)
        columns = sorted({index for _, factors, _ in rows for index in factors})
        if not columns:
            return []
        size = max(size for _, _, size in rows)
        matrix = []
        for value, factors, width in rows:
            left = bytes(factors.get(index, 0) for index in columns)
            matrix.append(left + value.to_bytes(width) + bytes(size - width))
        found = []
        for column, row in _eliminate(matrix, len(columns)):
            if (fragment := _fragment(columns[column], row[len(columns) :])) is not None:
                found.append(fragment)
        self.learn(found)
        return found

    def _useful(self, needed_from: int) -> list[tuple[int, dict[int, int], int]]:
        """Return what the parities say of unknown fragments, and forget those that say nothing."""
        rows, kept = [], []
        for parity in self._parities:
            indices = range(parity.first, parity.first + parity.count)
            unknown = {index: coefficient(index, parity.key) for index in indices if index not in self._known}
            if not unknown or min(unknown) < needed_from:
                continue
            kept.append(parity)
            size = max([len(parity.data), *(len(self._known[index]) for index in indices if index in self._known)])
            value = int.from_bytes(parity.data.ljust(size, b"\0"))
            for index in indices:
                if index in self._known:
                    value ^= _scaled(self._known[index], coefficient(index, parity.key), size)
            rows.append((value, unknown, size))
        self._parities = kept
        return rows


def _eliminate(matrix: list[bytes], columns: int) -> list[tuple[int, bytes]]:
    """Bring a matrix to its reduced form, and return the rows that name a single unknown, with its column."""
    done = 0
    for column in range(columns):
        pivot = next((place for place in range(done, len(matrix)) if matrix[place][column]), None)
        if pivot is None:
            continue
        matrix[done], matrix[pivot] = matrix[pivot], matrix[done]
        matrix[done] = matrix[done].translate(MULTIPLY[INVERSE[matrix[done][column]]])
        for place, row in enumerate(matrix):
            if place != done and row[column]:
                scaled = matrix[done].translate(MULTIPLY[row[column]])
                matrix[place] = (int.from_bytes(row) ^ int.from_bytes(scaled)).to_bytes(len(row))
        done += 1
    single = []
    for row in matrix[:done]:
        named = [column for column in range(columns) if row[column]]
        if len(named) == 1:
            single.append((named[0], row))
    return single


def _scaled(symbol: bytes, factor: int, size: int) -> int:
    return int.from_bytes(symbol.translate(MULTIPLY[factor]).ljust(size, b"\0"))


def _symbol(fragment: Fragment) -> bytes:
    return (len(fragment.data) << 1 | fragment.more).to_bytes(_LENGTH_SIZE) + fragment.data


def _fragment(index: int, symbol: bytes) -> Fragment | None:
    """Return the fragment of a symbol, or None if it cannot be one (the parities do not belong together)."""
    head = int.from_bytes(symbol[:_LENGTH_SIZE])
    stop = _LENGTH_SIZE + (head >> 1)
    if len(symbol) < stop or any(symbol[stop:]):
        return None
    return Fragment(index, symbol[_LENGTH_SIZE:stop], more=bool(head & 1))
