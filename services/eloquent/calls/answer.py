"""What comes of a question, whichever way it was asked: tokens, or a failure with its outcome."""

from dataclasses import dataclass

from eloquent.errors import EloquentError


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it comes.

    Attributes:
        index: Its position, from 0.
        text: What it says.
        generated_s: When the server made it, in seconds of its CLOCK_MONOTONIC.
    """

    index: int
    text: str
    generated_s: float


class AnswerFailed(EloquentError):
    """An answer that did not come, or did not end well.

    Args:
        outcome: A gRPC status in lower case.
        message: What a person should know.
    """

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
