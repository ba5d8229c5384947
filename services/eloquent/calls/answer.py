"""What comes of a question, whichever way it was asked: tokens, or a failure with its outcome."""

from dataclasses import dataclass

from eloquent.errors import EloquentError

_LONGEST_MESSAGE = 300  # characters


@dataclass(frozen=True, slots=True)
class AnswerToken:
    """A token as it comes.

    Attributes:
        index: Its position, from 0.
        text: What it says.
        generated_s: When the server made it, in seconds of its CLOCK_MONOTONIC; None where it does not tell.
    """

    index: int
    text: str
    generated_s: float | None


class AnswerFailed(EloquentError):
    """An answer that did not come, or did not end well.

    Args:
        outcome: A gRPC status in lower case.
        message: What a person should know.
    """

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class AnswerCheck:
    """Holds an answer to its form, by whichever way it comes: the tokens in order from index 0, and at least one."""

    def __init__(self) -> None:
        self._next = 0

    def take(self, token: AnswerToken) -> AnswerToken:
        """Return the token.

        Raises:
            AnswerFailed: It is not the next.
        """
        if token.index != self._next:
            raise AnswerFailed("data_loss", f"token {token.index} came in the place of {self._next}")
        self._next += 1
        return token

    def finish(self) -> None:
        """Take the end of the answer.

        Raises:
            AnswerFailed: It had no token.
        """
        if not self._next:
            raise AnswerFailed("data_loss", "the answer ended without a token")


def one_line(text: str) -> str:
    """Return the beginning of somebody else's words, fit to be printed on one line."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[:_LONGEST_MESSAGE])
    return line if len(text) <= _LONGEST_MESSAGE else f"{line}…"
