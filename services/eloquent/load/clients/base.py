"""What all clients of the load test have in common.

Rules of this file: an answer is read by one thread, and may be cancelled by any. Tokens come in order from index 0, or the session
has failed. Whoever stops reading closes the iterator, which cancels the answer at the server. Outcomes are gRPC statuses in lower
case, as in all logs.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from eloquent.calls.answer import AnswerCheck, AnswerFailed, AnswerToken

Connection = TypeVar("Connection")


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What a user asks for.

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


class CancellationToken:
    """Cancels, from any thread, the reading of an answer in another one, wherever that waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hang_up: Callable[[], object] | None = None
        self.cancelled = False

    def cancel(self) -> None:
        """Cancel: the reader's iterator fails at once."""
        with self._lock:
            self.cancelled = True
            if self._hang_up is not None:
                self._hang_up()

    @contextmanager
    def on_cancel(self, hang_up: Callable[[], object]) -> Iterator[None]:
        """Have `hang_up` called on cancellation while the context lasts, and at once if that came before."""
        with self._lock:
            self._hang_up = hang_up
            if self.cancelled:
                hang_up()
        try:
            yield
        finally:
            with self._lock:
                self._hang_up = None


class LoadClient(Protocol):
    """A client for answers, shared by any number of users, each in a thread of its own."""

    def ask(
        self, request: LoadRequest, *, client: str, session: str, cancellation: CancellationToken
    ) -> Generator[AnswerToken, None, None]:
        """Ask, and yield the tokens as they come.

        Args:
            request: What to ask for.
            client: Name of the client host.
            session: Name of the session.
            cancellation: Lets other threads cancel it.

        Raises:
            AnswerFailed: The answer does not come, does not end well, or was cancelled.
        """

    def close(self) -> None:
        """Close the connections; sessions that are still open fail."""


def in_order(tokens: Generator[AnswerToken, None, None]) -> Generator[AnswerToken, None, None]:
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
        """Return the error of a deadline that has passed."""
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
