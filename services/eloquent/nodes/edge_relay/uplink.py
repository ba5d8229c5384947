"""The edge relay's side of one session: answers, sorted into one queue a stream.

Rules of this file: a queue ends with exactly one of `StreamEnded` and `StreamFailed`. It holds a bounded number of
tokens: a client that does not read loses its stream, not the relay its memory.
"""

import asyncio
import secrets
from typing import Self

from eloquent import schemes, telemetry
from eloquent.drivers.udp import Address, UdpClient
from eloquent.protocol.session import (
    ClientSession,
    SessionEvent,
    SessionLost,
    StreamEnded,
    StreamFailed,
    StreamToken,
    Tally,
)

MAX_WAITING = 4096  # tokens of one stream that wait for its client


class Answer:
    """One stream of an uplink, to be read with `next` up to its end.

    Args:
        uplink: Where it comes from.
        stream_id: Its number there.
    """

    def __init__(self, uplink: "Uplink", stream_id: int) -> None:
        self._uplink = uplink
        self._stream_id = stream_id
        self._waiting: asyncio.Queue[StreamToken | StreamEnded | StreamFailed] = asyncio.Queue()

    async def next(self) -> StreamToken | StreamEnded | StreamFailed:
        """Wait for the next token, or for the end of the stream."""
        return await self._waiting.get()

    def cancel(self) -> None:
        """Tell the origin relay that nobody wants the rest; does nothing after the end."""
        self._uplink.cancel(self._stream_id)

    def put(self, event: StreamToken | StreamEnded | StreamFailed) -> None:
        """Queue what the session reported."""
        if self._waiting.qsize() >= MAX_WAITING:
            self.cancel()
            event = StreamFailed(self._stream_id, f"the client left {MAX_WAITING} tokens unread")
        self._waiting.put_nowait(event)


class Uplink:
    """One session to the origin relay; `connect` makes it, and once it is not `alive` another one has to be made."""

    _client: UdpClient

    def __init__(self) -> None:
        self._answers: dict[int, Answer] = {}

    @classmethod
    async def connect(cls, address: Address, metrics: telemetry.SessionMetrics) -> Self:
        """Open a socket towards the origin relay; nothing is sent before the first stream.

        Raises:
            OSError: There is no way to that address.
        """
        uplink = cls()
        session = ClientSession(
            secrets.token_bytes(8), schemes.get, Tally(sent=metrics.sent, received=metrics.received)
        )
        uplink._client = await UdpClient.connect(address, session, uplink._on_event)
        return uplink

    @property
    def alive(self) -> bool:
        """Whether new streams can be opened."""
        return not self._client.session.closed

    @property
    def malformed(self) -> int:
        """Datagrams dropped because they could not be decoded."""
        return self._client.malformed

    def open(self, request: bytes, *, scheme: str) -> Answer:
        """Send a request and return its answer.

        Raises:
            ConfigurationError: There is no such scheme, or it is not carried by datagrams.
            LocalProtocolError: The session is over, the request is too long, or too many streams are open.
        """
        now = asyncio.get_running_loop().time()
        stream_id = self._client.session.open_stream(request, scheme=scheme, now=now)
        answer = self._answers[stream_id] = Answer(self, stream_id)
        self._client.flush()
        return answer

    def cancel(self, stream_id: int) -> None:
        """Give up a stream, if it is still open."""
        if self._answers.pop(stream_id, None) is not None:
            self._client.session.cancel_stream(stream_id, now=asyncio.get_running_loop().time())
            self._client.flush()

    def close(self) -> None:
        """Close the session and the socket."""
        self._client.close()

    def _on_event(self, event: SessionEvent) -> None:
        match event:
            case StreamToken():
                if answer := self._answers.get(event.stream_id):
                    answer.put(event)
            case StreamEnded() | StreamFailed():
                if answer := self._answers.pop(event.stream_id, None):
                    answer.put(event)
            case SessionLost():
                pass  # its streams have failed before
