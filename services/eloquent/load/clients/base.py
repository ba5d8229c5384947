"""What every way to the answers has in common.

Rules of this file: tokens come in order from index 0, or the session has failed. Whoever stops reading closes the iterator, which
cancels the answer at the server. Outcomes are gRPC statuses in lower case, as in all logs.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from eloquent.errors import EloquentError

Connection = TypeVar("Connection")


@dataclass(frozen=True, slots=True)
class Question:
    """What a user asks.

    Attributes:
        prompt: The words.
        max_tokens: Tokens of the answer at most.
        token_gap_s: Seconds between two tokens.
        timeout_s: Seconds after which the session is given up.
    """

    prompt: str
    max_tokens: int
    token_gap_s: float
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it comes.

    Attributes:
        index: Its position, from 0.
        text: What it says.
        generated_s: When it was made, in seconds of CLOCK_MONOTONIC.
    """

    index: int
    text: str
    generated_s: float


class AskFailed(EloquentError):
    """An answer that did not come, or did not end well.

    Attributes:
        outcome: A gRPC status in lower case.
    """

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class Client(Protocol):
    """A way to the answers, shared by any number of users."""

    def ask(self, question: Question, *, client: str, session: str) -> Generator[Token, None, None]:
        """Ask, and yield the tokens as they come.

        Args:
            question: What to ask.
            client: Name of the client host.
            session: Name of the session.

        Raises:
            AskFailed: The answer does not come, or does not end well.
        """

    def close(self) -> None:
        """Close the connections; sessions that are still open fail."""


def in_order(tokens: Generator[Token, None, None]) -> Generator[Token, None, None]:
    """Yield the tokens on, and fail at one that is not the next."""
    with closing(tokens):
        for index, token in enumerate(tokens):
            if token.index != index:
                raise AskFailed("data_loss", f"token {token.index} came in the place of {index}")
            yield token


class Deadline:
    """How much time is left of some seconds that begin now."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            AskFailed: None are.
        """
        if (left := self._end - time.monotonic()) > 0:
            return left
        raise self.passed()

    def passed(self) -> AskFailed:
        """Make the error of a deadline that has passed."""
        return AskFailed("deadline_exceeded", f"no end after {self._seconds:g} s")


class Pool(Generic[Connection]):
    """Connections that are kept open, each for one session at a time.

    Args:
        make: Makes a connection.
        close: Closes one.
    """

    def __init__(self, make: Callable[[], Connection], close: Callable[[Connection], None]) -> None:
        self._make = make
        self._close = close
        self._idle: list[Connection] = []
        self._lent: list[Connection] = []

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """Lend a connection; one whose session ends with an exception, or early, is closed and not lent again."""
        connection = self._idle.pop() if self._idle else self._make()
        self._lent.append(connection)
        try:
            yield connection
        except BaseException:
            self._close(connection)
            raise
        else:
            self._idle.append(connection)
        finally:
            self._lent.remove(connection)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._idle + self._lent:
            self._close(connection)
        self._idle.clear()
