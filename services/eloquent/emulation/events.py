"""Events on their way to a user, who may have stopped to read them: no lab waits for that, and none fills its memory.

An event is a small JSON object on a line of its own. Once a reader is behind, signs of progress are left out, which the next one
makes up for; all that tells of something, such as a warning or the end, is kept for him.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import IO, Any

PROGRESS = frozenset({"tick", "users", "session_ended"})
"""Events that only show that all goes on."""
BACKLOG = 65536  # bytes that wait for the reader, beyond which signs of progress are left out
FLUSH_TIME = 2.0  # seconds for the last words to leave


class EventWriter:
    """Writes events to a pipe or a socket.

    Args:
        transport: Where they go.
        is_lost: Set when that is closed; `None` where somebody else closes it.
    """

    def __init__(self, transport: asyncio.WriteTransport, is_lost: asyncio.Event | None = None) -> None:
        self._transport = transport
        self._is_lost = is_lost

    @classmethod
    async def on_pipe(cls, pipe: IO[Any], *, on_lost: Callable[[], object]) -> "EventWriter":
        """Write to a pipe, such as standard output.

        Args:
            pipe: It becomes a non-blocking one.
            on_lost: Called when nobody can read it any more, or it is closed.
        """
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_write_pipe(lambda: _Pipe(on_lost), pipe)
        return cls(transport, protocol.is_lost)

    def tell(self, event: dict[str, Any]) -> None:
        """Write an event, at once or when the reader reads again; to one who is gone it goes nowhere."""
        is_behind = self._transport.get_write_buffer_size() > BACKLOG
        if not self._transport.is_closing() and not (is_behind and event.get("event") in PROGRESS):
            self._transport.write(json.dumps(event).encode() + b"\n")

    async def close(self) -> None:
        """Let the last words leave, as far as the reader takes them in a moment."""
        self._transport.close()
        if self._is_lost is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_lost.wait(), FLUSH_TIME)


class _Pipe(asyncio.BaseProtocol):
    """Tells of the end of a pipe."""

    def __init__(self, on_lost: Callable[[], object]) -> None:
        self._on_lost = on_lost
        self.is_lost = asyncio.Event()

    def connection_lost(self, _: Exception | None) -> None:
        self.is_lost.set()
        self._on_lost()
