"""A set of integers kept as sorted, disjoint, non-adjacent half-open ranges."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator


class RangeSet:
    """A set of non-negative integers that are mostly consecutive.

    Args:
        ranges: `(start, stop)` pairs to begin with, in any order.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges: list[tuple[int, int]] = []  # (n,) is less than (n, m), so bisect finds where n would begin
        for start, stop in ranges:
            self.add(start, stop)

    def add(self, start: int, stop: int) -> None:
        """Add the integers from `start` to `stop - 1`; nothing if there are none."""
        if start >= stop:
            return
        first = bisect_left(self._ranges, (start + 1,))
        if first and self._ranges[first - 1][1] >= start:
            first -= 1
            start = self._ranges[first][0]
        last = bisect_left(self._ranges, (stop + 1,))
        if last > first:
            stop = max(stop, self._ranges[last - 1][1])
        self._ranges[first:last] = [(start, stop)]

    def discard_below(self, bound: int) -> None:
        """Remove every integer less than `bound`."""
        below = bisect_left(self._ranges, (bound,))
        if below and self._ranges[below - 1][1] > bound:
            below -= 1
            self._ranges[below] = (bound, self._ranges[below][1])
        del self._ranges[:below]

    def gaps(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Return the ranges of integers from `start` to `stop - 1` that are not in the set, ascending."""
        position = bisect_left(self._ranges, (start + 1,))
        if position and self._ranges[position - 1][1] > start:
            start = self._ranges[position - 1][1]
        while start < stop:
            has_next = position < len(self._ranges)
            until = min(self._ranges[position][0], stop) if has_next else stop
            if start < until:
                yield start, until
            if not has_next:
                return
            start = self._ranges[position][1]
            position += 1

    @property
    def stop(self) -> int:
        """The integer after the highest one in the set, 0 for an empty set."""
        return self._ranges[-1][1] if self._ranges else 0

    def __contains__(self, value: int) -> bool:
        position = bisect_left(self._ranges, (value + 1,))
        return position > 0 and value < self._ranges[position - 1][1]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def __repr__(self) -> str:
        return f"RangeSet({self._ranges})"
