"""What an origin relay keeps of an answer, so that an edge can go on with it after its path, or itself, was gone.

Rules of this file
- Tokens are appended by one producer and read by any number of readers, each at a position of its own.
- The newest `MAX_LOG` bytes of what was read are kept; the producer waits while a reader is far behind, or while nobody
  reads and the log is full. So memory is bounded, and the model is slowed down as by a direct connection.
"""

import asyncio
from collections import deque
from collections.abc import Callable

MAX_AHEAD = 1024  # tokens that wait for a reader, beyond which the producer waits
MAX_LOG = 1 << 20  # bytes that are kept of one answer
TOKEN_COST = 64  # bytes that a token takes beside its content


class AnswerLog:
    """The tokens of one answer and its trailer.

    Attributes:
        first: Index of the oldest token that is kept.
        trailer: How it ended; None while it goes on.
        size: Bytes that are held.
    """

    def __init__(self) -> None:
        self.first = 0
        self.trailer: bytes | None = None
        self.size = 0
        self._tokens: deque[bytes] = deque()
        self._readers: dict[Callable[[], None], int] = {}
        self._room = asyncio.Event()
        self._room.set()

    @property
    def end(self) -> int:
        """Index of the token that comes next."""
        return self.first + len(self._tokens)

    @property
    def is_read(self) -> bool:
        """Whether somebody reads it now."""
        return bool(self._readers)

    def read(self, position: int) -> bytes | None:
        """Return a token, or None if it did not come yet.

        Args:
            position: Its index, at least `first`.
        """
        return self._tokens[position - self.first] if position < self.end else None

    def attach(self, reader: Callable[[], None], position: int) -> None:
        """Add a reader, or note how far it is.

        Args:
            reader: Called when there is something new.
            position: Index of the token that it wants next.
        """
        self._readers[reader] = position
        if not self._room.is_set():
            self._trim()

    def detach(self, reader: Callable[[], None]) -> None:
        """Remove a reader; nothing happens if it is none."""
        self._readers.pop(reader, None)
        self._trim()

    def append(self, token: bytes) -> bool:
        """Add a token; return whether there is room for another."""
        self._tokens.append(token)
        self.size += len(token) + TOKEN_COST
        self._tell()
        if self.size > MAX_LOG or len(self._tokens) >= MAX_AHEAD:
            self._trim()
        return self._room.is_set()

    async def room(self) -> None:
        """Wait until there is room."""
        await self._room.wait()

    def finish(self, trailer: bytes) -> None:
        """Note how the answer ended."""
        self.trailer = trailer
        self._tell()

    def _tell(self) -> None:
        for reader in list(self._readers):
            reader()

    def _trim(self) -> None:
        """Forget what nobody will ask for, and tell the producer whether there is room."""
        read = min(self._readers.values(), default=self.first)
        while self.size > MAX_LOG and self.first < read:
            self.size -= len(self._tokens.popleft()) + TOKEN_COST
            self.first += 1
        is_room = self.size <= MAX_LOG and (not self._readers or self.end - read < MAX_AHEAD)
        (self._room.set if is_room else self._room.clear)()
