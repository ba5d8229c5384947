"""What an origin relay keeps of an answer, and of each stream that carries it to an edge or a page."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from eloquent.drivers.udp import UdpServer
from eloquent.protocol.contract import StreamAccount
from eloquent.protocol.session import ServerSession, StreamCancelled, StreamDelivered, StreamFailed
from eloquent.relay.answer_log import AnswerLog
from eloquent.relay.exchange import ModelRequest

StreamEnd = StreamDelivered | StreamCancelled | StreamFailed


@dataclass(eq=False, slots=True, weakref_slot=True)
class OriginAnswer:
    """An answer, and the task that asks for it.

    Attributes:
        request: What was asked.
        began: Seconds of the loop's clock; when it was asked.
        log: What came of it.
        is_resumable: Whether its client may come back for the rest by another edge.
        is_strangers: Whether a stranger has asked it.
        call: The task.
        expiry: Ends it when nobody comes back.
        is_delivered: Whether an edge has all of it.
    """

    request: ModelRequest
    began: float
    log: AnswerLog
    is_resumable: bool
    is_strangers: bool = False
    call: "asyncio.Task[None] | None" = None
    expiry: asyncio.TimerHandle | None = None
    is_delivered: bool = False

    @property
    def is_wanted(self) -> bool:
        """Whether somebody may still want it, when an edge has all of it or does not want it."""
        return self.is_resumable or self.log.is_read  # by another stream


@dataclass(eq=False, slots=True, weakref_slot=True)
class OriginStream:
    """A stream that carries an answer, or the part of it that is left.

    Attributes:
        server: Where its session came in.
        session: Its session.
        stream_id: Its number there.
        answer_id: Of the answer.
        answer: The answer.
        position: Index of the next token that it is given.
        scheme: Name of the scheme that carries it.
        is_resumed: Whether the answer had been asked for before.
        wake: Its entry in the answer's log.
        poll: Looks again whether there is room.
    """

    server: UdpServer
    session: ServerSession
    stream_id: int
    answer_id: bytes
    answer: OriginAnswer
    position: int
    scheme: str
    is_resumed: bool
    wake: Callable[[], None] = field(default=lambda: None)
    poll: asyncio.TimerHandle | None = None

    @property
    def account(self) -> StreamAccount:
        """What it has cost so far."""
        return self.session.account(self.stream_id)

    @property
    def backlog(self) -> int:
        """How many of its tokens the edge has not acknowledged."""
        return self.session.backlog(self.stream_id)
