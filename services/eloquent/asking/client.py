"""What all clients of answers have in common.

Rules of this file: connections are kept open, and each session has one to itself unless they are told to share, so that the
kernel's account of a connection is a session's. Nothing retries. Every failure is an `AnswerFailed` with an outcome, a gRPC status
in lower case. Whoever stops reading closes the generator, which cancels the answer at the server.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from eloquent.calls.answer import AnswerCheck, AnswerFailed, AnswerToken

CONNECT_TIME = 15.0  # seconds for a connection before the first session

_logger = logging.getLogger(__name__)

Connection = TypeVar("Connection")
Metadata = tuple[tuple[str, str], ...]


class Question(Protocol):
    """What is asked for."""

    @property
    def prompt(self) -> str:
        """The words."""

    @property
    def max_tokens(self) -> int:
        """Where the testbed's own server cuts the answer off; 0 for nowhere."""

    @property
    def tokens(self) -> int:
        """Where any other server does."""

    @property
    def token_gap(self) -> float:
        """Seconds between two tokens."""

    @property
    def deadline(self) -> float:
        """Seconds after which the session is given up."""


class AsyncClient(ABC):
    """One scheme's way to the answers, from one network."""

    async def answer(self, question: Question, metadata: Metadata) -> AsyncGenerator[AnswerToken, None]:
        """Ask, and yield the tokens as they come; whoever closes it early tells the server.

        Args:
            question: What to ask for.
            metadata: Whose session it is.

        Raises:
            AnswerFailed: The answer does not come, or does not end well.
        """
        check = AnswerCheck()
        async with aclosing(self._tokens(question, metadata)) as tokens:
            async for token in tokens:
                yield check.take(token)
        check.finish()

    @abstractmethod
    async def connect(self) -> None:
        """Connect ahead of the first session; where nobody answers yet, go on."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections; sessions that are still open fail."""

    @abstractmethod
    def _tokens(self, question: Question, metadata: Metadata) -> AsyncGenerator[AnswerToken, None]: ...


class ConnectedClient(AsyncClient, Generic[Connection]):
    """A client with connections, which are kept open.

    Args:
        target: `HOST:PORT`.
        network: The file of the network that they leave from; None for the process's own.
        is_shared: Whether all sessions share one connection.
    """

    def __init__(self, target: str, network: Path | None = None, *, is_shared: bool = False) -> None:
        self._target = target
        self._network = network
        self._is_shared = is_shared
        self._idle: list[Connection] = []
        self._all: list[Connection] = []

    async def connect(self) -> None:
        """See `AsyncClient`."""
        async with self._connection() as connection:
            try:
                await asyncio.wait_for(self._warm(connection), CONNECT_TIME)
            except (TimeoutError, OSError, AnswerFailed):
                _logger.warning("no connection to %s; going on", self._target)

    async def close(self) -> None:
        """See `AsyncClient`."""
        for connection in self._all:
            await self._close(connection)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """Lend a connection that no other session uses, or the one that all share."""
        if not self._idle:
            self._all.append(connection := self._make())
            self._idle.append(connection)
        if self._is_shared:
            yield self._idle[0]
            return
        connection = self._idle.pop()
        try:
            yield connection
        finally:
            self._idle.append(connection)

    @abstractmethod
    def _make(self) -> Connection: ...

    @abstractmethod
    async def _warm(self, connection: Connection) -> None: ...

    @abstractmethod
    async def _close(self, connection: Connection) -> None: ...
