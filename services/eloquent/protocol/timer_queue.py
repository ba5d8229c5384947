"""Instants of many things of which only the next one matters.

Rule of this file: what was set last for a key holds. An entry of the heap that it contradicts is stale; stale entries are
skipped when they come first, and removed together when they are most of the heap.
"""

import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

_FEW = 64  # stale entries that are not worth removing

Key = TypeVar("Key", bound=Hashable)


class TimerQueue(Generic[Key]):
    """When something is due for each of many keys."""

    def __init__(self) -> None:
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: Key, due: float | None) -> None:
        """Set the instant of a key, in seconds, in place of the one before; None for none."""
        if due is None:
            self._due.pop(key, None)
        elif self._due.get(key) != due:
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._order), key))
            if len(self._heap) > 4 * len(self._due) + _FEW:
                self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
                heapq.heapify(self._heap)

    def first(self) -> float | None:
        """Return the earliest instant, or None."""
        heap = self._heap
        while heap:
            due, _, key = heap[0]
            if self._due.get(key) == due:
                return due
            heapq.heappop(heap)
        return None

    def pop(self, now: float) -> Key | None:
        """Return a key that is due at `now`, the earliest first, and forget its instant; None if there is none."""
        due = self.first()
        if due is None or due > now:
            return None
        key = heapq.heappop(self._heap)[2]
        del self._due[key]
        return key
