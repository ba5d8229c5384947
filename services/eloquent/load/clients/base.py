"""What every way to the answers has in common.

Rules of this file: an answer is read by one thread, and may be left by any. Tokens come in order from index 0, or the session has
failed. Whoever stops reading closes the iterator, which cancels the answer at the server. Outcomes are gRPC statuses in lower case,
as in all logs.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from eloquent.calls.answer import AnswerCheck, AnswerFailed, Token

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


class Leave:
    """How a thread has another one leave the answer that it reads, wherever that one waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hang_up: Callable[[], object] | None = None
        self.taken = False

    def take(self) -> None:
        """Leave: the reader's iterator fails at once."""
        with self._lock:
            self.taken = True
            if self._hang_up is not None:
                self._hang_up()

    @contextmanager
    def by(self, hang_up: Callable[[], object]) -> Iterator[None]:
        """Say what ends the waiting from here on; called at once where the leave was taken before."""
        with self._lock:
            self._hang_up = hang_up
            if self.taken:
                hang_up()
        try:
            yield
        finally:
            with self._lock:
                self._hang_up = None


class Client(Protocol):
    """A way to the answers, shared by any number of users, each in a thread of its own."""

    def ask(self, question: Question, *, client: str, session: str, leave: Leave) -> Generator[Token, None, None]:
        """Ask, and yield the tokens as they come.

        Args:
            question: What to ask.
            client: Name of the client host.
            session: Name of the session.
            leave: How other threads end it.

        Raises:
            AnswerFailed: The answer does not come, does not end well, or was left.
        """

    def close(self) -> None:
        """Close the connections; sessions that are still open fail."""


def in_order(tokens: Generator[Token, None, None]) -> Generator[Token, None, None]:
    """Yield the tokens on, and fail at one that is not the next, and at an end without any."""
    check = AnswerCheck()
    with closing(tokens):
        for token in tokens:
            yield check.take(token)
    check.finish()


class Deadline:
    """How much time is left of some seconds that begin now."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            AnswerFailed: None are.
        """
        if (left := self._end - time.monotonic()) > 0:
            return left
        raise self.passed()

    def passed(self) -> AnswerFailed:
        """Make the error of a deadline that has passed."""
        return AnswerFailed("deadline_exceeded", f"no end after {self._seconds:g} s")


class Pool(Generic[Connection]):
    """Connections that are kept open, each for one session at a time.

    Args:
        make: Makes a connection.
        close: Closes one.
    """

    def __init__(self, make: Callable[[], Connection], close: Callable[[Connection], None]) -> None:
        self._make = make
        self._close = close
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._lent: list[Connection] = []

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """Lend a connection; one whose session ends with an exception, or early, is closed and not lent again."""
        with self._lock:
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
