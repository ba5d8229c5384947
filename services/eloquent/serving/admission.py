"""Who may come in: one count of streams for all frontends of a node, and its end.

Rules of this file: a stream that is let in counts until its handler has ended; once draining, nobody is let in, and those
inside get the grace time.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import grpc

from eloquent.errors import EloquentError


class Refused(EloquentError):
    """A stream that is not let in.

    Attributes:
        code: Why.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Admission:
    """Counts the streams of a node.

    Args:
        max_streams: Streams at once; one more is refused.

    Attributes:
        active: Streams inside.
        draining: Whether nobody is let in any more.
    """

    def __init__(self, max_streams: int) -> None:
        self.active = 0
        self._max_streams = max_streams
        self.draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Hold a place while a stream is handled.

        Raises:
            Refused: There is no room (RESOURCE_EXHAUSTED), or the node is draining (UNAVAILABLE).
        """
        if self.draining:
            raise Refused(grpc.StatusCode.UNAVAILABLE, "this node is shutting down")
        if self.active >= self._max_streams:
            limit = f"{self._max_streams} streams are open, which is this node's limit; try again later"
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, limit)
        self.active += 1
        self._empty.clear()
        try:
            yield
        finally:
            self.active -= 1
            if not self.active:
                self._empty.set()

    async def drain(self, grace: float) -> None:
        """Let nobody in any more, and wait until nobody is inside, at most so many seconds."""
        self.draining = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), grace)
