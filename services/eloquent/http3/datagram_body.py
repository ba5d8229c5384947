"""One side of a body that travels in HTTP datagrams: an endpoint of a scheme on the loop's clock.

Rules of this file: what QUIC is given it sends when its congestion control lets it, however late: its queue is aioquic's own.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

from eloquent.errors import RemoteProtocolError
from eloquent.http3.settings import DATAGRAM_BUDGET
from eloquent.protocol.contract import (
    Event,
    PeerLost,
    StreamAccount,
    StreamAcknowledged,
    StreamBroken,
    StreamFinished,
    StreamReceiver,
    StreamSender,
    TokenReceived,
)
from eloquent.protocol.scheme import Scheme

MAX_BACKLOG = 256  # pieces that the peer has not acknowledged, until whoever writes has to wait


class _Body(ABC):
    """What both sides share: the turn that follows each input.

    Args:
        endpoint: The scheme's.
        send: Sends an HTTP datagram.
    """

    def __init__(self, endpoint: StreamReceiver | StreamSender, send: Callable[[bytes], None]) -> None:
        self._endpoint = endpoint
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def receive(self, data: bytes) -> None:
        """Take the content of an HTTP datagram; what is malformed is dropped."""
        if self._closed:
            return
        try:
            self._endpoint.receive_datagram(data, now=self._loop.time())
        except RemoteProtocolError:
            return
        self._turn()

    def close(self) -> None:
        """Send nothing more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _turn(self) -> None:
        if self._closed:
            return
        for data in self._endpoint.datagrams_to_send(now=self._loop.time()):
            self._send(data)
        while not self._closed and (event := self._endpoint.next_event()) is not None:
            self._take(event)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._closed and (due := self._endpoint.get_timer()) is not None:
            self._timer = self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._endpoint.handle_timer(now=self._loop.time())
        self._turn()

    @abstractmethod
    def _take(self, event: Event) -> None: ...


class SentBody(_Body):
    """The side that the body comes from.

    Args:
        scheme: Makes the packets.
        send: Sends an HTTP datagram.
    """

    _endpoint: StreamSender

    def __init__(self, scheme: Scheme, send: Callable[[bytes], None]) -> None:
        super().__init__(scheme.make_sender(budget=DATAGRAM_BUDGET), send)
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._progress = asyncio.Event()

    @property
    def account(self) -> StreamAccount:
        """What the body has cost so far; its `packets` and `wire_bytes` are not those of QUIC."""
        return self._endpoint.account

    async def write(self, piece: bytes) -> None:
        """Send a piece, which arrives as one; wait for room first.

        Raises:
            ConnectionError: The peer was silent for too long.
        """
        while self._endpoint.backlog >= MAX_BACKLOG and not self._over.done():
            self._progress.clear()
            await self._progress.wait()
        if self._over.done():
            self._over.result()
        self._endpoint.send_token(piece, now=self._loop.time())
        self._turn()

    async def finish(self) -> None:
        """End the body, and wait until the peer has it all.

        Raises:
            ConnectionError: The peer was silent for too long.
        """
        self._endpoint.finish(now=self._loop.time())
        self._turn()
        await self._over

    def receive(self, data: bytes) -> None:
        """Take an acknowledgement."""
        super().receive(data)
        self._progress.set()

    def close(self) -> None:
        """Send nothing more; whoever waits is told."""
        super().close()
        self._progress.set()
        if not self._over.done():
            self._over.set_exception(ConnectionError("the body was given up"))
            self._over.exception()  # nobody need have waited

    def _take(self, event: Event) -> None:
        if self._over.done():
            return
        if isinstance(event, StreamAcknowledged):
            self._over.set_result(None)
        elif isinstance(event, PeerLost):
            self._over.set_exception(ConnectionError(event.reason))
            self._progress.set()


class ReceivedBody(_Body):
    """The side that the body comes to.

    Args:
        scheme: Whose packets come.
        send: Sends an HTTP datagram.
        on_piece: Given each piece, in order.
        on_end: Called when all have come, or with the reason when they will not.
    """

    _endpoint: StreamReceiver

    def __init__(
        self,
        scheme: Scheme,
        send: Callable[[bytes], None],
        on_piece: Callable[[bytes], None],
        on_end: Callable[[str], None],
    ) -> None:
        super().__init__(scheme.make_receiver(), send)
        self._on_piece = on_piece
        self._on_end = on_end

    def _take(self, event: Event) -> None:
        if isinstance(event, TokenReceived):
            self._on_piece(event.data)
        elif isinstance(event, StreamFinished):
            self._on_end("")
        elif isinstance(event, (StreamBroken, PeerLost)):
            self._on_end(event.reason)
